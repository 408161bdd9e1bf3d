"""The step that makes a compressed model better by training: all weights or LoRA, on labels, a dense teacher, or both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from harness.spec import Cost, DataSource, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from harness.recovery.loop import Update

Adapter = Literal["full", "lora"]
Linear = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LINEARS: tuple[Linear, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Recover(Step):
    """Fine-tune the parent's checkpoint; embeddings, final norm and head stay frozen, zeros of a sparse model stay zero.

    `tokens` counts what has a backward pass, prompts included, rounded down to whole batches. The loss per response token is
    (1 - distill) * cross-entropy + distill * KL to the model that the recipe began with.
    """

    KIND = "recover"
    training: DataSource
    tokens: Annotated[int, Field(gt=0)]
    batch: Annotated[int, Field(gt=0)] = 4
    length: Annotated[int, Field(gt=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 3e-5
    adapter: Adapter = "full"
    lora_rank: Annotated[int, Field(gt=0)] = 8
    lora_alpha: Annotated[float, Field(gt=0)] = 16
    lora_targets: Annotated[tuple[Linear, ...], Field(min_length=1)] = LINEARS
    distill: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.tokens // (self.batch * self.length)

    def title(self) -> str:
        return f"recovery, {self.steps} steps"

    def cost(self) -> Cost:
        trained = self.steps * self.batch * self.length
        return Cost(forward_tokens=trained if self.distill else 0, backward_tokens=trained, seconds=8)

    def run(self, work: Work) -> None:
        from harness.compress import store_model
        from harness.data.calibration import training_rows
        from harness.models import checkpoint

        source = work.checkpoint()
        tokenizer = checkpoint.load_tokenizer(source)
        data = training_rows(self.training, tokenizer, length=self.length, seed=self.seed)
        model = checkpoint.load(source, work.device)
        dtype = next(model.parameters()).dtype
        teacher = checkpoint.load(work.origin(), work.device) if self.distill else None
        curve = self.train(model, data, teacher, work)
        (work.draft / "losses.json").write_text(json.dumps(curve))
        trained = curve[-1][1] if curve else 0
        facts = {"training_tokens": trained, "teacher_tokens": trained if teacher is not None else 0}
        store_model(work, model.to(dtype), **facts)  # tokens of this step alone: reports add up the chain

    def train(self, model: Any, data: Tensor, teacher: Any, work: Work) -> list[Any]:
        """Train `model` in place, in float32, and return the curve; LoRA is merged."""
        from harness.pruning.anatomy import layers
        from harness.recovery.adapters import add_lora, merge_lora
        from harness.recovery.loop import train
        from harness.recovery.masks import zero_masks

        masks = zero_masks(layers(model))
        if masks and self.adapter == "lora":
            raise ValueError(
                "adapter=lora would fill the zeros of a sparse model when it is merged; use adapter=full, which keeps them"
            )
        model.float().requires_grad_(False)
        weights = dict(layers(model).named_parameters())
        if self.adapter == "lora":
            weights = add_lora(
                model, rank=self.lora_rank, alpha=self.lora_alpha, targets=self.lora_targets, seed=self.seed
            )

        curve = train(
            weights,
            lambda _, ids, labels: self._update(model, teacher, ids, labels),
            data,
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=self.seed,
            scratch=work.scratch,
            device=model.device,
            masks=masks,
        )
        if self.adapter == "lora":
            merge_lora(model)
        return curve

    def _update(self, model: Any, teacher: Any, ids: Tensor, labels: Tensor) -> Update:
        from harness.recovery.loop import Update
        from harness.recovery.objective import loss, parts, response_logits, teach

        total = 0.0
        for part, wanted, scale in parts(ids, labels):
            taught = None if teacher is None else teach(teacher, part, wanted)
            logits, targets = response_logits(model, part, wanted)
            value = loss(logits, targets, taught, self.distill) * scale
            value.backward()
            total += float(value.detach())
        return Update(total, ids.numel(), self.adapter)
