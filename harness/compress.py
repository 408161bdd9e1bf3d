"""The step that applies a method to a checkpoint and stores the smaller model."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.spec import CHECKPOINT, AnyMethod, CalibrationSpec, Cost, Step, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROVEN = ("baselines", "harness")  # whose methods' checkpoints reload bit-exact, as a test of each says


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
        from transformers import PreTrainedModel

        from harness.data.calibration import Calibration, draw
        from harness.models import checkpoint

        source = work.checkpoint()
        check_family(source, self.method.families, self.method.NAME)
        torch.manual_seed(self.seed)
        model = checkpoint.load(source, work.device)
        empty = torch.empty(0, 0, dtype=torch.long)
        calibration = (
            draw(self.calibration, checkpoint.load_tokenizer(source)) if self.calibration else Calibration(empty)
        )
        smaller = self.method.compress(model, calibration)
        if not isinstance(smaller, PreTrainedModel):
            said = "nothing" if smaller is None else f"a {type(smaller).__name__}"
            raise ValueError(f"{self.method.NAME}: compress must return the model, and returned {said}")
        store_model(work, smaller, calibration_tokens=calibration.count)
        if type(self.method).__module__.partition(".")[0] not in PROVEN:
            check_reloads(work.draft / CHECKPOINT, smaller, self.method.NAME)


def check_family(source: Path, families: Collection[str] | None, what: str) -> None:
    """Raise ValueError where the model in `source` is of no family that `what` takes; None: it takes any."""
    from harness.models import checkpoint

    if families is not None and (family := checkpoint.family(source)) not in families:
        raise ValueError(f"{what} takes {', '.join(sorted(families))} decoders, not {family}")


def check_reloads(folder: Path, model: PreTrainedModel, name: str) -> None:
    """Raise ValueError where what is stored computes something else than the model.

    Hooks, modules and settings that no file holds.
    """
    import torch

    from harness.models import checkpoint

    tokens = torch.arange(16).remainder(model.get_input_embeddings().weight.shape[0])[None]
    with torch.inference_mode():
        before = model.eval()(input_ids=tokens, use_cache=False).logits
        after = checkpoint.load(folder)(input_ids=tokens, use_cache=False).logits
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-3):
        raise ValueError(
            f"{name}: what it returned computes other logits than its checkpoint (up to {float((before - after).abs().max()):.2g} "
            "apart): what it changed beside weights and configuration (hooks, modules, buffers) is not stored"
        )


def store_model(work: Work, model: Any, **facts: Any) -> None:
    """Write the step's checkpoint and note its parameter counts; ValueError when a weight is not finite."""
    from harness.models import checkpoint
    from harness.models.anatomy import parameter_count
    from harness.models.size import nonzero_count

    asked = checkpoint.dtype(work.checkpoint())
    for name, weight in model.named_parameters():
        given = str(weight.dtype).removeprefix("torch.")
        if weight.is_floating_point() and asked and given != asked and not facts.get("emulated"):
            raise ValueError(
                f"the result is in {given}, and the run in {asked} ({name}): sizes and speeds would not compare; leave it in "
                f"{asked}, or run everything with dtype={given}"
            )
        if not weight.isfinite().all():
            raise ValueError(f"the result has weights that are not finite: {name}")
    checkpoint.save(model.to("cpu"), work.draft / CHECKPOINT, work.checkpoint())
    work.result |= {"parameters": parameter_count(model), "nonzero_parameters": nonzero_count(model), **facts}
