"""The step that puts a quantizer on top of any result."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import SerializeAsAny

from harness.spec import CHECKPOINT, CalibrationSpec, Cost, Quantizer, Step, Work


class Quantize(Step):
    """Quantize the checkpoint; a calibrated quantizer looks at the same windows as every method."""

    KIND = "quantize"
    LATER: ClassVar[frozenset[str]] = frozenset({"calibration", "seed"})
    quantizer: SerializeAsAny[Quantizer]
    calibration: CalibrationSpec | None = None
    seed: int = 0

    @classmethod
    def of_run(cls, quantizer: Quantizer, calibration: CalibrationSpec, seed: int) -> Quantize:
        """Return the step, which has calibration and seed only where the quantizer looks at them."""
        looks: dict[str, Any] = {"calibration": calibration, "seed": seed} if quantizer.CALIBRATED else {}
        return cls(quantizer=quantizer, **looks)

    def title(self) -> str:
        return f"quantize {self.quantizer.NAME}"

    def cost(self) -> Cost:
        if self.calibration is None:
            return Cost(seconds=4)
        return Cost(forward_tokens=3 * self.calibration.tokens, seconds=60)

    def checkpoint_share(self) -> float:
        return self.quantizer.SHARE

    def run(self, work: Work) -> None:
        from harness.models import checkpoint

        source = work.checkpoint()
        if library := checkpoint.quantization(source):
            raise ValueError(
                f"the recipe quantized this model already ({library}); {self.quantizer.NAME} cannot go on top"
            )
        work.result |= self._written(work, source)

    def _written(self, work: Work, source: Path) -> dict[str, Any]:
        """Write the quantized checkpoint, and return what is to be known of it."""
        from harness.models.anatomy import parameter_count
        from harness.models.size import nonzero_count

        target = work.draft / CHECKPOINT
        if self.calibration is None:
            model = self.quantizer.apply(source, target)
            return {"parameters": parameter_count(model), "nonzero_parameters": nonzero_count(model)}
        import torch

        from harness.data.calibration import draw
        from harness.models import checkpoint

        calibration = draw(self.calibration, checkpoint.load_tokenizer(source))
        torch.manual_seed(self.seed)
        facts = self.quantizer.calibrate(source, target, calibration.tokens, work.device)
        return facts | {"calibration_tokens": calibration.count}
