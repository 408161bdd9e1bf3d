"""Rows of random token ids to train on, each with its labels."""

from __future__ import annotations

import torch


def rows(count=8, length=16, low=2, high=258):
    data = torch.randint(low, high, (count, 2, length), generator=torch.Generator().manual_seed(0))
    data[:, 1] = data[:, 0]
    return data
