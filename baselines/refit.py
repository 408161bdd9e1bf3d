"""Refit: least squares after structured pruning.

So what stayed says what the dense model said (`shortgpt+refit`).
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from harness.recovery.refit_step import Refit as RefitStep
from harness.recovery.refit_step import Target
from harness.spec import Method, Setup, Step


class Refit(Method):
    """Correct each kept o_proj and down_proj on calibration text.

    training-free, and no parameter more or less.
    """

    NAME = "refit"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    target: Target = Field(
        "stream", description="what is matched: the dense projection's output, or the residual stream behind it"
    )
    damp: float = Field(
        1.0, gt=0, description="pull towards the present weights, relative to the mean square of the inputs"
    )

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        return (RefitStep(calibration=setup.calibration, target=self.target, damp=self.damp),)
