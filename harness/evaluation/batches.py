"""Rows of trie nodes as tensors: token ids, who attends to whom, and which positions are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness.evaluation.trie import Request, Row, Segment, rows

GATHERED = 16384  # keys that one attention call copies, at most (or one segment's)
WASTE = 1.3  # products of a call over those of its segments
CACHED = 4_000_000  # entries of a mask that is kept for the next layer


@dataclass
class Group:
    """Segments padded to one shape, for one attention call."""

    queries: Tensor  # (rows, queries), fresh nodes; padding repeats the last one
    keys: Tensor  # (rows, keys), carried and fresh nodes; padding repeats the first one and is masked
    prefixes: list[int]
    seen: list[np.ndarray]  # per row (own, own)
    positions: tuple[Tensor, Tensor]  # of queries and of keys, for sliding windows
    _masks: dict[tuple[torch.dtype, torch.device, int | None], Tensor] = field(default_factory=dict)

    def mask(self, dtype: torch.dtype, device: torch.device, window: int | None) -> Tensor:
        """Return (rows, 1, queries, keys): 0 where a query sees a key, minus infinity elsewhere."""
        window = window if window is not None and int(self.positions[0].max()) >= window else None
        name = (dtype, device, window)
        if name in self._masks:
            return self._masks[name]
        seen = torch.zeros(*self.queries.shape, self.keys.shape[1], dtype=torch.bool)
        for row, (prefix, own) in enumerate(zip(self.prefixes, self.seen, strict=True)):
            count = len(own)
            seen[row, :, :prefix] = True
            seen[row, :count, prefix : prefix + count] = torch.from_numpy(own)
            seen[row, count:, prefix : prefix + count] = torch.from_numpy(own[-1])  # padding repeats the last query
        if window is not None:
            queries, keys = self.positions
            seen &= queries[:, :, None] - keys[:, None, :] < window
        made = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, float("-inf")).unsqueeze(1).to(device)
        if made.numel() <= CACHED:
            self._masks[name] = made
        return made

    def to(self, device: torch.device) -> None:
        self.queries, self.keys = self.queries.to(device), self.keys.to(device)


@dataclass
class Batch:
    """One row of nodes. Batches of one `pack` are scored in their order.

    Each starts from keys that the one before kept.
    """

    ids: Tensor  # (1, nodes)
    positions: Tensor  # (1, nodes)
    carried: int
    groups: list[Group]
    places: Tensor  # (nodes,), where the groups' results hold each node
    keep: Tensor  # (kept,), of carried and fresh nodes
    scored: Tensor  # (scores,), nodes whose next token is scored, each once
    which: Tensor  # (pairs,), index into `scored`, ascending
    targets: Tensor  # (pairs,), token ids
    owners: Tensor  # (pairs,), request indices

    @property
    def requests(self) -> list[int]:
        """Indices of the requests that are wholly scored by this batch."""
        return sorted(set(self.owners.tolist()))


def pack(requests: Sequence[Request], *, budget: int = 2048, chain: int | None = None) -> list[Batch]:
    """Return batches of at most `budget` fresh tokens (or one request) that read every shared prefix once.

    With `chain`, batches of more than that many tokens never depend on each other.
    """
    return [_batch(row, requests) for row in rows(requests, budget=budget, chain=chain)]


def _batch(row: Row, requests: Sequence[Request]) -> Batch:
    positions = torch.tensor(row.positions)
    everywhere = torch.cat([torch.arange(row.carried), positions])
    groups, places = [], torch.zeros(len(row.tokens), dtype=torch.long)
    offset = 0
    for members in grouped(row.segments):
        group = _group(members, row.carried, everywhere)
        for index, segment in enumerate(members):
            start = segment.start - row.carried
            places[start : start + segment.size] = torch.arange(segment.size) + offset + index * group.queries.shape[1]
        offset += group.queries.numel()
        groups.append(group)
    pairs = sorted(
        (key, target, index)
        for index, keys in row.scored.items()
        for key, target in zip(keys, requests[index].continuation, strict=True)
    )
    keys = torch.tensor([key for key, _, _ in pairs])
    scored, which = keys.unique(return_inverse=True)
    assert (scored >= row.carried).all()
    return Batch(
        ids=torch.tensor([row.tokens]),
        positions=positions[None],
        carried=row.carried,
        groups=groups,
        places=places,
        keep=torch.tensor(row.keep, dtype=torch.long),
        scored=scored - row.carried,
        which=which,
        targets=torch.tensor([target for _, target, _ in pairs]),
        owners=torch.tensor([index for _, _, index in pairs]),
    )


def grouped(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Return the segments in groups of similar shape, so that padding costs at most WASTE in products."""
    groups: list[list[Segment]] = []
    used = queries = keys = 0
    for segment in sorted(segments, key=lambda one: (-(one.size // 16), -len(one.prefix) - one.size)):
        size, width = segment.size, len(segment.prefix) + segment.size
        most, widest = max(queries, size), max(keys, width)
        count = len(groups[-1]) + 1 if groups else 1
        fits = count * most * widest <= WASTE * (used + size * width) and count * widest <= GATHERED
        if groups and fits:
            groups[-1].append(segment)
            used, queries, keys = used + size * width, most, widest
        else:
            groups.append([segment])
            used, queries, keys = size * width, size, width
    return groups


def _group(members: Sequence[Segment], carried: int, everywhere: Tensor) -> Group:
    most = max(segment.size for segment in members)
    widest = max(len(segment.prefix) + segment.size for segment in members)
    queries = torch.zeros(len(members), most, dtype=torch.long)
    keys = torch.zeros(len(members), widest, dtype=torch.long)
    for index, segment in enumerate(members):
        own = torch.arange(segment.start, segment.start + segment.size)
        queries[index, : segment.size] = own - carried
        queries[index, segment.size :] = own[-1] - carried
        prefix = len(segment.prefix)
        keys[index] = segment.prefix[0] if prefix else segment.start
        keys[index, :prefix] = torch.tensor(segment.prefix, dtype=torch.long)
        keys[index, prefix : prefix + segment.size] = own
    return Group(
        queries,
        keys,
        [len(segment.prefix) for segment in members],
        [segment.visible() for segment in members],
        (everywhere[queries + carried], everywhere[keys]),
    )
