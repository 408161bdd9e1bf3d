"""SliceGPT: rotate the residual stream to its principal components and cut the last of them off."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness import progress
from harness.pruning.budget import TOLERANCE, check_reached
from harness.pruning.no_grad import no_grad
from harness.spec import BUDGET, Method

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class SliceGPT(Method):
    """PCA of what each half block receives, whose first components are all that it reads.

    After Ashkboos et al., arXiv 2401.15024.

    An RMSNorm without its gain commutes with a rotation, so gains go into the linears behind it and each half block may
    have a basis of its own: the eigenvectors of the second moments of the stream that it reads, before its norm (as the
    published code has it; equation 8 of the paper has the norm's outputs), behind the half blocks sliced before it. Linears
    and embeddings are rotated and cut; a matrix in each shortcut goes from basis to basis, and counts as parameters, as does
    the head that tied models get beside their embeddings. The last stream is neither rotated nor cut: final norm and head
    stay as they are. Sizes are multiples of 8, the larger of two in the earlier half blocks, as the budget needs; smaller
    units only where a small model cannot meet it otherwise.

    `damping` is the paper's, and moves no eigenvector. `paper_compat` does what the published code does: each row of the
    embeddings loses its mean, which an RMSNorm does not undo, so that the function changes even without slicing; and all
    half blocks have one size, rounded down to a multiple of 8, which meets the budget only that closely.
    """

    NAME = "slicegpt"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    FOLLOWS: ClassVar[bool] = False  # layers of other widths, or of zeros, cannot be rotated
    STANDARD_LAYERS = False  # a stream whose width changes from block to block
    SOURCE: ClassVar[str] = "arXiv 2401.15024"
    budget: float = BUDGET
    damping: float = Field(0.01, ge=0, description="share of the mean variance that is added to each, as in the paper")
    paper_compat: bool = Field(
        False, description="as the published code: embeddings lose their means, one size for all blocks"
    )

    @no_grad
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        import torch

        from harness.models.anatomy import layers
        from harness.pruning.extraction import let_go
        from harness.pruning.rotation import project, rotated
        from harness.pruning.slicing import HALVES, assembled, check_sliceable
        from harness.pruning.walk import first_inputs

        check_sliceable(model)
        sizes = self.sizes(model)
        head = model.get_output_embeddings().weight.detach()
        embeddings = model.get_input_embeddings().weight
        if self.paper_compat:
            head = head.clone()  # the embeddings lose their means, a head tied to them does not
            embeddings.copy_(embeddings.double() - embeddings.double().mean(1, keepdim=True))
        streams, arguments = first_inputs(model, calibration.tokens)
        basis = self.basis(streams, sizes[0])
        state = {"lm_head.weight": head, "model.norm.weight": model.model.norm.weight}
        state["model.embed_tokens.weight"] = rotated(embeddings, basis)
        for index, layer in enumerate(progress.track(layers(model), "slicing layers")):
            for half, size in zip(HALVES, sizes[2 * index + 1 : 2 * index + 3], strict=True):
                for batch, (stream, extra) in enumerate(zip(streams, arguments[index], strict=True)):
                    streams[batch] = half.forward(layer, project(stream, basis), extra)
                last = half is HALVES[-1] and index == len(layers(model)) - 1
                following = torch.eye(size).to(basis) if last else self.basis(streams, size)
                weights = half.sliced(layer, basis, following)
                state |= {f"model.layers.{index}.{name}": weight for name, weight in weights.items()}
                basis = following
            let_go(layer)
        return assembled(model, sizes, state)

    def sizes(self, model: PreTrainedModel) -> list[int]:
        """Return the sizes of the stream that meet the budget; ValueError where none do."""
        from harness.models.anatomy import layer_shapes, parameter_count
        from harness.pruning.rotation import sliced_parameters, solve_sizes, uniform_sizes

        dense, shapes = parameter_count(model), layer_shapes(model)
        vocabulary, hidden = model.get_input_embeddings().weight.shape
        count = partial(sliced_parameters, shapes=shapes, vocabulary=vocabulary)
        solve = uniform_sizes if self.paper_compat else partial(solve_sizes, slack=TOLERANCE * dense)
        sizes = solve(count, self.budget * dense, hidden=hidden, half_blocks=2 * len(shapes))
        rounded_down = self.paper_compat and count(sizes) <= self.budget * dense
        check_reached(count(sizes), dense, self.budget, self.NAME, 1 if rounded_down else TOLERANCE)
        return sizes

    def basis(self, streams: Sequence[Tensor], size: int) -> Tensor:
        """Return the first `size` principal components (hidden, size) of `streams` (samples, length, hidden)."""
        from harness.pruning.rotation import principal_basis, second_moment

        return principal_basis(second_moment(streams), size, self.damping)
