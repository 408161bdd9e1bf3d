"""Inheritune: keep the first layers of the large model and train them on."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.spec import BUDGET, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class Inheritune(Method):
    """Inherit the embedding, the first k layers, the final norm and the head.

    After Sanyal et al., arXiv 2404.08634.

    Only the first half of the paper's recipe: what is inherited is a start for training, not a finished model, so write
    `inheritune+recover(tokens=...)`. k is what the budget leaves; with `exact` the last of the layers kept is trimmed as
    `shortgpt` trims one (that alone looks at calibration text), `exact=False` is the paper's version, whole layers only.
    """

    NAME = "inheritune"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2404.08634"
    budget: float = BUDGET
    exact: bool = Field(
        True, description="trim one more layer to meet the budget; false: whole layers only, as published"
    )

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.models.anatomy import layers
        from harness.pruning.depth import drop
        from harness.pruning.importance import measure

        return drop(
            model,
            list(reversed(range(len(layers(model))))),
            self.budget,
            exact=self.exact,
            channel_scores=lambda index: measure(model, calibration.tokens).channels[index],
            what=self.NAME,
        )
