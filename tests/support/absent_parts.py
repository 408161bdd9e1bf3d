"""Shapes that a decoder's layers may have: fewer groups and channels, none of either, at every place."""

from __future__ import annotations

import torch

from harness.pruning.extraction import Keep, extract, whole

PARTS = {  # by layer (groups, channels) of what stays; others stay whole
    "narrow": {1: (2, 96), 2: (4, 64)},
    "unpadded": {0: (3, 77), 3: (1, 33)},
    "no attention": {2: (0, 160)},
    "no MLP": {2: (4, 0)},
    "first without attention": {0: (0, 160)},
    "last without MLP": {5: (4, 0)},
    "last without attention": {5: (0, 64)},
    "an empty layer": {3: (0, 0)},
    "all of it": {0: (0, 64), 1: (2, 0), 3: (0, 0), 5: (1, 0)},
}


def shaped(model, parts):
    """Return the model with the first groups and channels of these layers only."""
    keeps = whole(model)
    for index, (groups, channels) in parts.items():
        keeps[index] = Keep(index, torch.arange(groups), torch.arange(channels))
    return extract(model, keeps)
