"""The step that makes a compressed model better by training.

All weights or LoRA, on labels, a dense teacher, or both.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from harness.compress import store_model
from harness.recovery.tuning import TuningSettings
from harness.spec import Cost, DataSource, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from harness.recovery.adapting import Adapted
    from harness.recovery.loop import Update

PROBES = 8  # batches


class Recover(TuningSettings, Step):
    """Fine-tune the parent's checkpoint.

    Embeddings, final norm and head stay frozen, zeros of a sparse model stay zero.

    LoRA is stock peft's; on a sparse model its product counts only where weights are not zero, and nothing is dropped.
    "mixlora" trains `experts` LoRAs of each MLP of which `top_k` see a token, kept busy alike by `balance` times their
    imbalance, 1 when uniform, the mean over layers (arXiv 2404.15159); the checkpoint gets them merged in the shares that
    the training data gave them, which is not the same function: `merge_loss` in the result tells the loss on some batches
    before and after.

    `tokens` counts what has a backward pass, prompts included, rounded down to whole batches. The loss per response token is
    (1 - distill) * cross-entropy + distill * KL to the model that the recipe began with.
    """

    KIND = "recover"
    VERSION: ClassVar[int] = 2  # 2: passes in the run's dtype
    LATER: ClassVar[frozenset[str]] = frozenset({"lora_dropout", "experts", "top_k", "balance"})
    training: DataSource
    seed: int = 0

    @property
    def steps(self) -> int:
        return self.tokens // (self.batch * self.length)

    def title(self) -> str:
        return f"recovery, {self.steps} steps"

    def cost(self) -> Cost:
        trained = self.steps * self.batch * self.length
        return Cost(forward_tokens=trained if self.distill else 0, backward_tokens=trained, seconds=8)

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
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
        from harness.models.anatomy import layers
        from harness.models.zeros import zero_masks
        from harness.recovery.adapting import LoRA, adapt
        from harness.recovery.loop import train

        masks = zero_masks(layers(model))
        model.float().requires_grad_(False)
        lora = LoRA(
            rank=self.lora_rank,
            alpha=self.lora_alpha,
            targets=self.lora_targets,
            dropout=self.lora_dropout,
            experts=self.experts,
            top_k=self.top_k,
            seed=self.seed,
        )
        adapted = adapt(model, self.adapter, lora, masks)
        curve = train(
            adapted.weights,
            lambda step, ids, labels: self._update(model, teacher, adapted, step, ids, labels),
            data,
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            seed=self.seed,
            scratch=work.scratch,
            device=model.device,
            masks=masks if self.adapter == "full" else {},
        )
        probes = [(ids.to(model.device), labels.to(model.device)) for ids, labels in self._probes(data)]
        before = self._loss(model, probes)
        adapted.merge([ids for ids, _ in probes])
        if probes:
            work.result["merge_loss"] = [before, self._loss(model, probes)]
        return curve

    def _probes(self, data: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches that a mixture is merged on, the first of the training.

        None where merging is exact.
        """
        from harness.data.calibration import batches

        steps = min(self.steps, PROBES) if self.adapter == "mixlora" else 0
        return batches(data, size=self.batch, steps=steps, seed=self.seed)

    def _loss(self, model: Any, probes: list[tuple[Tensor, Tensor]]) -> float | None:
        """Return the mean over batches of the cross-entropy of response tokens, in nats."""
        import torch

        from harness.recovery.objective import loss, parts, response_logits

        with torch.no_grad():
            losses = [
                float(loss(*response_logits(model, part, wanted), None, 0.0) * scale)
                for ids, labels in probes
                for part, wanted, scale in parts(ids, labels)
            ]
        return sum(losses) / len(probes) if probes else None

    def _update(self, model: Any, teacher: Any, adapted: Adapted, step: int, ids: Tensor, labels: Tensor) -> Update:
        import torch

        from harness.recovery.loop import Update
        from harness.recovery.objective import loss, parts, response_logits, teach

        total = 0.0
        model.train(self.lora_dropout > 0)
        with torch.random.fork_rng(enabled=self.lora_dropout > 0):
            if self.lora_dropout:
                torch.manual_seed(self.seed + step)  # a resumed training drops what an unbroken one drops
            for part, wanted, scale in parts(ids, labels):
                taught = None if teacher is None else teach(teacher, part, wanted)
                logits, targets = response_logits(model, part, wanted)
                value = loss(logits, targets, taught, self.distill) * scale
                penalty = self.balance * len(part) / len(ids) * adapted.penalty()
                (value + penalty).backward()
                total += float(value.detach())
        model.eval()
        return Update(total, ids.numel(), self.adapter)
