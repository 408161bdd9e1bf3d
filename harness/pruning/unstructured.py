"""What methods that write zeros share.

A budget or a sparsity or an n:m pattern, and how it becomes a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness import progress
from harness.pruning.budget import sparsity_for
from harness.pruning.no_grad import no_grad
from harness.spec import Cost, Method

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Unstructured(Method):
    """Zeros in the decoder's linear weights, the same share in each.

    `budget` is the share of all parameters that stays non-zero; `sparsity` the share of zeros in decoder linears;
    `pattern` such as "2:4" keeps n of every m. Exactly one of the three.
    """

    STRUCTURED: ClassVar[bool] = False
    budget: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the parameters that are not zero, those of embeddings and head counted"
    )
    sparsity: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="share of the decoder layers' weights that are zero, in the place of budget"
    )
    pattern: Annotated[str, Field(pattern=r"^\d+:\d+$")] | None = Field(
        None, description="n:m, n weights of every m in a row stay: 2:4 is two of four; in the place of budget"
    )

    @model_validator(mode="after")
    def _one_of_three(self) -> Unstructured:
        if sum(value is not None for value in (self.budget, self.sparsity, self.pattern)) != 1:
            raise ValueError("give exactly one of budget, sparsity, pattern")
        if self.pattern is not None and not 0 < self.kept_of[0] < self.kept_of[1]:
            raise ValueError(f"pattern=n:m must have 0 < n < m, not {self.pattern}; 2:4 keeps two of every four")
        return self

    @classmethod
    def open_budget(cls, fields: dict[str, Any]) -> bool:
        """Tell whether the run's `budgets` are to be filled in: none of the three is among `fields`."""
        return all(fields.get(name) is None for name in ("budget", "sparsity", "pattern"))

    @property
    def kept_of(self) -> tuple[int, int]:
        """The pattern's n and m."""
        n, m = map(int, (self.pattern or "").split(":"))
        return n, m

    def target(self, model: PreTrainedModel) -> float:
        """Return the share of zeros for each linear (unused with a pattern)."""
        from harness.models.anatomy import layers, linears, parameter_count

        if self.sparsity is not None or self.budget is None:
            return self.sparsity or 0.0
        prunable = sum(linear.weight.numel() for layer in layers(model) for _, linear in linears(layer))
        return sparsity_for(self.budget, parameter_count(model), prunable)

    def mask(self, score: Tensor, sparsity: float, *, per_row: bool = True) -> Tensor:
        """Return (out, in) bool, True where pruned.

        Without a pattern the lowest of each row, or of the whole matrix.
        """
        from harness.pruning.masks import lowest, n_of_m

        if self.pattern is None:
            return lowest(score, sparsity, per_row=per_row)
        return n_of_m(score, *self.kept_of)


class Layerwise(Unstructured):
    """Zeros by what calibration text shows, layer after layer; the same share in each layer, or OWL's.

    `ratios="owl"` (arXiv 2310.05175) spares layers with many outliers, scores |W| * ||X||_2 above `owl_threshold` times
    the layer's mean in the dense model; layers' sparsities lie 2 * `owl_lambda` apart, and their mean is what was asked.
    """

    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    LATER: ClassVar[frozenset[str]] = frozenset({"ratios", "owl_threshold", "owl_lambda"})
    ratios: Literal["uniform", "owl"] = Field(
        "uniform", description="the same sparsity in every layer, or by outliers (OWL, arXiv 2310.05175)"
    )
    owl_threshold: float = Field(5.0, gt=0, description="times the mean score that makes an outlier, OWL's M")
    owl_lambda: float = Field(
        0.08, gt=0, lt=0.5, description="how far a layer's sparsity may lie from the mean, OWL's lambda"
    )

    @model_validator(mode="after")
    def _no_pattern_with_owl(self) -> Layerwise:
        if self.ratios == "owl" and self.pattern is not None:
            raise ValueError(
                f"ratios=owl prunes some layers more than others, pattern={self.pattern} all alike; "
                "give sparsity or budget with owl, or leave ratios at uniform"
            )
        return self

    def effort(self, tokens: int) -> Cost:
        return Cost(forward_tokens=(2 if self.ratios == "uniform" else 4) * tokens, seconds=5)

    @no_grad
    def sparsities(self, model: PreTrainedModel, tokens: Tensor) -> list[float]:
        """Return each layer's share of zeros.

        For OWL from one pass of `tokens` (samples, length) through the model.
        """
        from harness.models.anatomy import layers, linears
        from harness.pruning.owl import layer_sparsities, outlier_share
        from harness.pruning.walk import input_norms, walk

        stack, target = layers(model), self.target(model)
        if self.ratios == "uniform":
            return [target] * len(stack)
        shares = []
        for _, layer, feed in progress.track(walk(model, tokens), "finding outliers", total=len(stack), end=0.5):
            norms = input_norms(feed)
            matrices = [(linear.weight, norms[name]) for name, linear in linears(layer)]
            shares.append(outlier_share(matrices, self.owl_threshold))
        counts = [sum(linear.weight.numel() for _, linear in linears(layer)) for layer in stack]
        return layer_sparsities(shares, counts, target=target, deviation=self.owl_lambda)

    def pruning(
        self, model: PreTrainedModel, calibration: Calibration
    ) -> Iterator[tuple[nn.Module, Callable[..., None], float]]:
        """Yield (layer, feed, sparsity) per layer; its inputs come from the layers that were pruned before it."""
        from harness.models.anatomy import layers
        from harness.pruning.walk import walk

        sparsities, count = self.sparsities(model, calibration.tokens), len(layers(model))
        start = 0.0 if self.ratios == "uniform" else 0.5
        going = progress.track(walk(model, calibration.tokens), "pruning layers", total=count, start=start)
        for (_, layer, feed), sparsity in zip(going, sparsities, strict=True):
            yield layer, feed, sparsity
