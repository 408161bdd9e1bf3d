"""Recovery: train on after another method, as papers do behind their pruning (`shortgpt+recover`)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from harness.recovery.recover_step import Recover as RecoverStep
from harness.recovery.tuning import TuningSettings
from harness.spec import Method, Setup, Step

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    # The settings of arXiv 2305.11627 and its code; not its protocol: two epochs of Alpaca there, one example a row, 100
    # steps of warm-up, the checkpoint of least validation loss; here `tokens` of packed rows, warmed up for a tenth
    "llm_pruner": {
        "adapter": "lora",
        "lora_rank": 8,
        "lora_alpha": 16,
        "lora_dropout": 0.05,
        "learning_rate": 1e-4,
        "batch": 64,
        "length": 256,
    },
}


class Recover(TuningSettings, Method):
    """Fine-tune what the recipe has made so far, for `tokens` tokens.

    Alone in a recipe it fine-tunes the dense model.

    `distill` is the weight of KL to the dense model, the rest is cross-entropy on responses. A preset gives the fields that
    neither the user nor the profile sets the values of its paper.
    """

    NAME = "recover"
    NEEDS: ClassVar[frozenset[str]] = frozenset({"training"})
    preset: Literal["none", "llm_pruner"] = Field(
        "none",
        description="a paper's values for the fields that neither you nor the profile sets: llm_pruner is arXiv 2305.11627's",
    )

    @model_validator(mode="before")
    @classmethod
    def _preset_below_what_is_written(cls, fields: Any) -> Any:
        return {**PRESETS.get(fields.get("preset", "none"), {}), **fields} if isinstance(fields, dict) else fields

    @model_validator(mode="after")
    def _no_more_experts_than_there_are(self) -> Recover:
        if self.top_k > self.experts:
            raise ValueError(f"top_k must be at most experts={self.experts}, not {self.top_k}")
        return self

    @model_validator(mode="after")
    def _one_batch_at_least(self) -> Recover:
        if self.tokens < self.batch * self.length:
            raise ValueError(
                f"tokens={self.tokens} is less than one batch of {self.batch} * {self.length} = {self.batch * self.length}"
            )
        return self

    def stages(self, setup: Setup) -> tuple[Step, ...]:
        return (RecoverStep(training=setup.training, seed=setup.seed, **self.part(TuningSettings)),)
