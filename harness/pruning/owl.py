"""OWL: layers with many outliers lose fewer weights. Pure. Yin et al., arXiv 2310.05175."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

HIGHEST = 0.99  # sparsity that no layer is raised beyond: one of zeros alone would write nothing


def outlier_share(matrices: Sequence[tuple[Tensor, Tensor]], threshold: float) -> float:
    """Return the share, 0 to 1, of a layer's scores |W_ij| * ||X_j||_2 above `threshold` times their mean.

    `matrices` are the layer's weights (out, in) with the norms (in,) of their inputs; they have one mean together.
    """
    count = sum(weight.numel() for weight, _ in matrices)
    if not count:
        return 0.0
    mean = sum(float(_score(*matrix).sum()) for matrix in matrices) / count
    return sum(int((_score(*matrix) > threshold * mean).sum()) for matrix in matrices) / count


def _score(weight: Tensor, input_norm: Tensor) -> Tensor:
    return weight.float().abs() * input_norm  # (out, in)


def layer_sparsities(shares: Sequence[float], counts: Sequence[int], *, target: float, deviation: float) -> list[float]:
    """Return each layer's sparsity: lower the more outliers it has, 2 * `deviation` between the extremes.

    `shares` are the layers' outlier shares, `counts` how many weights each has. The mean over weights is `target`.
    Layers that are equal get the target; all come nearer to it where one would leave 0 to HIGHEST.
    """
    size = torch.tensor(counts, dtype=torch.float64)  # (layers,)
    share = torch.tensor(shares, dtype=torch.float64)
    share = share.where(size > 0, share.max())  # a layer with nothing to prune sets no extreme
    if share.max() == share.min():
        return [target] * len(counts)
    spared = 2 * deviation * (share - share.min()) / (share.max() - share.min())  # 0 to 2 deviation
    shift = (size * spared).sum() / size.sum() - spared  # mean 0
    room = torch.stack((-target / shift.min(), (max(HIGHEST, target) - target) / shift.max())).min().clamp(max=1)
    return (target + room * shift).clamp(min=0.0).tolist()
