"""What a search space may vary.

Each axis owns some genes and shrinks a draft of sub-networks accordingly. Pure, vectorised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np

from harness.nas.architecture import Architecture, Block, Body, bits

Scope = Literal["layer", "network"]  # a gene for each layer, or one for all


@dataclass
class Draft:
    """Sub-networks in the making, n at a time; an axis lowers what it owns."""

    hidden: np.ndarray  # (n,)
    groups: np.ndarray  # (n, layers)
    width: np.ndarray  # (n, layers)
    heads: np.ndarray | None = None  # (n, layers, groups) bool, where chosen one by one
    channels: np.ndarray | None = None  # (n, layers, width) bool

    @classmethod
    def full(cls, body: Body, count: int) -> Draft:
        groups, width = ([getattr(shape, name) for shape in body.shapes] for name in ("groups", "width"))
        return cls(np.full(count, body.hidden), np.tile(groups, (count, 1)), np.tile(width, (count, 1)))

    def drop(self, gone: np.ndarray) -> None:
        """Leave out the layers in `gone` (n, layers) bool."""
        self.groups[gone], self.width[gone] = 0, 0

    def gone(self) -> np.ndarray:
        """Return which layers are left out (n, layers)."""
        return (self.groups == 0) & (self.width == 0)

    def architecture(self, index: int) -> Architecture:
        """Return one of the sub-networks."""
        blocks = []
        for layer, (groups, width) in enumerate(zip(self.groups[index], self.width[index], strict=True)):
            heads = _hexadecimal(self.heads, index, layer) if groups else ""
            blocks.append(
                Block(int(groups), int(width), heads, _hexadecimal(self.channels, index, layer) if width else "")
            )
        return Architecture(int(self.hidden[index]), tuple(blocks))

    def parameters(self, body: Body) -> np.ndarray:
        """Return exact parameter counts (n,), as `Body.parameters` does one by one."""
        total = body.outside * self.hidden // body.hidden
        for layer, shape in enumerate(body.shapes):
            groups, width = self.groups[:, layer], self.width[:, layer]
            group = shape.head_dim * ((2 * shape.queries + 2) * self.hidden + shape.bias * (shape.queries + 2))
            rest = shape.attention_vectors * self.hidden + shape.attention_fixed
            channel = 3 * self.hidden + 2 * shape.mlp_bias
            total = total + groups * group + (groups > 0) * rest
            total = total + width * channel + (width > 0) * shape.mlp_vectors * self.hidden
        return total


def _hexadecimal(chosen: np.ndarray | None, index: int, layer: int) -> str:
    if chosen is None or chosen[index, layer].all():
        return ""
    return f"{sum(1 << int(place) for place in np.flatnonzero(chosen[index, layer])):x}"


@dataclass(frozen=True)
class Axis:
    """Genes of one kind; the largest value of a gene means the whole."""

    def tops(self, body: Body) -> list[int]:
        """Return the largest value of each gene."""
        raise NotImplementedError

    def apply(self, body: Body, genes: np.ndarray, draft: Draft) -> None:
        """Shrink the draft by `genes` (n, genes of this axis)."""
        raise NotImplementedError

    def nearest(self, body: Body, architecture: Architecture) -> list[int]:
        """Return the genes that come nearest to `architecture`."""
        raise NotImplementedError

    def idle(self, body: Body, draft: Draft) -> np.ndarray | None:
        """Return which genes (n, genes) mean nothing in the finished draft; None where all count."""
        return None


@dataclass(frozen=True)
class Depth(Axis):
    """How many layers stay; the others go in the body's order. `shares` of the layers, ascending.

    () for any number from `least`.
    """

    shares: tuple[float, ...] = ()
    least: float = 0.5

    def choices(self, body: Body) -> np.ndarray:
        """Return the numbers of layers, ascending."""
        count = len(body.shapes)
        lowest = max(1, count - len(body.order))
        wanted = [round(share * count) for share in self.shares] or range(round(self.least * count), count + 1)
        return np.unique(np.clip(wanted, lowest, count))

    def tops(self, body: Body) -> list[int]:
        return [len(self.choices(body)) - 1]

    def apply(self, body: Body, genes: np.ndarray, draft: Draft) -> None:
        dropped = len(body.shapes) - self.choices(body)[genes[:, 0]]  # (n,)
        rank = np.full(len(body.shapes), len(body.shapes))
        rank[list(body.order)] = np.arange(len(body.order))
        draft.drop(rank[None] < dropped[:, None])

    def nearest(self, body: Body, architecture: Architecture) -> list[int]:
        return [_closest(self.choices(body), len(architecture.kept()))]


@dataclass(frozen=True)
class Counted(Axis):
    """How many of a layer's parts stay, the first of their ranking.

    One gene for each layer or for all (`scope`).
    """

    PART: ClassVar[str]  # "groups" or "width", of draft and block alike
    scope: Scope = field(default="layer", kw_only=True)

    def choices(self, body: Body, layer: int) -> np.ndarray:
        """Return the numbers of parts, ascending; the last is the whole."""
        raise NotImplementedError

    def tops(self, body: Body) -> list[int]:
        each = [len(self.choices(body, layer)) - 1 for layer in range(len(body.shapes))]
        return each if self.scope == "layer" else [min(each)]

    def apply(self, body: Body, genes: np.ndarray, draft: Draft) -> None:
        counts = getattr(draft, self.PART)
        for layer in range(len(body.shapes)):
            gene = genes[:, 0 if self.scope == "network" else layer]
            counts[:, layer] = np.minimum(counts[:, layer], self.choices(body, layer)[gene])

    def nearest(self, body: Body, architecture: Architecture) -> list[int]:
        blocks = enumerate(architecture.blocks)
        wanted = [_closest(self.choices(body, layer), getattr(block, self.PART)) for layer, block in blocks]
        return wanted if self.scope == "layer" else _mean(wanted, architecture)

    def idle(self, body: Body, draft: Draft) -> np.ndarray | None:
        if self.scope == "network":
            return None
        least = np.array([self.choices(body, layer)[0] for layer in range(len(body.shapes))])
        return draft.gone() & (least > 0)


@dataclass(frozen=True)
class Width(Counted):
    """MLP channels: `shares` of the whole rounded to the body's unit; 0: no MLP."""

    PART: ClassVar[str] = "width"
    shares: tuple[float, ...]

    def choices(self, body: Body, layer: int) -> np.ndarray:
        unit, whole = body.unit(layer), body.shapes[layer].width
        wanted = [whole if share == 1 else round(share * whole / unit) * unit for share in self.shares]
        return np.unique(wanted)


