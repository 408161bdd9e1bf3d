"""Elastic forward passes of one model.

Views of its weights, no copies, everything put back at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace, TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel

from harness.models.anatomy import layer_shapes, layers, linears, norms, outside_parameters
from harness.models.per_layer import AbsentAttention, AbsentMLP, cache_slots
from harness.nas.architecture import Architecture, Block, Body, bits
from harness.pruning.extraction import Keep, extract

ROWS = {"q_proj": "queries", "k_proj": "keys", "v_proj": "keys", "gate_proj": "width", "up_proj": "width"}
COLUMNS = {"o_proj": "queries", "down_proj": "width"}
NO_ATTENTION, NO_MLP = AbsentAttention().forward, AbsentMLP().forward  # what stands in their place in a copy, too


class Elastic:
    """Inside the context, `activate(architecture)` makes the model behave as that sub-network.

    A switch takes microseconds.

    Linears may be stock peft LoRA layers: their factors are sliced the same way, so training a sub-network trains its part.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.stack = layers(model)
        self.shapes = layer_shapes(model)
        self._decoder = model.get_decoder()
        self._outside: list[Any] = [
            _Embedding(model.get_input_embeddings()),
            _Norm(self._decoder.norm),
            _Linear(model.get_output_embeddings(), "stream", "stream"),
        ]
        self._parts = [_Layer(layer) for layer in self.stack]
        self._indices = [getattr(layer.self_attn, "layer_idx", 0) for layer in self.stack]
        self._hidden = model.config.hidden_size
        self._depth = model.config.num_hidden_layers
        self._kinds: list[str] | None = getattr(model.config, "layer_types", None)

    def __enter__(self) -> Elastic:
        for part in [*self._outside, *(part for layer in self._parts for part in layer.parts)]:
            part.module.forward = part  # an instance attribute shadows the method
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for part in [*self._outside, *(part for layer in self._parts for part in layer.parts)]:
            del part.module.forward
        for layer in self._parts:
            layer.restore()
        self._decoder.layers = self.stack
        for layer, index in zip(self.stack, self._indices, strict=True):
            layer.self_attn.layer_idx = index
        self._count(self._depth, self._kinds)

    def activate(self, architecture: Architecture) -> None:
        """Use these widths; layers and parts of no width are left out and cache slots renumbered."""
        if architecture.hidden != self._hidden:
            self._hidden = architecture.hidden
            for part in self._outside:
                part.hidden = architecture.hidden
        for part, shape, block in zip(self._parts, self.shapes, architecture.blocks, strict=True):
            part.use(block, shape, architecture.hidden)
        layers = architecture.kept()
        attends = [bool(architecture.blocks[index].groups) for index in layers]
        kinds, slots = cache_slots(self._kinds and [self._kinds[index] for index in layers], attends)
        for index, slot in zip(layers, slots, strict=True):
            if slot is not None:
                self.stack[index].self_attn.layer_idx = slot
        whole = len(layers) == len(self.stack)
        self._decoder.layers = self.stack if whole else nn.ModuleList([self.stack[index] for index in layers])
        self._count(len(layers), self._kinds and kinds)

    def _count(self, depth: int, kinds: list[str] | None) -> None:
        """Tell the configuration, which masks and caches are made by, how many layers run and of which kinds."""
        self.model.config.num_hidden_layers = depth
        if kinds:
            self.model.config.layer_types = kinds


class _Layer:
    """The elastic parts of one decoder layer, and what they are set to."""

    def __init__(self, layer: nn.Module) -> None:
        self.layer = layer
        self.attention, self.mlp = layer.self_attn, layer.mlp
        self.linears = [
            _Linear(linear, *(kinds.get(name.split(".")[1], "stream") for kinds in (ROWS, COLUMNS)))
            for name, linear in linears(layer)
        ]
        self.norms = [_Norm(norm) for norm in norms(layer)]
        self.parts: list[Any] = [*self.linears, *self.norms]
        self._used: tuple[Block, int] | None = None

    def use(self, block: Block, shape: Any, hidden: int) -> None:
        if (block, hidden) == self._used:
            return
        self._used = (block, hidden)
        chosen = Chosen(block, shape, hidden)
        for linear in self.linears:
            linear.choose(chosen)
        for norm in self.norms:
            norm.hidden = hidden
        _silence(self.attention, not block.groups, NO_ATTENTION)
        _silence(self.mlp, not block.width, NO_MLP)

    def restore(self) -> None:
        _silence(self.attention, False, NO_ATTENTION)
        _silence(self.mlp, False, NO_MLP)


