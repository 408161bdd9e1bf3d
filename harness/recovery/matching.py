"""Which dense layer each layer of a pruned model comes from."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from harness.models.anatomy import layers


def match_layers(pruned: PreTrainedModel, dense: PreTrainedModel) -> list[int]:
    """Return the dense index of each pruned layer, ascending.

    By `config.kept_layers` where a method wrote it, one to one at equal depth, else the ascending choice whose norms and
    output weights are most alike. ValueError when the two cannot be compared.
    """
    if getattr(pruned.config, "stream_sizes", None):
        raise ValueError("refit compares residual streams, and slicegpt rotates them: refit cannot follow it")
    if pruned.config.hidden_size != dense.config.hidden_size:
        raise ValueError(
            f"refit needs the dense hidden size {dense.config.hidden_size}, and the pruned model has {pruned.config.hidden_size}"
        )
    ours, theirs = layers(pruned), layers(dense)
    kept = getattr(pruned.config, "kept_layers", None)  # counted in the model that all began with
    if kept is not None:
        origins = list(getattr(dense.config, "kept_layers", None) or range(len(theirs)))
        if len(kept) != len(ours) or list(kept) != sorted(set(kept)) or not set(kept) <= set(origins):
            raise ValueError(f"kept_layers {list(kept)} does not name {len(ours)} of the {len(theirs)} layers in order")
        return [origins.index(layer) for layer in kept]
    if len(ours) > len(theirs):
        raise ValueError(f"refit needs a model of at most {len(theirs)} layers, not {len(ours)}")
    if len(ours) == len(theirs):
        return list(range(len(ours)))
    distances = torch.stack([torch.stack([_distance(one, other) for other in theirs]) for one in ours])
    return ascending(distances)


def ascending(distances: Tensor) -> list[int]:
    """Return the ascending columns, one a row, of least total distance (rows, columns)."""
    rows, columns = distances.shape
    best = torch.full(
        (rows + 1, columns + 1), float("inf"), dtype=torch.float64
    )  # of the first rows, in the first columns
    best[0] = 0
    for row in range(rows):
        for column in range(row, columns):
            best[row + 1, column + 1] = min(best[row + 1, column], best[row, column] + float(distances[row, column]))
    chosen: list[int] = []
    row, column = rows, columns
    while row:
        if best[row, column] != best[row, column - 1]:
            row -= 1
            chosen.append(column - 1)
        column -= 1
    return chosen[::-1]


def _distance(one: nn.Module, other: nn.Module) -> Tensor:
    left, right = _signature(one), _signature(other)
    common = [name for name in left if name in right]
    return torch.stack([1 - torch.cosine_similarity(left[name], right[name], dim=0) for name in common]).sum()


def _signature(layer: nn.Module) -> dict[str, Tensor]:
    """Return vectors (hidden,) that width pruning changes little.

    Norm gains, and row norms of what writes to the stream.
    """
    signature = {}
    for name, weight in layer.named_parameters():
        if name.endswith(("layernorm.weight", "o_proj.weight", "down_proj.weight")):
            weight = weight.detach().double().cpu()
            signature[name] = weight if weight.dim() == 1 else weight.norm(dim=1)
    return signature
