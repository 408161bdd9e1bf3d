"""The step that applies a method to a checkpoint and stores the smaller model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from harness.spec import CHECKPOINT, AnyMethod, CalibrationSpec, Cost, Step, Work


class Compress(Step):
    """Load the parent's model, apply `method`, save what comes back."""

    KIND = "compress"
    method: AnyMethod
    calibration: CalibrationSpec | None = None
    seed: int = 0

    def title(self) -> str:
        budget = getattr(self.method, "budget", None)
        return self.method.NAME + (f" at {budget}" if budget is not None else "")

    def cost(self) -> Cost:
        return self.method.effort(self.calibration.tokens if self.calibration else 0)

    def checkpoint_share(self) -> float:
        return 1.0 if self.method.simulated else getattr(self.method, "budget", None) or 1.0

    def run(self, work: Work) -> None:
        import torch

        from harness.data.calibration import Calibration, draw
        from harness.models import checkpoint

        source = work.checkpoint()
        check_family(source, self.method.FAMILIES, self.method.NAME)
        torch.manual_seed(self.seed)
        model = checkpoint.load(source, work.device)
        empty = torch.empty(0, 0, dtype=torch.long)
        calibration = (
            draw(self.calibration, checkpoint.load_tokenizer(source)) if self.calibration else Calibration(empty)
        )
        smaller = self.method.compress(model, calibration)
        store_model(work, smaller, calibration_tokens=calibration.count)


def check_family(source: Path, families: Collection[str], what: str) -> None:
    """Raise ValueError where the model in `source` is of no family that `what` takes."""
    from harness.models import checkpoint

    if (family := checkpoint.family(source)) not in families:
        raise ValueError(f"{what} takes {', '.join(sorted(families))} decoders, not {family}")


def store_model(work: Work, model: Any, **facts: Any) -> None:
    """Write the step's checkpoint and note its parameter counts; ValueError when a weight is not finite."""
    from harness.measures.size import nonzero_count
    from harness.models import checkpoint
    from harness.pruning.anatomy import parameter_count

    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise ValueError(f"the result has weights that are not finite: {name}")
    checkpoint.save(model.to("cpu"), work.draft / CHECKPOINT, work.checkpoint())
    work.result |= {"parameters": parameter_count(model), "nonzero_parameters": nonzero_count(model), **facts}
