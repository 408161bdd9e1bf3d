"""The training loop that every trained method shares.

Seeded batches, clipped steps, and a state that survives a kill.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from harness import progress
from harness.data.calibration import batches
from harness.recovery.adamw import AdamW
from harness.recovery.state import Row, resume, save

SAVE_SECONDS = 60  # a kill costs this much training at most
WARM_SHARE = 0.1
CLIP = 1.0


class Update(NamedTuple):
    """What one step did: its loss, the tokens that had a backward pass, and what was trained."""

    loss: float
    tokens: int
    kind: str


def train(
    weights: Mapping[str, Tensor],
    update: Callable[[int, Tensor, Tensor], Update],
    data: Tensor,
    *,
    steps: int,
    batch: int,
    learning_rate: float,
    seed: int,
    scratch: Path,
    device: str | torch.device,
    weight_decay: float = 0.0,
    masks: Mapping[str, Tensor] | None = None,
) -> list[Row]:
    """Train `weights` in place for `steps` batches of `data` (rows, 2, length) and return the curve.

    The curve has a row for each step.

    `update(step, ids, labels)` accumulates gradients and must depend on nothing but its arguments and the weights: then a
    training killed at any moment and started again with the same `scratch` ends with the same bits. Weights with a mask
    keep their value wherever it is False. ValueError when a loss or gradient is not finite.
    """
    trained = dict(weights)
    for weight in trained.values():
        weight.requires_grad_(True)
    optimizer = AdamW(trained, weight_decay)
    curve = resume(scratch, optimizer)
    saved = time.monotonic()
    for step, (ids, labels) in enumerate(batches(data, size=batch, steps=steps, seed=seed)):
        if step < len(curve):
            continue
        done = update(step, ids.to(device), labels.to(device))
        for name, mask in (masks or {}).items():
            if (gradient := trained[name].grad) is not None:
                gradient.mul_(mask)
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), CLIP)
        if not (math.isfinite(done.loss) and bool(norm.isfinite())):
            raise ValueError(
                f"training diverged: the loss of step {step} is {done.loss}, its gradient's norm {float(norm)}; "
                "try a smaller learning_rate"
            )
        optimizer.step(learning_rate * schedule(step, steps))
        optimizer.zero()
        curve.append((step, (curve[-1][1] if curve else 0) + done.tokens, done.loss, done.kind))
        progress.report((step + 1) / steps, f"training {step + 1}/{steps}, loss {done.loss:.3f}")
        if time.monotonic() - saved > SAVE_SECONDS:
            save(scratch, optimizer, curve)
            saved = time.monotonic()
    for weight in trained.values():
        weight.requires_grad_(False)
    return curve


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: linear warm-up, then linear decay to a tenth."""
    warm = max(1, int(steps * WARM_SHARE))
    return (step + 1) / warm if step < warm else 1 - 0.9 * (step - warm) / max(1, steps - warm)