@dataclass(frozen=True)
class Groups(Counted):
    """Key-value groups with their query heads: `least` to all; 0: no attention."""

    PART: ClassVar[str] = "groups"
    least: int = 1

    def choices(self, body: Body, layer: int) -> np.ndarray:
        return np.arange(min(self.least, body.shapes[layer].groups), body.shapes[layer].groups + 1)


@dataclass(frozen=True)
class Hidden(Axis):
    """Entries of the residual stream: the first of their ranking, in `shares` of all, in multiples of 8."""

    shares: tuple[float, ...]

    def choices(self, body: Body) -> np.ndarray:
        return np.unique(
            [max(8, round(share * body.hidden / 8) * 8) if share < 1 else body.hidden for share in self.shares]
        )

    def tops(self, body: Body) -> list[int]:
        return [len(self.choices(body)) - 1]

    def apply(self, body: Body, genes: np.ndarray, draft: Draft) -> None:
        draft.hidden = np.minimum(draft.hidden, self.choices(body)[genes[:, 0]])

    def nearest(self, body: Body, architecture: Architecture) -> list[int]:
        return [_closest(self.choices(body), architecture.hidden)]


@dataclass(frozen=True)
class Layers(Axis):
    """Each layer stays or goes, but for those outside the body's order, which stay."""

    def tops(self, body: Body) -> list[int]:
        return [1 if layer in body.order else 0 for layer in range(len(body.shapes))]

    def apply(self, body: Body, genes: np.ndarray, draft: Draft) -> None:
        draft.drop((genes == 0) & (np.array(self.tops(body)) == 1)[None])

    def nearest(self, body: Body, architecture: Architecture) -> list[int]:
        return [top * int(index in architecture.kept()) for index, top in enumerate(self.tops(body))]


@dataclass(frozen=True)
class Single(Axis):
    """Each part of a layer stays or goes by itself."""

    COUNT: ClassVar[str]  # "groups" or "width", of shape, draft and block alike
    SET: ClassVar[str]  # "heads" or "channels", of draft and block

    def tops(self, body: Body) -> list[int]:
        return [1] * sum(getattr(shape, self.COUNT) for shape in body.shapes)

    def apply(self, body: Body, genes: np.ndarray, draft: Draft) -> None:
        chosen = genes.reshape(len(genes), len(body.shapes), -1).astype(bool)  # (n, layers, parts)
        setattr(draft, self.SET, chosen)
        setattr(draft, self.COUNT, chosen.sum(-1))

    def nearest(self, body: Body, architecture: Architecture) -> list[int]:
        sizes = [(getattr(block, self.COUNT), getattr(block, self.SET)) for block in architecture.blocks]
        return _chosen(sizes, [getattr(shape, self.COUNT) for shape in body.shapes])


@dataclass(frozen=True)
class Heads(Single):
    """Each key-value group with its query heads stays or goes."""

    COUNT: ClassVar[str] = "groups"
    SET: ClassVar[str] = "heads"


@dataclass(frozen=True)
class Neurons(Single):
    """Each MLP channel stays or goes."""

    COUNT: ClassVar[str] = "width"
    SET: ClassVar[str] = "channels"


def _chosen(kept: list[tuple[int, str]], counts: list[int]) -> list[int]:
    """Return a bit per entry: those of the bit sets, or the first so many where there is none."""
    genes = []
    for (number, text), count in zip(kept, counts, strict=True):
        places = set(bits(text)) if text else range(number)
        genes += [int(place in places) for place in range(count)]
    return genes


def _closest(choices: np.ndarray, wanted: int) -> int:
    return int(np.abs(choices - wanted).argmin())


def _mean(wanted: list[int], architecture: Architecture) -> list[int]:
    layers = architecture.kept()
    return [round(float(np.mean([wanted[layer] for layer in layers])))] if layers else [0]