class Chosen:
    """How many entries of each kind of dimension stay, and 0/1 factors where single ones are left out."""

    def __init__(self, block: Block, shape: Any, hidden: int) -> None:
        unit, query_unit = shape.head_dim, shape.head_dim * shape.queries
        groups = shape.groups if block.heads else block.groups
        width = shape.width if block.channels else block.width
        self.counts = {"stream": hidden, "queries": groups * query_unit, "keys": groups * unit, "width": width}
        self.factors: dict[str, Tensor] = {}
        if block.heads:
            self.factors["queries"] = _factor(block.heads, shape.groups).repeat_interleave(query_unit)
        if block.channels:
            self.factors["width"] = _factor(block.channels, shape.width)


def _factor(text: str, count: int) -> Tensor:
    factor = torch.zeros(count)
    factor[bits(text)] = 1
    return factor


def _silence(module: nn.Module, silent: bool, forward: Any) -> None:
    """Let the module's forward pass add nothing, or be its own again."""
    if silent:
        module.forward = forward
    elif "forward" in vars(module):
        del module.forward


class _Linear:
    """A projection, or a LoRA layer around one, cut to its first rows and columns."""

    def __init__(self, module: nn.Module, rows: str, columns: str) -> None:
        self.module, self.kinds = module, (rows, columns)
        self.base = getattr(module, "base_layer", module)
        self.rows, self.columns = self.base.out_features, self.base.in_features
        self.factor: Tensor | None = None

    @property
    def hidden(self) -> int:
        return self.columns

    @hidden.setter
    def hidden(self, value: int) -> None:  # of the head: all rows, fewer columns
        self.columns = value

    def choose(self, chosen: Chosen) -> None:
        self.rows, self.columns = (chosen.counts[kind] for kind in self.kinds)
        self.factor = chosen.factors.get(self.kinds[1])

    def __call__(self, inputs: Tensor) -> Tensor:
        if self.factor is not None:
            inputs = inputs * self.factor.to(inputs)
        bias = None if self.base.bias is None else self.base.bias[: self.rows]
        result = functional.linear(inputs, self.base.weight[: self.rows, : self.columns], bias)
        if self.base is self.module:
            return result
        module: Any = self.module
        for name in module.active_adapters:
            inner = functional.linear(module.lora_dropout[name](inputs), module.lora_A[name].weight[:, : self.columns])
            result = result + module.scaling[name] * functional.linear(inner, module.lora_B[name].weight[: self.rows])
        return result


class _Norm:
    """An RMS norm over the first entries of the residual stream, computed by the family's own code."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.hidden = module.weight.shape[0]

    def __call__(self, inputs: Tensor) -> Tensor:
        module: Any = self.module
        view = SimpleNamespace(weight=module.weight[: self.hidden], variance_epsilon=module.variance_epsilon)
        return type(module).forward(view, inputs)


class _Embedding:
    """Token embeddings cut to the first entries of the residual stream."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.hidden = module.embedding_dim

    def __call__(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.module.weight[:, : self.hidden], self.module.padding_idx)


def body(model: PreTrainedModel, order: Sequence[int]) -> Body:
    """Return what a search space knows of a model whose layers may be dropped in `order`."""
    head = model.get_output_embeddings().out_features
    return Body(tuple(layer_shapes(model)), outside_parameters(model), tuple(order), head)


def extracted(model: PreTrainedModel, architecture: Architecture, *, release: bool = False) -> PreTrainedModel:
    """Return the sub-network as a model of its own, with the same outputs; `release` as in `extract`."""
    keeps = [
        Keep(
            index,
            torch.tensor(bits(block.heads)) if block.heads else torch.arange(block.groups),
            torch.tensor(bits(block.channels)) if block.channels else torch.arange(block.width),
        )
        for index, block in enumerate(architecture.blocks)
        if block.groups or block.width
    ]
    return extract(model, keeps, architecture.hidden, release=release)
