"""Pack scoring requests so that every shared token prefix is computed once.

One row of tokens in the order of a trie. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

BLOCK = 128  # tokens that attend together; a chain is cut into blocks, so that little is computed above the diagonal
SMALL = 32  # tokens of strangers that may attend together all the same: fewer calls are worth more than their products


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
class Segment:
    """Consecutive nodes that attend in one call.

    To all of `prefix`, and to each other where `runs` says so.

    Keys count the carried nodes first, then the fresh ones.
    """

    start: int  # first node, as a key
    prefix: list[int]  # keys of the ancestors of the first node
    runs: list[tuple[int, int]] = field(default_factory=list)  # (parent among this segment's nodes or -1, length)
    size: int = 0

    def visible(self) -> np.ndarray:
        """Return (size, size) bool: a node sees its ancestors in this segment and itself."""
        seen = np.zeros((self.size, self.size), dtype=bool)
        start = 0
        for parent, length in self.runs:
            rows = slice(start, start + length)
            if parent >= 0:
                seen[rows] = seen[parent]
            seen[rows, rows] |= np.tri(length, dtype=bool)
            start += length
        return seen


@dataclass
class Row:
    """Fresh nodes in trie order.

    The first `carried` keys are a path of nodes that the row before computed.
    """

    carried: int = 0
    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    keep: list[int] = field(default_factory=list)  # keys that the next row starts with
    scored: dict[int, list[int]] = field(default_factory=dict)  # request -> keys whose next tokens are scored

    def append(self, path: list[int], tokens: Sequence[int]) -> list[int]:
        """Add `tokens` below the keys of `path`; return their keys."""
        first = self.carried + len(self.tokens)
        self.tokens += tokens
        self.positions += range(len(path), len(path) + len(tokens))
        done = 0
        while done < len(tokens):
            done += self._attach(path, first, done, len(tokens))
        return list(range(first, first + len(tokens)))

    def _attach(self, path: list[int], first: int, done: int, count: int) -> int:
        """Let as many of the run's tokens as fit attend in the last segment, or in a new one; return how many."""
        parent = first + done - 1 if done else (path[-1] if path else -1)
        last = self.segments[-1] if self.segments else None
        if last is not None and last.size < BLOCK and _joins(last, parent, len(path) + done):
            segment = last
        else:
            segment = Segment(first + done, path + list(range(first, first + done)))
            self.segments.append(segment)
        taken = min(count - done, BLOCK - segment.size)
        inside = parent - segment.start if parent >= segment.start else -1
        segment.runs.append((inside, taken))
        segment.size += taken
        return taken


def _joins(segment: Segment, parent: int, depth: int) -> bool:
    """Tell whether nodes below `parent` may extend the segment.

    The mask throws few products away where they may.
    """
    last = segment.prefix[-1] if segment.prefix else -1
    if parent != last and not segment.start <= parent < segment.start + segment.size:
        return False
    ancestors = depth - len(segment.prefix)
    strangers = segment.size - ancestors
    return strangers <= max(SMALL, ancestors)


def rows(requests: Sequence[Request], *, budget: int, chain: int | None = None) -> Iterator[Row]:
    """Yield rows of at most `budget` fresh tokens (or one request) that cover all requests.

    In the order of their tokens.

    A row starts with the part of its first request that the row before has computed already: nothing is computed twice.
    Rows that hang together so have at most `chain` tokens (or are one row); then a row starts from nothing.
    """
    inputs = [request.inputs for request in requests]
    row = Row()
    path: list[int] = []  # keys of the request before
    previous: tuple[int, ...] = ()
    linked = 0  # tokens of the rows that this one depends on
    for index in sorted(range(len(requests)), key=inputs.__getitem__):
        tokens, scores = inputs[index], len(requests[index].continuation)
        shared = common_prefix(previous, tokens)
        if row.tokens and shared < len(tokens) and len(row.tokens) + len(tokens) - shared > budget:
            linked += len(row.tokens)
            if chain is not None and linked + max(budget, len(tokens)) > chain:
                shared = linked = 0
            shared = min(shared, len(tokens) - scores)
            row.keep = path[:shared]
            yield row
            row, path = Row(carried=shared), list(range(shared))
        elif shared > len(tokens) - scores and path[len(tokens) - scores] < row.carried:
            shared = len(tokens) - scores  # what a carried node predicts went with its row: read the rest again
        path = path[:shared] + row.append(path[:shared], tokens[shared:])
        row.scored[index] = path[-scores:]
        previous = tokens
    if row.tokens:
        yield row


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Return how many leading items are equal."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


@dataclass(frozen=True)
class Floor:
    """The least work that scores a set of requests.

    Every unique prefix read once, every unique position scored once.
    """

    tokens: int  # unique token prefixes, through the body
    pairs: int  # (token, token it may look at), itself included: what attention multiplies
    scores: int  # unique positions, through the head


def floor(requests: Sequence[Request]) -> Floor:
    """Return the least work possible for `requests`."""
    tokens = pairs = 0
    previous: tuple[int, ...] = ()
    for inputs in sorted({request.inputs for request in requests}):
        shared = common_prefix(previous, inputs)
        tokens += len(inputs) - shared
        pairs += (len(inputs) * (len(inputs) + 1) - shared * (shared + 1)) // 2
        previous = inputs
    heads = {
        request.inputs[: len(request.inputs) - offset]
        for request in requests
        for offset in range(len(request.continuation))
    }
    return Floor(tokens, pairs, len(heads))
