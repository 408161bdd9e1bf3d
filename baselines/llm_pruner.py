"""LLM-Pruner: remove coupled groups (heads, MLP channels) of least importance.

That is their effect on the loss, their size, or drawn at random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from harness.pruning.no_grad import no_grad
from harness.pruning.scored import Parts, Scored
from harness.spec import Cost

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration
    from harness.models.layer_shape import LayerShape

    Squares = dict[nn.Parameter, Tensor]  # of a weight's gradients, summed over samples: (out, in)


class LLMPruner(Scored):
    """Remove heads and MLP channels of least importance, all weights that must go together at once.

    After Ma et al., arXiv 2305.11627.

    `criterion`, each summed over rows of q, k, v (gate, up) and columns of o (down), g the gradient of the loss:
    "vector" |sum of w g over a row or column|, the absolute value taken per row and per matrix as in the published code;
    "element1" |w g|; "element2" |w g - w^2 sum_j(g_j^2) / 2| with g = sum_j(g_j) over samples (the published code's
    param_mix has means of both: the same order); "l1" |w| and "l2" w^2, no root, which look at no text; "random".
    `scope`: "local", the same ratio in every layer, or "global", one threshold over raw scores of groups and channels of
    all open layers together, as published (nothing is normalised, so a group, of more weights, outlives most channels), but
    placed where the parameters meet the budget; a layer keeps its best group and 8 channels.

    The first `protect_first` and last `protect_last` layers stay whole (4 and 2 of LLaMA-7B's 32; the same shares of
    other depths when None). With grouped queries a whole key-value group goes with its query heads, and importance is
    folded as attention groups them: query head j belongs to group j // queries. `paper_compat` has three things as the
    published code: the fold j mod groups, and, which shows in global scope only, means over the matrices for l1 and l2,
    and for "random" the sum of head_dim draws as a group's score.
    """

    NAME = "llm_pruner"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration", "backward"})
    SOURCE: ClassVar[str] = "arXiv 2305.11627"
    LATER: ClassVar[frozenset[str]] = frozenset({"criterion", "scope", "paper_compat", "seed"})
    samples: int = Field(10, gt=0, description="calibration sequences whose gradients are summed, as in the paper")
    length: int = Field(64, gt=1, description="tokens of each, as in the paper")
    protect_first: Annotated[int, Field(ge=0)] | None = Field(
        None, description="first layers that stay whole; null for 4 of 32, the same share of other depths"
    )
    protect_last: Annotated[int, Field(ge=0)] | None = Field(
        None, description="last layers that stay whole; null for 2 of 32, the same share of other depths"
    )
    criterion: Literal["vector", "element1", "element2", "random", "l1", "l2"] = Field(
        "element1", description="importance of a weight: first or second order Taylor terms, its size, or chance"
    )
    scope: Literal["local", "global"] = Field(
        "local", description="the same ratio in every layer, or one threshold over all layers"
    )
    paper_compat: bool = Field(
        False, description="as the published code: its fold of grouped heads, its sums and means"
    )
    seed: int = Field(0, description="of criterion=random")

    @property
    def needs(self) -> frozenset[str]:
        return frozenset() if self.criterion in ("random", "l1", "l2") else self.NEEDS

    def effort(self, tokens: int) -> Cost:
        return Cost(backward_tokens=min(self.samples * self.length, tokens), seconds=5)

    @property
    def over(self) -> Literal["each layer", "all layers"]:
        return "all layers" if self.scope == "global" else "each layer"

    def open_layers(self, depth: int) -> range:
        from harness.pruning.depth import ends

        spared = ends(depth)
        first = spared[0] if self.protect_first is None else self.protect_first
        last = spared[1] if self.protect_last is None else self.protect_last
        return range(min(first, depth - 1), max(depth - last, min(first, depth - 1) + 1))

    def scores(self, model: PreTrainedModel, calibration: Calibration) -> list[Parts]:
        return self.importance(model, calibration.tokens[: self.samples, : self.length])

    def importance(self, model: PreTrainedModel, tokens: Tensor) -> list[Parts]:
        """Return per layer the importance of key-value groups (groups,) and MLP channels (width,)."""
        import torch

        from harness.models.anatomy import layer_shapes, layers
        from harness.pruning.taylor import gradients

        if self.criterion == "random":
            generator = torch.Generator().manual_seed(self.seed)
            return [self.drawn(shape, generator) for shape in layer_shapes(model)]
        if not self.needs:
            return [self.of_layer(layer, {}) for layer in layers(model)]
        with gradients(model, tokens, squares=self.criterion == "element2") as squared:
            return [self.of_layer(layer, squared) for layer in layers(model)]

    def drawn(self, shape: LayerShape, generator: torch.Generator) -> Parts:
        """Return uniform draws (groups,) and (width,).

        A group's is the sum of head_dim of them if `paper_compat`.
        """
        import torch

        draws = torch.rand(shape.groups, shape.head_dim if self.paper_compat else 1, generator=generator)
        return Parts(draws.sum(1), torch.rand(shape.width, generator=generator))

    @no_grad
    def of_layer(self, layer: nn.Module, squared: Squares) -> Parts:
        """Return the importance of a layer's groups (groups,) and channels (width,).

        It is read from weights and gradients.
        """
        import torch

        from harness.models.anatomy import ATTENTION, ATTENTION_WRITER, MLP, MLP_WRITER, layer_shape, linears

        shape = layer_shape(layer)
        groups, channels = torch.zeros(shape.groups), torch.zeros(shape.width)
        for name, linear in linears(layer):
            lines = self.lines(linear.weight, 0 if name in (ATTENTION_WRITER, MLP_WRITER) else 1, squared).cpu()
            if name.startswith("mlp."):
                channels += lines
            else:
                groups += folded(lines, shape, interleaved=self.paper_compat)
        if self.paper_compat and self.criterion in ("l1", "l2"):
            return Parts(groups / len(ATTENTION), channels / len(MLP))
        return Parts(groups, channels)

    def lines(self, weight: Tensor, dim: int, squared: Squares) -> Tensor:
        """Return the importance of the rows (out,) of a weight, or of its columns (in,), summed over `dim`."""
        from harness.pruning.taylor import element1, element2, vector

        if self.criterion == "vector":
            return vector(weight, dim)
        if self.criterion == "element1":
            return element1(weight).sum(dim)
        if self.criterion == "element2":
            return element2(weight, squared[weight]).sum(dim)
        return weight.float().abs().pow(1 if self.criterion == "l1" else 2).sum(dim)


def folded(lines: Tensor, shape: LayerShape, *, interleaved: bool) -> Tensor:
    """Return the sums (groups,) over each group's lines of a projection.

    Lines of q or o are (groups * queries * head_dim,), of k or v (groups * head_dim,).

    Query head j is in group j // queries; if `interleaved`, counted to j mod groups, as the published code does.
    """
    from harness.pruning.column_writers import by_group

    if interleaved:
        return lines.view(-1, shape.groups, shape.head_dim).sum((0, 2))
    return by_group(lines, shape.groups).sum(1)
