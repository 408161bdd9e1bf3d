"""Principal components of the residual stream, how many each half block gets, and their cost. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from math import ceil

import torch
from torch import Tensor

from harness.models.layer_shape import LayerShape
from harness.pruning.budget import UNIT, bisect

Count = Callable[[Sequence[int]], int]


def second_moment(chunks: Iterable[Tensor]) -> Tensor:
    """Return the sum of x x^T (hidden, hidden), float64, over all tokens of `chunks` (..., hidden).

    One chunk is taken at a time.
    """
    total = torch.zeros(())
    for chunk in chunks:
        tokens = chunk.flatten(0, -2).double()  # (tokens, hidden)
        total = total.to(tokens) + tokens.T @ tokens
    return total


def principal_basis(moment: Tensor, size: int, damping: float) -> Tensor:
    """Return the first `size` principal components (hidden, size) of a second moment.

    They are orthonormal columns, by falling eigenvalue.

    `damping` times the mean of the diagonal is added to it: eigenvectors stay, a singular `moment` becomes regular. The
    entry of largest magnitude in a column is positive, so that equal moments give equal signs.
    """
    damped = moment + damping * moment.diagonal().mean() * torch.eye(len(moment)).to(moment)
    basis = torch.linalg.eigh(damped).eigenvectors.flip(-1)[:, :size]  # (hidden, size); eigh's eigenvalues rise
    largest = basis.gather(0, basis.abs().argmax(0, keepdim=True))  # (1, size)
    return basis * largest.sign()


def rotated(weight: Tensor, basis: Tensor, rows: int = 4096) -> Tensor:
    """Return `weight` (count, hidden) in `basis` (hidden, size).

    Computed in float64, some rows at a time, in its own dtype.
    """
    turned, product = basis.to(weight.device), weight.new_empty(len(weight), basis.shape[1])
    for part, place in zip(weight.split(rows), product.split(rows), strict=True):
        place.copy_(part.double() @ turned)
    return product


def project(states: Tensor, basis: Tensor) -> Tensor:
    """Return what the span of `basis` (hidden, size) holds of `states` (..., hidden).

    The result is in the coordinates of `states`.
    """
    wide = torch.promote_types(states.dtype, torch.float32)
    basis = basis.to(states.device, wide)
    return (states.to(wide) @ basis @ basis.T).to(states.dtype)


def sliced_parameters(sizes: Sequence[int], shapes: Sequence[LayerShape], vocabulary: int) -> int:
    """Return the parameters of a model of `shapes` whose stream has `sizes` (two a layer and the last).

    Shortcuts count, and a head of its own. Rises with every size; with all of them whole it is above the dense model's.
    """
    total = vocabulary * (sizes[0] + sizes[-1]) + sizes[-1]  # embeddings, head, final norm
    for index, shape in enumerate(shapes):
        before, between, after = sizes[2 * index : 2 * index + 3]
        queries, keys = shape.groups * shape.queries * shape.head_dim, shape.groups * shape.head_dim
        total += (queries + 2 * keys) * (before + shape.bias) + shape.attention_fixed
        total += before + (queries + shape.attention_vectors - 1) * between  # norm; o_proj and its bias
        total += 2 * shape.width * (between + shape.mlp_bias)
        total += between + (shape.width + shape.mlp_vectors - 1) * after  # norm; down_proj and its bias
        total += before * between + between * after  # shortcuts
    return total


def solve_sizes(count: Count, target: float, *, slack: float, hidden: int, half_blocks: int) -> list[int]:
    """Return the sizes of the stream whose `count(sizes)` comes nearest to `target`.

    There is one size for each half block, and a last one.

    Multiples of UNIT; two that follow each other, the larger one in the earlier half blocks, since one alone moves all of
    them at once. Where that misses `target` by more than `slack` (small models), multiples of half of UNIT, then of a
    quarter, then any. No size is below UNIT.
    """
    sizes: list[int] = []
    for unit in (UNIT, UNIT // 2, UNIT // 4, 1):
        streams = partial(spread, unit=unit, hidden=hidden, half_blocks=half_blocks)
        sizes = nearest(count, target, streams)
        if abs(count(sizes) - target) <= slack:
            break
    return sizes


def nearest(count: Count, target: float, streams: Callable[[float], list[int]]) -> list[int]:
    """Return those of `streams(removed)` whose count comes nearest to `target`.

    `removed` is a share from 0 to 1.
    """
    return streams(bisect(lambda removed: count(streams(removed)), target))


def spread(removed: float, *, unit: int, hidden: int, half_blocks: int) -> list[int]:
    """Return the sizes of the stream with a share `removed` (0 to 1) of the free units taken away.

    Free are the units above the smallest sizes.
    """
    most, least = half_blocks * ceil(hidden / unit), half_blocks * ceil(UNIT / unit)
    base, larger = divmod(most - round(removed * (most - least)), half_blocks)
    return [min(hidden, unit * (base + (index < larger))) for index in range(half_blocks)] + [hidden]


def uniform_sizes(count: Count, target: float, *, hidden: int, half_blocks: int) -> list[int]:
    """Return the sizes of the stream with the same size in all half blocks.

    It is the largest multiple of UNIT within `target`.
    """
    choices = [[size] * half_blocks + [hidden] for size in range(UNIT, hidden + 1, UNIT)]
    return max((sizes for sizes in choices if count(sizes) <= target), default=choices[0])
