"""Score many sub-networks of one super-network.

Candidates that begin alike share the layers they begin with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from transformers import PreTrainedModel

from harness.evaluation.attention import Carry, packed
from harness.evaluation.batches import Batch
from harness.evaluation.scorer import judge as likelihoods
from harness.evaluation.scorer import place
from harness.nas.space import Architecture
from harness.nas.supernet import Elastic

Judge = Callable[
    [PreTrainedModel, Batch, Tensor], tuple[Tensor, Tensor]
]  # as `scorer.judge`: values of a batch's pairs
MEMORY = 192 * 2**20  # bytes of hidden states that wait at branches, at most


@dataclass(frozen=True)
class Visit:
    """One candidate in the order of the trie: what is known already, and what later ones will start from."""

    architecture: Architecture
    start: int  # layers whose outcome is kept from an earlier candidate; -1: not even its embeddings are
    keep: tuple[int, ...]  # depths, ascending, at which a later candidate branches off this one


def visits(architectures: Sequence[Architecture]) -> list[Visit]:
    """Return the distinct candidates in trie order; each runs its layers from `start` on."""
    order = sorted(set(architectures))
    common = [_common(one, other) for one, other in pairwise(order)]
    stops = []
    for index, architecture in enumerate(order):
        start = common[index - 1] if index else -1
        keep, lowest = set(), len(architecture.blocks)
        for shared in common[index:]:
            lowest = min(lowest, shared)
            if lowest <= max(start, 0):
                break
            keep.add(lowest)
        stops.append(Visit(architecture, start, tuple(sorted(keep))))
    return stops


def _common(one: Architecture, other: Architecture) -> int:
    """Return how many layers two distinct sub-networks begin with alike.

    -1 where not even the embeddings are.
    """
    if one.hidden != other.hidden:
        return -1
    pairs = zip(one.blocks, other.blocks, strict=True)
    return next(index for index, (left, right) in enumerate(pairs) if left != right)


def layer_runs(plan: Sequence[Visit]) -> tuple[int, int]:
    """Return how many layers run one by one and in the trie: the gain is their ratio."""
    kept = [(visit, visit.architecture.kept()) for visit in plan]
    alone = sum(len(layers) for _, layers in kept)
    shared = sum(sum(layer >= visit.start for layer in layers) for visit, layers in kept)
    return alone, shared


def longest_chain(model: PreTrainedModel, memory: int = MEMORY) -> int:
    """Return how many tokens may hang together in `pack(chain=...)`.

    So their states at every depth fit into `memory`.
    """
    return memory // (_bytes_per_token(model) * (len(model.get_decoder().layers) + 2))


def _bytes_per_token(model: PreTrainedModel) -> int:
    return model.config.hidden_size * model.dtype.itemsize


def spans(plan: Sequence[Visit], batches: Sequence[Batch], bytes_per_token: int, memory: int) -> list[list[Batch]]:
    """Return the batches in parts whose states fit into `memory` bytes.

    States at all waiting branches, and those on the way.

    A part starts where no batch before it is carried on: chains of batches stay whole.
    """
    waiting: list[int] = []
    most = 2
    for visit in plan:
        waiting = [depth for depth in waiting if depth <= visit.start] + list(visit.keep)
        most = max(most, len(waiting) + 2)  # and a layer's input and output
    chains: list[list[Batch]] = []
    for batch in batches:
        if batch.carried:
            chains[-1].append(batch)
        else:
            chains.append([batch])
    parts: list[list[Batch]] = []
    for chain in chains:
        if parts and _tokens(parts[-1]) + _tokens(chain) <= memory // (bytes_per_token * most):
            parts[-1] += chain
        else:
            parts.append(chain)
    return parts


def _tokens(batches: Sequence[Batch]) -> int:
    return sum(batch.ids.numel() for batch in batches)


@torch.inference_mode()
def score_population(
    elastic: Elastic,
    batches: Sequence[Batch],
    count: int,
    architectures: Sequence[Architecture],
    *,
    memory: int = MEMORY,
    judge: Judge | None = None,
) -> Iterator[tuple[Architecture, Tensor]]:
    """Yield (architecture, sums (count, ...) float64) of each distinct candidate as it is done.

    In trie order.

    The sums over a request's tokens are log-likelihoods (count,), or what `judge` makes of the last hidden states.

    The numbers are those of each candidate alone, to the bit. Where `memory` holds the states of a part of the items only,
    parts follow each other and candidates are done in the last one.
    """
    plan = visits(architectures)
    model = elastic.model
    parts = spans(plan, batches, _bytes_per_token(model), memory)
    totals: dict[Architecture, Tensor] = {}
    for number, part in enumerate(parts):
        for architecture, sums_of_one in _walk(elastic, part, plan, judge or likelihoods):
            for batch, chosen in sums_of_one:
                sums = totals.setdefault(architecture, torch.zeros(count, *chosen.shape[1:], dtype=torch.float64))
                sums.index_add_(0, batch.owners, chosen)
            if number == len(parts) - 1:
                yield architecture, totals.pop(architecture)


def _walk(
    elastic: Elastic, batches: Sequence[Batch], plan: Sequence[Visit], judge: Judge
) -> Iterator[tuple[Architecture, list[tuple[Batch, Tensor]]]]:
    model = elastic.model
    decoder = model.get_decoder()
    for batch in batches:
        place(batch, model.device)
    rotations = [decoder.rotary_emb(decoder.embed_tokens(batch.ids), position_ids=batch.positions) for batch in batches]
    waiting: dict[int, list[Tensor]] = {}  # depth -> hidden states (1, nodes, hidden)
    for visit in plan:
        elastic.activate(visit.architecture)
        if visit.start < 0:
            waiting = {0: [decoder.embed_tokens(batch.ids) for batch in batches]}
        start, layers = max(visit.start, 0), set(visit.architecture.kept())
        hidden = waiting[start]
        waiting = {depth: states for depth, states in waiting.items() if depth <= start}
        with packed(model):
            for depth in range(start, len(visit.architecture.blocks)):
                if depth in layers:
                    hidden = _layer(elastic.stack[depth], hidden, batches, rotations)
                if depth + 1 in visit.keep:
                    waiting[depth + 1] = hidden
        judged = []
        for batch, states in zip(batches, hidden, strict=True):
            chosen, _ = judge(model, batch, decoder.norm(states)[0])
            judged.append((batch, chosen))
        yield visit.architecture, judged


def _layer(layer, hidden: list[Tensor], batches: Sequence[Batch], rotations: list) -> list[Tensor]:
    carry: Carry = {}  # of this layer: one batch hands its keys to the next
    return [
        layer(
            states,
            attention_mask=None,
            position_ids=batch.positions,
            position_embeddings=rotation,
            use_cache=False,
            batch=batch,
            carry=carry,
        )
        for states, batch, rotation in zip(hidden, batches, rotations, strict=True)
    ]
