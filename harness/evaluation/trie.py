"""Pack scoring requests so that every shared token prefix is computed once: trees of tokens under an ancestor mask. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

LARGEST_TREE = 1024  # tokens; attention in a tree is quadratic
SHARED_TOKENS = 32  # a prefix this long is shared even where it is a small part of the sequence


@dataclass(frozen=True)
class Request:
    """Score `continuation` after `context`; both are token ids and neither is empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def inputs(self) -> tuple[int, ...]:
        """What the model reads: all but the last token, which is only predicted."""
        return (self.context + self.continuation)[:-1]


@dataclass
class Tree:
    """Tokens of several requests with shared prefixes stored once; `paths` holds node indices by depth."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    paths: list[tuple[int, list[int]]] = field(default_factory=list)  # (request index, nodes from the root)
    branches: bool = False

    def add(self, index: int, inputs: Sequence[int], shared: int) -> None:
        """Append a sequence whose first `shared` tokens are those of the sequence added last."""
        nodes = self.paths[-1][1][:shared] if shared else []
        fresh = range(len(self.tokens), len(self.tokens) + len(inputs) - shared)
        self.branches = self.branches or bool(
            self.tokens and (not nodes or nodes[-1] + 1 != fresh.start) and len(fresh)
        )
        self.tokens += inputs[shared:]
        self.positions += range(shared, len(inputs))
        self.paths.append((index, [*nodes, *fresh]))

    def mask(self) -> Tensor:
        """Return (nodes, nodes) bool: a node sees its ancestors and itself."""
        seen = torch.eye(len(self.tokens), dtype=torch.bool)
        for _, path in self.paths:
            nodes = torch.tensor(path)
            seen[nodes[:, None], nodes[None, :]] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
        return seen


@dataclass(frozen=True)
class Batch:
    """Trees padded to one length. `mask` is None where no tree branches: plain causal attention is the same then."""

    ids: Tensor  # (rows, nodes)
    positions: Tensor  # (rows, nodes)
    mask: Tensor | None  # (rows, 1, nodes, nodes) bool
    scored: Tensor  # (scores,), index into the flattened nodes whose next token is scored
    targets: Tensor  # (scores,), token ids
    owners: Tensor  # (scores,), request indices


def grow(requests: Sequence[Request]) -> list[Tree]:
    """Return trees that cover all requests; neighbours in sorted order join while sharing pays."""
    order = sorted(range(len(requests)), key=lambda index: requests[index].inputs)
    trees: list[Tree] = []
    previous: tuple[int, ...] = ()
    for index in order:
        inputs = requests[index].inputs
        shared = common_prefix(previous, inputs)
        pays = shared >= SHARED_TOKENS or 2 * shared >= len(inputs)
        if trees and pays and len(trees[-1].tokens) + len(inputs) - shared <= LARGEST_TREE:
            trees[-1].add(index, inputs, shared)
        else:
            trees.append(Tree())
            trees[-1].add(index, inputs, 0)
        previous = inputs
    return trees


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading items are equal."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def pack(requests: Sequence[Request], *, budget: int = 2048) -> list[Batch]:
    """Return batches of at most `budget` padded tokens (or one tree), longest trees first."""
    trees = sorted(grow(requests), key=lambda tree: -len(tree.tokens))
    batches: list[Batch] = []
    rows: list[Tree] = []
    for tree in trees:
        if rows and (len(rows) + 1) * len(rows[0].tokens) > budget:
            batches.append(_batch(rows, requests))
            rows = []
        rows.append(tree)
    return [*batches, _batch(rows, requests)] if rows else batches


def _batch(trees: list[Tree], requests: Sequence[Request]) -> Batch:
    nodes = len(trees[0].tokens)
    ids = torch.zeros(len(trees), nodes, dtype=torch.long)
    positions = torch.zeros(len(trees), nodes, dtype=torch.long)
    branching = any(tree.branches for tree in trees)
    mask = torch.eye(nodes, dtype=torch.bool).repeat(len(trees), 1, 1) if branching else None
    scored: list[int] = []
    targets: list[int] = []
    owners: list[int] = []
    for row, tree in enumerate(trees):
        count = len(tree.tokens)
        ids[row, :count] = torch.tensor(tree.tokens)
        positions[row, :count] = torch.tensor(tree.positions)
        if mask is not None:
            mask[row, :count, :count] = tree.mask()
        for index, path in tree.paths:
            wanted = requests[index].continuation
            scored += [row * nodes + node for node in path[-len(wanted) :]]
            targets += wanted
            owners += [index] * len(wanted)
    pad = mask.unsqueeze(1) if mask is not None else None
    return Batch(ids, positions, pad, torch.tensor(scored), torch.tensor(targets), torch.tensor(owners))


def floor_tokens(requests: Sequence[Request]) -> tuple[int, int]:
    """Return the least work possible: unique token prefixes through the body, and unique scored positions through the head."""
    order = sorted({request.inputs for request in requests})
    body = 0
    previous: tuple[int, ...] = ()
    for inputs in order:
        body += len(inputs) - common_prefix(previous, inputs)
        previous = inputs
    heads = {
        request.inputs[: len(request.inputs) - offset]
        for request in requests
        for offset in range(len(request.continuation))
    }
    return body, len(heads)
