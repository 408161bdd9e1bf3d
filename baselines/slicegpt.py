"""SliceGPT: rotate the residual stream to its principal components and cut the last of them off."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from accelerate.utils import send_to_device
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness import progress
from harness.data.calibration import Calibration
from harness.models.sliced import BY_FAMILY
from harness.pruning.anatomy import layer_shapes, layers, parameter_count
from harness.pruning.budget import TOLERANCE, check_reached
from harness.pruning.extraction import let_go
from harness.pruning.rotation import (
    principal_basis,
    project,
    rotated,
    second_moment,
    sliced_parameters,
    solve_sizes,
    uniform_sizes,
)
from harness.pruning.walk import first_inputs
from harness.recovery.masks import zero_masks
from harness.spec import Method


class SliceGPT(Method):
    """PCA of what each half block receives, whose first components are all that it reads (Ashkboos et al., arXiv 2401.15024).

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
    SOURCE: ClassVar[str] = "arXiv 2401.15024"
    budget: Annotated[float, Field(gt=0, le=1)]
    damping: Annotated[float, Field(ge=0)] = 0.01
    paper_compat: bool = False

    @torch.no_grad()
    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
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
                for batch, (stream, extra) in enumerate(zip(streams, arguments, strict=True)):
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
        return principal_basis(second_moment(streams), size, self.damping)


@dataclass(frozen=True)
class Half:
    """Half of a decoder layer: a norm, a block whose `readers` read the stream behind it, the `writer`, the shortcut's name."""

    norm: str
    block: str
    readers: tuple[str, ...]
    writer: str
    shortcut: str

    def forward(self, layer: nn.Module, stream: Tensor, extra: dict[str, Any]) -> Tensor:
        """Return the dense half block's result on `stream` (samples, length, hidden).

        On a stream projected to a basis it is the sliced half block's, in the dense model's coordinates.
        """
        norm, block = getattr(layer, self.norm), getattr(layer, self.block)
        stream = stream.to(norm.weight.device)  # a device map may put layers on several
        if self.block == "self_attn":
            return stream + block(hidden_states=norm(stream), **send_to_device(extra, stream.device))[0]
        return stream + block(norm(stream))

    def sliced(self, layer: nn.Module, before: Tensor, after: Tensor) -> dict[str, Tensor]:
        """Return the weights between bases `before` (hidden, size) and `after` (hidden, next size), by name in the layer.

        Computed in float64, given in the layer's dtype. The norm's weight is sqrt(hidden / size); what rounding takes from
        that, the linears get.
        """
        gain = getattr(layer, self.norm).weight  # (hidden,)
        before, after = before.to(gain.device), after.to(gain.device)
        wanted = (before.shape[0] / before.shape[1]) ** 0.5
        weight = gain.new_full(before.shape[1:], wanted)  # (size,)
        folded = gain.double() * (wanted / weight[0].double())
        found = {f"{self.norm}.weight": weight, f"{self.shortcut}.weight": after.T @ before}
        for name, value in getattr(layer, self.block).state_dict(prefix=f"{self.block}.").items():
            module, kind = name.split(".")[1:]
            if module in self.readers and kind == "weight":
                found[name] = (value.double() * folded) @ before  # (out, size)
            elif module == self.writer:
                found[name] = after.T @ value.double()  # (next size, in), or of a bias (next size,)
            else:
                found[name] = value.clone()
        return {name: value.to(gain.dtype) for name, value in found.items()}


HALVES = (
    Half("input_layernorm", "self_attn", ("q_proj", "k_proj", "v_proj"), "o_proj", "attention_shortcut"),
    Half("post_attention_layernorm", "mlp", ("gate_proj", "up_proj"), "down_proj", "mlp_shortcut"),
)


def check_sliceable(model: PreTrainedModel) -> None:
    """ValueError for layers of different widths and for sparse ones, whose zeros a rotation would fill."""
    if model.config.model_type not in BY_FAMILY:
        raise ValueError(
            f"slicegpt takes layers that are all alike ({', '.join(sorted(BY_FAMILY))}), not {model.config.model_type}"
        )
    if zero_masks(layers(model)):
        raise ValueError("slicegpt would fill the zeros of a sparse model; slice the dense one")


def assembled(model: PreTrainedModel, sizes: list[int], state: dict[str, Tensor]) -> PreTrainedModel:
    """Return the sliced model of `model`'s family with the weights `state`."""
    settings = model.config.to_dict()
    for name in ("auto_map", "model_type", "architectures", "transformers_version"):
        settings.pop(name, None)
    settings |= {"stream_sizes": sizes, "tie_word_embeddings": False}
    causal = BY_FAMILY[model.config.model_type]
    with torch.device("meta"):
        smaller = causal._from_config(
            causal.config_class(**settings),
            attn_implementation=model.config._attn_implementation,
            dtype=next(model.parameters()).dtype,
        )
    smaller.load_state_dict(state, assign=True, strict=True)
    rotary = smaller.get_decoder().rotary_emb
    for name, buffer in model.get_decoder().rotary_emb.named_buffers():
        setattr(rotary, name, buffer.clone())  # not in the state, and still on meta
    rotary.original_inv_freq = rotary.inv_freq
    smaller.generation_config = copy.deepcopy(model.generation_config)
    return smaller.eval()
