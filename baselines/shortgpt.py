"""ShortGPT: drop the layers that change their input least."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from harness.spec import BUDGET, Method

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from harness.data.calibration import Calibration


class ShortGPT(Method):
    """Remove layers in the order of their block influence until the budget is met.

    After Men et al., arXiv 2403.03853.

    Whole layers rarely meet a budget within half a percent. With `exact` (the default, so that all methods compare at equal
    size) the next layer in the order loses a part: MLP channels, least important first, and key-value groups where those do not
    suffice; `exact=False` is the paper's version: whole layers only, the count that comes nearest to the budget.
    """

    NAME = "shortgpt"
    VERSION: ClassVar[int] = 2
    NEEDS: ClassVar[frozenset[str]] = frozenset({"calibration"})
    SOURCE: ClassVar[str] = "arXiv 2403.03853"
    budget: float = BUDGET
    exact: bool = Field(
        True, description="trim one more layer to meet the budget; false: whole layers only, as published"
    )

    def compress(self, model: PreTrainedModel, calibration: Calibration) -> PreTrainedModel:
        from harness.pruning.depth import drop
        from harness.pruning.importance import measure

        importance = measure(model, calibration.tokens)
        return drop(
            model,
            importance.influence.argsort(stable=True).tolist(),
            self.budget,
            exact=self.exact,
            channel_scores=importance.channels.__getitem__,
            what=self.NAME,
        )
