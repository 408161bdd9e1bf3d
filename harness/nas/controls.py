"""Sub-networks that no search has to find: what every search starts from and must beat. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from harness.nas.architecture import Architecture, Block, Body
from harness.pruning.budget import bisect


def middle_layers(count: int) -> range:
    """Return the layers that `middle` shrinks: all but the first 4 and last 2 of 30, scaled with depth."""
    first, last = round(count * 4 / 30), max(1, round(count * 2 / 30))
    return range(first, max(count - last, first + 1))


def uniform(body: Body, target: float) -> Architecture:
    """Return the whole network with one MLP width in all layers, of `target` parameters.

    As nearly as widths allow.
    """
    return _narrowed(body, range(len(body.shapes)), target)


def middle(body: Body, target: float) -> Architecture:
    """Return the network with one MLP width in the middle layers, of `target` parameters.

    Layers around them are whole.
    """
    return _narrowed(body, middle_layers(len(body.shapes)), target)


def shallow(body: Body, target: float) -> Architecture:
    """Return the network without its least important layers, of `target` parameters.

    The next layer's MLP makes it exact.
    """
    blocks = list(body.full.blocks)
    for layer in body.order[: len(blocks) - 1]:
        if body.parameters(Architecture(body.hidden, tuple(blocks))) - target < body.shapes[layer].parameters:
            break
        blocks[layer] = Block(0, 0)
    return snap(body, Architecture(body.hidden, tuple(blocks)), target)


def _narrowed(body: Body, inner: Iterable[int], target: float) -> Architecture:
    def shrunk(ratio: float) -> Architecture:
        blocks = list(body.full.blocks)
        for layer in inner:
            blocks[layer] = blocks[layer]._replace(width=_rounded(body, layer, body.shapes[layer].width * (1 - ratio)))
        return Architecture(body.hidden, tuple(blocks))

    best = shrunk(bisect(lambda ratio: body.parameters(shrunk(ratio)), target))
    return nudged(body, best, target, inner)


def snap(body: Body, architecture: Architecture, target: float) -> Architecture:
    """Return the architecture with its widths moved together towards whole or least, to `target`.

    Then unit by unit.

    Layers that are whole stay whole where the others can do it alone: a search kept them for a reason.
    """
    movable = [layer for layer, block in enumerate(architecture.blocks) if block.width and not block.channels]
    cut = [layer for layer in movable if architecture.blocks[layer].width < body.shapes[layer].width]
    best = _moved(body, architecture, target, cut)
    enough = body.unit(0) * body.shapes[0].channel_parameters
    return best if abs(body.parameters(best) - target) <= enough else _moved(body, architecture, target, movable)


def _moved(body: Body, architecture: Architecture, target: float, layers: list[int]) -> Architecture:
    """Return the architecture with the widths of `layers` moved by one share of their way, to `target`.

    Then unit by unit.
    """

    def scaled(shrink: float) -> Architecture:
        move = 1 - 2 * shrink  # 1: whole, 0: as they are, -1: least; bisect wants counts that fall with its argument
        blocks = list(architecture.blocks)
        for layer in layers:
            width = blocks[layer].width
            goal = width + move * (body.shapes[layer].width - width if move > 0 else width)
            blocks[layer] = blocks[layer]._replace(width=_rounded(body, layer, goal))
        return architecture._replace(blocks=tuple(blocks))

    best = scaled(bisect(lambda shrink: body.parameters(scaled(shrink)), target))
    return nudged(body, best, target, layers)


def nudged(body: Body, architecture: Architecture, target: float, layers: Iterable[int]) -> Architecture:
    """Return the architecture after single steps of width in `layers`.

    Each of them comes nearer to `target`.
    """
    best = architecture
    allowed = [layer for layer in layers if best.blocks[layer].width and not best.blocks[layer].channels]
    for _ in range(4 * len(best.blocks)):
        gap = target - body.parameters(best)
        moves = []
        for layer in allowed:
            width = best.blocks[layer].width
            changed = _rounded(body, layer, width + (body.unit(layer) if gap > 0 else -body.unit(layer)))
            weight = body.shape(layer, best).channel_parameters
            left = abs(gap - (changed - width) * weight)
            moves.append((left, -width if gap < 0 else width, layer, changed))  # of equals, the widest shrinks
        if not moves or min(moves)[0] >= abs(gap):
            return best
        _, _, layer, changed = min(moves)
        blocks = list(best.blocks)
        blocks[layer] = blocks[layer]._replace(width=changed)
        best = best._replace(blocks=tuple(blocks))
    return best


def _rounded(body: Body, layer: int, width: float) -> int:
    unit, whole = body.unit(layer), body.shapes[layer].width
    near = round(width / unit) * unit
    return whole if near >= whole - unit // 2 else max(unit, near)


CONTROLS: dict[str, Callable[[Body, float], Architecture]] = {"uniform": uniform, "middle": middle, "shallow": shallow}
