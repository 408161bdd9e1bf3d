"""A sub-network in canonical form, and what it weighs: exact counts from shapes alone. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

from harness.models.layer_shape import LayerShape

CONTEXT = 256  # tokens of a sequence whose FLOPs are counted
FINEST = 24  # a width changes by about this share of itself at least
LARGEST_UNIT = 128


class Block(NamedTuple):
    """What stays of one layer: the first key-value groups and MLP channels of their ranking.

    None: that part is left out.

    Where a space chooses them one by one, `heads` and `channels` say which, as hexadecimal bit sets (bit i: the i-th).
    """

    groups: int
    width: int
    heads: str = ""
    channels: str = ""


class Architecture(NamedTuple):
    """A sub-network: entries of the residual stream, and a block per physical layer.

    Equal tuples are equal networks.
    """

    hidden: int
    blocks: tuple[Block, ...]

    def plain(self) -> list[Any]:
        """Return it as JSON values, short where nothing is chosen one by one."""
        return [self.hidden, [list(block) if block[2:] != ("", "") else list(block[:2]) for block in self.blocks]]

    def kept(self) -> list[int]:
        """Return the layers of which anything stays."""
        return [index for index, block in enumerate(self.blocks) if block.groups or block.width]


def parse(plain: Sequence[Any]) -> Architecture:
    """Return the architecture that `Architecture.plain` wrote."""
    return Architecture(plain[0], tuple(Block(*block) for block in plain[1]))


def bits(text: str) -> list[int]:
    """Return the positions in a hexadecimal bit set, ascending."""
    number = int(text, 16)
    return [index for index in range(number.bit_length()) if number >> index & 1]


@dataclass(frozen=True)
class Body:
    """What a space knows of its super-network.

    Shapes of the layers, what is outside, and the order of layers.
    """

    shapes: tuple[LayerShape, ...]
    outside: int  # parameters outside the layers, all in rows of `hidden`: embeddings, final norm, head
    order: tuple[int, ...]  # layers that may be dropped, least important first
    head: int = 0  # rows of the head, for FLOPs

    @property
    def hidden(self) -> int:
        return self.shapes[0].hidden

    @cached_property
    def full(self) -> Architecture:
        return Architecture(self.hidden, tuple(Block(shape.groups, shape.width) for shape in self.shapes))

    @cached_property
    def dense(self) -> int:
        """Return the parameters of the whole network."""
        return self.parameters(self.full)

    def unit(self, layer: int) -> int:
        """Return the step in which a layer's width changes.

        A power of two, 64 of 1,536 channels, 128 of 11,008.
        """
        finest = max(1, self.shapes[layer].width // FINEST)
        return min(LARGEST_UNIT, 1 << finest.bit_length() - 1)

    def shape(self, layer: int, architecture: Architecture) -> LayerShape:
        """Return the shape of a layer inside a sub-network."""
        block = architecture.blocks[layer]
        return replace(self.shapes[layer], hidden=architecture.hidden, groups=block.groups, width=block.width)

    def parameters(self, architecture: Architecture) -> int:
        """Return the exact parameter count, tied embeddings once."""
        layers = sum(self.shape(index, architecture).parameters for index in range(len(self.shapes)))
        return self.outside * architecture.hidden // self.hidden + layers

    def flops(self, architecture: Architecture, context: int = CONTEXT) -> int:
        """Return the FLOPs per token of a forward pass over `context` tokens, head and attention included."""
        total = 2 * self.head * architecture.hidden
        for index in range(len(self.shapes)):
            shape = self.shape(index, architecture)
            weights = shape.groups * shape.head_dim * (2 * shape.queries + 2) * shape.hidden
            seen = 2 * shape.groups * shape.queries * shape.head_dim * context  # scores and sums, half of them masked
            total += 2 * (weights + 3 * shape.width * shape.hidden) + seen
        return total
