"""Optimal brain surgeon, layer by layer.

Zero weights, and let those that stay make up for them (SparseGPT). Pure.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def inverse_factor(hessian: Tensor, damping: float) -> Tensor:
    """Return U (in, in), upper triangular.

    With U^T U = (H + damping * mean(diag H) * I)^-1 for H = X^T X (in, in).

    U_jj^2 is entry (j, j) of the inverse over the inputs from j on, U_jj * U[j, j:] its row: all that pruning from left
    to right asks for (Frantar and Alistarh, arXiv 2301.00774, section 3). Scaling H scales nothing else.
    An input that is always zero has U_jj = inf: its weights cost nothing. ValueError where H is singular nevertheless.
    """
    dead = hessian.diagonal() == 0
    damped = hessian.flip(0, 1)  # a copy, last input first
    damped.diagonal().add_(dead.flip(0) + damping * hessian.diagonal().mean())
    # Cholesky from the last input to the first is H = R R^T with R upper triangular, and U is R^-1: the inverse of H
    # has not to be formed and factored again, which float32 would not always survive.
    lower, failed = torch.linalg.cholesky_ex(damped)
    if failed:
        raise ValueError(f"the Hessian of a projection's inputs is singular at damping={damping}; try 0.01 or more")
    unit = torch.eye(len(dead), dtype=hessian.dtype, device=hessian.device)
    factor = torch.linalg.solve_triangular(lower, unit, upper=False).flip(0, 1)
    factor.diagonal()[dead] = torch.inf
    return factor


def prune(weight: Tensor, factor: Tensor, choose: Callable[[Tensor], Tensor], *, span: int, block: int) -> Tensor:
    """Return `weight` (out, in) with exact zeros and the other weights updated, in its dtype.

    Computed in the factor's.

    `factor` comes from `inverse_factor`. `choose` is asked once every `span` columns, with the weights as they are
    by then, and turns errors w^2 / U_jj^2 (out, span or what is left) into a bool mask, True where pruned. Updates reach
    the columns behind a block of `block` columns (a multiple of `span`) at once. arXiv 2301.00774, algorithm 1.
    """
    assert block % span == 0, (block, span)
    work, diagonal = weight.to(factor.dtype, copy=True), factor.diagonal()
    pruned = torch.zeros_like(work, dtype=torch.bool)
    for start in range(0, work.shape[1], block):
        stop = min(start + block, work.shape[1])
        errors = torch.zeros_like(work[:, start:stop])  # (out, block): w / U_jj where pruned
        for column in range(start, stop):
            if (column - start) % span == 0:
                group = slice(column, min(column + span, stop))
                pruned[:, group] = choose((work[:, group] / diagonal[group]).square())
            error = work[:, column] / diagonal[column] * pruned[:, column]  # (out,)
            work[:, column + 1 : stop] -= error[:, None] * factor[column, column + 1 : stop]
            errors[:, column - start] = error
        work[:, stop:] -= errors @ factor[start:stop, stop:]
    return work.masked_fill_(pruned, 0.0).to(weight.dtype)  # exact zeros, not rounding residue
