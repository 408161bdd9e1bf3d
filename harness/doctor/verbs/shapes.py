"""`harness doctor shapes`: size and speed of a super-network's members.

At a published geometry, with random weights.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from harness.command.verb import DONE, INTERRUPTED, Verb
from harness.command.words import FORMAT_MEANS, Format, whole


class Shapes(Verb):
    """Time a super-network's members in turn with the whole, at a published geometry, with random weights.

    An interrupt prints the rounds that are done.
    """

    NAME: ClassVar[str] = "doctor shapes"
    geometry: str = Field("llama-2-7b", description="a published model's shape")
    samples: whole() = Field(1, description="members that are drawn beside the corners of the space")  # type: ignore[valid-type]
    prompt: whole() = Field(128, description="tokens of the prompt")  # type: ignore[valid-type]
    generate: whole() = Field(8, description="tokens that are generated")  # type: ignore[valid-type]
    rounds: whole() = Field(5, description="how often each is timed")  # type: ignore[valid-type]
    dtype: Literal["bfloat16", "float32", "float16"] = Field("bfloat16", description="of the weights")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    seed: whole(0) = Field(0, description="of weights and members")  # type: ignore[valid-type]
    format: Format = Field("table", description=FORMAT_MEANS)

    def __call__(self) -> int:
        from harness.doctor.geometries import GEOMETRIES
        from harness.doctor.shape_timing import time_shapes
        from harness.words.nearest import one_of

        geometry = one_of(self.geometry, list(GEOMETRIES), what="geometry")
        numbers = {name: getattr(self, name) for name in ("samples", "prompt", "generate", "rounds")}
        whole_run = time_shapes(
            geometry, numbers=numbers, dtype=self.dtype, device=self.device, seed=self.seed, form=self.format
        )
        return DONE if whole_run else INTERRUPTED
