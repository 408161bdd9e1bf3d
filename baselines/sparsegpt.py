"""SparseGPT: prune layer by layer, and let the weights that stay make up for those that go."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field, model_validator

from harness.pruning.no_grad import no_grad
from harness.pruning.unstructured import Layerwise

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration

SAME_INPUT = {  # these see what another projection sees, which comes before them
    "self_attn.k_proj": "self_attn.q_proj",
    "self_attn.v_proj": "self_attn.q_proj",
    "mlp.up_proj": "mlp.gate_proj",
}


class SparseGPT(Layerwise):
    """Zero the weights of least w^2 / [H^-1]_jj and update the others.

    A layer's inputs come from the layers pruned before it.

    Frantar and Alistarh, arXiv 2301.00774, algorithm 1. H is damped by `damping` times the mean of its diagonal. Errors are
    compared over blocks of `block` columns and all rows, so that a row may lose more than another; a pattern within its
    groups. Weights of inputs that are zero on all calibration text go first, and stay as they were where they stay.
    """

    NAME = "sparsegpt"
    SOURCE: ClassVar[str] = "arXiv 2301.00774"
    damping: float = Field(
        0.01, gt=0, description="share of the mean of H's diagonal that is added to it, as published"
    )
    block: int = Field(128, ge=1, description="columns over which errors are compared, as published")

    @model_validator(mode="after")
    def _whole_groups(self) -> SparseGPT:
        if self.block % self.span:
            raise ValueError(
                f"block must hold whole groups of pattern={self.pattern}, not {self.block}; "
                f"the next that does is {-(-self.block // self.span) * self.span}"
            )
        return self

    @property
    def span(self) -> int:
        """Columns whose mask is chosen at once."""
        return self.block if self.pattern is None else self.kept_of[1]

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.models.anatomy import linears
        from harness.pruning.obs import inverse_factor, prune

        for layer, feed, sparsity in self.pruning(model, calibration):
            sums = hessians(feed)
            choose = partial(self.mask, sparsity=sparsity, per_row=False)
            for name, linear in linears(layer):
                if name not in SAME_INPUT:
                    factor = inverse_factor(sums.pop(name), self.damping)  # one at a time: MLPs are wide
                linear.weight.copy_(prune(linear.weight, factor, choose, span=self.span, block=self.block))
        return model


def hessians(feed: Callable[..., None]) -> dict[str, Tensor]:
    """Return X^T X (in, in) in float32 of a layer's inputs, by the first projection that sees them."""
    sums: dict[str, Tensor] = {}

    def observe(name: str, inputs: Tensor) -> None:
        if name not in SAME_INPUT:
            x = inputs.float()  # (tokens, in)
            sums[name] = sums[name].addmm_(x.T, x) if name in sums else x.T @ x

    feed(observe)
    return sums
