"""The steps that turn a checkpoint into what a runtime loads.

First in its own dtype, and from that in fewer bits.
"""

from __future__ import annotations

from harness import registry
from harness.runtimes.all_runtimes import runtime
from harness.spec import ARTIFACT, Cost, Step, Work


class Convert(Step):
    """Write the checkpoint as the runtime's artifact, every number as it is."""

    KIND = "convert"
    VERSION = 1
    runtime: str

    def title(self) -> str:
        return f"convert for {self.runtime}"

    def cost(self) -> Cost:
        return Cost(seconds=6)

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
        from harness.models import checkpoint
        from harness.models.anatomy import parameter_count
        from harness.models.size import nonzero_count

        kind, source = runtime(self.runtime), work.checkpoint()
        model = checkpoint.load(source)
        kind.convert(model, checkpoint.load_tokenizer(source), work.draft / ARTIFACT)
        counts = {"parameters": parameter_count(model), "nonzero_parameters": nonzero_count(model)}
        work.result |= counts | {"bytes": kind.size(work.draft / ARTIFACT)}


class Requantize(Step):
    """Write the runtime's artifact in a quantizer's types.

    The runtime's own quantizer does it, of version `library`.
    """

    KIND = "requantize"
    runtime: str
    form: str
    library: str

    def title(self) -> str:
        return f"quantize {self.form} in {self.runtime}"

    def cost(self) -> Cost:
        return Cost(seconds=4)

    def checkpoint_share(self) -> float:
        return registry.quantizers()[self.form].SHARE

    def run(self, work: Work) -> None:
        kind = runtime(self.runtime)
        kind.quantize(work.artifact(), work.draft / ARTIFACT, self.form)
        made = work.store.result(work.ancestors[0])
        work.result |= made | {"bytes": kind.size(work.draft / ARTIFACT)}
