"""What methods that write zeros share: a budget or a sparsity or an n:m pattern, and how it becomes a mask."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator
from torch import Tensor
from transformers import PreTrainedModel

from harness.pruning.anatomy import layers, linears, parameter_count
from harness.pruning.budget import sparsity_for
from harness.pruning.masks import lowest, n_of_m
from harness.spec import Method


class Unstructured(Method):
    """Zeros in the decoder's linear weights, the same share in each.

    `budget` is the share of all parameters that stays non-zero; `sparsity` the share of zeros in decoder linears;
    `pattern` such as "2:4" keeps n of every m. Exactly one of the three.
    """

    STRUCTURED: ClassVar[bool] = False
    budget: Annotated[float, Field(gt=0, le=1)] | None = None
    sparsity: Annotated[float, Field(ge=0, lt=1)] | None = None
    pattern: Annotated[str, Field(pattern=r"^\d+:\d+$")] | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Unstructured:
        if sum(value is not None for value in (self.budget, self.sparsity, self.pattern)) != 1:
            raise ValueError("give exactly one of budget, sparsity, pattern")
        return self

    def target(self, model: PreTrainedModel) -> float:
        """Return the share of zeros for each linear (unused with a pattern)."""
        if self.sparsity is not None or self.budget is None:
            return self.sparsity or 0.0
        prunable = sum(linear.weight.numel() for layer in layers(model) for _, linear in linears(layer))
        return sparsity_for(self.budget, parameter_count(model), prunable)

    def mask(self, score: Tensor, sparsity: float) -> Tensor:
        """Return (out, in) bool, True where pruned."""
        if self.pattern is None:
            return lowest(score, sparsity)
        n, m = map(int, self.pattern.split(":"))
        return n_of_m(score, n, m)


def expands(kind: type[Method], fields: dict[str, Any]) -> bool:
    """Tell whether a method takes its budget from the run's `budgets` (none of its own is written)."""
    return "budget" in kind.model_fields and not any(
        fields.get(name) is not None for name in ("budget", "sparsity", "pattern")
    )
