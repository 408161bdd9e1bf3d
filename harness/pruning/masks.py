"""Which weights to zero: the lowest scores per row, or all but the best n of every m. Pure."""

from __future__ import annotations

import torch
from torch import Tensor


def lowest(score: Tensor, sparsity: float, *, per_row: bool = True) -> Tensor:
    """Return a bool mask (out, in), True where pruned.

    Exactly floor(sparsity * n) lowest scores per row or in all.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must lie in [0, 1), not {sparsity}")
    flat = score if per_row else score.reshape(1, -1)
    count = int(flat.shape[1] * sparsity + 1e-6)
    order = flat.topk(count, dim=1, largest=False, sorted=False).indices  # five times faster than a sort
    return torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order, True).view_as(score)


def n_of_m(score: Tensor, n: int, m: int) -> Tensor:
    """Return a bool mask (out, in), True where pruned, leaving the n best of every m neighbours in a row.

    Two of four is what sparse tensor cores take. ValueError when m does not divide the row.
    """
    if score.shape[1] % m:
        raise ValueError(f"rows of {score.shape[1]} weights do not divide into groups of {m}")
    groups = score.unflatten(1, (-1, m))  # (out, in / m, m)
    order = groups.topk(m - n, dim=2, largest=False).indices
    return torch.zeros_like(groups, dtype=torch.bool).scatter_(2, order, True).flatten(1)
