"""The step that puts a quantizer on top of any result."""

from __future__ import annotations

from pydantic import SerializeAsAny

from harness.spec import CHECKPOINT, Cost, Quantizer, Step, Work


class Quantize(Step):
    KIND = "quantize"
    quantizer: SerializeAsAny[Quantizer]

    def title(self) -> str:
        return f"quantize {self.quantizer.NAME}"

    def cost(self) -> Cost:
        return Cost(seconds=4)

    def checkpoint_share(self) -> float:
        return self.quantizer.SHARE

    def run(self, work: Work) -> None:
        from harness.models import checkpoint
        from harness.models.anatomy import parameter_count
        from harness.models.size import nonzero_count

        source = work.checkpoint()
        if library := checkpoint.quantization(source):
            raise ValueError(
                f"the recipe quantized this model already ({library}); {self.quantizer.NAME} cannot go on top"
            )
        model = self.quantizer.apply(source, work.draft / CHECKPOINT)
        work.result |= {"parameters": parameter_count(model), "nonzero_parameters": nonzero_count(model)}
