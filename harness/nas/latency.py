"""The latency of a sub-network in place.

Whole forward passes alternately with the dense model, synchronised.
"""

from __future__ import annotations

import time

import numpy as np
import torch

from harness.nas.architecture import Architecture
from harness.nas.supernet import Elastic

ROUNDS = 5
PROMPT = 128  # tokens


@torch.inference_mode()
def ratio(elastic: Elastic, architecture: Architecture, dense: Architecture) -> float:
    """Return the median over rounds of the sub-network's seconds over the whole's.

    Prefill at batch 1.
    """
    ids = torch.arange(PROMPT, device=elastic.model.device)[None] % elastic.model.config.vocab_size
    ratios = []
    for index in range(ROUNDS + 1):
        pair = []
        for one in (architecture, dense):
            elastic.activate(one)
            pair.append(_seconds(elastic, ids))
        if index:  # the first round warms up
            ratios.append(pair[0] / pair[1])
    return float(np.median(ratios))


def _seconds(elastic: Elastic, ids: torch.Tensor) -> float:
    _wait(ids.device)
    start = time.perf_counter()
    elastic.model(input_ids=ids, use_cache=False, logits_to_keep=1)
    _wait(ids.device)
    return time.perf_counter() - start


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
