"""The step that turns a model into a super-network.

Sort by importance, then fine-tune full and sub-networks.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from harness.compress import store_model
from harness.nas.axes import Hidden
from harness.nas.settings import TrainingSettings
from harness.nas.space import Space
from harness.nas.spaces import axes
from harness.nas.strategies import PASSES, teacher_passes, trained_passes
from harness.recovery.kinds import LINEARS
from harness.spec import CalibrationSpec, Cost, DataSource, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from harness.nas.space import Space

LORA_RANK = 8
LORA_ALPHA = 16


class Supernet(TrainingSettings, Step):
    """Train the whole network and sub-networks of it on instruction data.

    So one set of weights serves them all.

    `strategy`: what a step updates.
      alternate  the whole network, then one sub-network spread evenly over sizes, in turn (LLaMA-NAS, arXiv 2405.18377)
      instatune  one sub-network with uniformly random genes (InstaTune)
      sandwich   the whole, the smallest and two sub-networks spread evenly over sizes, gradients averaged
      random     one sub-network spread evenly over sizes, never distilled
      standard   the whole network only
    The whole network learns by cross-entropy on response tokens; sub-networks by (1 - distill) * cross-entropy + distill *
    KL to the teacher, 0.3 and 0.7 in InstaTune. distill=0 turns distillation off for every strategy. `teacher`: "inplace" is
    the whole network as it is, "dense" a frozen copy of the model before training. `tokens` counts every backward pass (a
    sandwich step has four), prompts included, rounded down to whole steps; 0 trains nothing. Embeddings, final norm and head
    stay frozen; "lora" trains factors of rank 8 on the seven linears, sliced like them and merged at the end.
    """

    KIND = "supernet"
    SHARED: ClassVar[bool] = True
    # 2: spaces, strategies, teachers, LoRA; what a step leaves out does not drift; 3: passes in the run's dtype
    VERSION: ClassVar[int] = 3
    calibration: CalibrationSpec
    training: DataSource
    tokens: Annotated[int, Field(ge=0)]
    seed: int = 0

    @model_validator(mode="after")
    def _nothing_or_one_step_at_least(self) -> Supernet:
        if 0 < self.tokens < self.step_tokens:
            raise ValueError(f"tokens={self.tokens} is less than one step of {self.step_tokens}; 0 trains nothing")
        return self

    @property
    def step_tokens(self) -> int:
        """Tokens of a step that have a backward pass."""
        return self.batch * self.length * trained_passes(self.strategy)

    @property
    def steps(self) -> int:
        return self.tokens // self.step_tokens

    @property
    def teacher_tokens(self) -> int:
        """Tokens through a teacher alone, in forward passes without gradients."""
        turn = [
            teacher_passes(self.strategy, self.teacher, self.distill, step)
            for step in range(len(PASSES[self.strategy]))
        ]
        whole, rest = divmod(self.steps, len(turn))
        return (whole * sum(turn) + sum(turn[:rest])) * self.batch * self.length

    @property
    def _needs_dense(self) -> bool:
        return self.teacher == "dense" and self.teacher_tokens > 0

    def title(self) -> str:
        return f"super-network, {self.steps} steps"

    def cost(self) -> Cost:
        forward = self.calibration.tokens + self.teacher_tokens
        return Cost(forward_tokens=forward, backward_tokens=self.steps * self.step_tokens, seconds=8)

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
        import torch

        from harness.data.calibration import draw, training_rows
        from harness.models import checkpoint
        from harness.nas.ranking import sort_parts
        from harness.nas.supernet import body
        from harness.pruning.importance import measure

        source = work.checkpoint()
        model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
        dtype = next(model.parameters()).dtype
        calibration = draw(self.calibration, tokenizer)
        importance = measure(model, calibration.tokens)
        varied = axes(self.space)
        if self.order == "ranked":
            sort_parts(model, importance, stream=any(isinstance(axis, Hidden) for axis in varied))
            inner = importance.influence[1:-1].argsort(stable=True) + 1  # first and last layer are never dropped
        else:
            inner = torch.arange(len(importance.influence) - 2, 0, -1)  # keep the first layers
        space = Space(body(model, inner.tolist()), varied, lowest=self.lowest)
        losses: list[Any] = []
        if self.steps:
            data = training_rows(self.training, tokenizer, length=self.length, seed=self.seed)
            dense = checkpoint.load(work.origin(), work.device) if self._needs_dense else None
            losses = self.train(model, data, space, dense, work.scratch)
        (work.draft / "order.json").write_text(
            json.dumps({"order": space.body.order, "influence": importance.influence.tolist()})
        )
        (work.draft / "losses.json").write_text(json.dumps(losses))
        facts = {"training_tokens": losses[-1][1] if losses else 0, "teacher_tokens": self.teacher_tokens}
        store_model(work, model.to(dtype), calibration_tokens=calibration.count, **facts)

    def train(self, model: Any, data: Tensor, space: Space, dense: Any, scratch: Path) -> list[Any]:
        """Train `model` in place, in float32, and return the curve.

        `dense` is the teacher that `teacher` may ask for.
        """
        from harness.models.anatomy import layers
        from harness.nas.strategist import Strategist
        from harness.nas.supernet import Elastic
        from harness.recovery.adapters import add_lora, merge_lora
        from harness.recovery.loop import train

        model.float().requires_grad_(False)
        weights = dict(layers(model).named_parameters())
        if self.adapter == "lora":
            weights = add_lora(model, rank=LORA_RANK, alpha=LORA_ALPHA, targets=LINEARS, seed=self.seed)
        with Elastic(model) as elastic:
            strategist = Strategist(model, elastic, space, self.strategy, self.distill, self.seed, dense)
            curve = train(
                weights,
                strategist.update,
                data,
                steps=self.steps,
                batch=self.batch,
                learning_rate=self.learning_rate,
                seed=self.seed,
                scratch=scratch,
                device=model.device,
            )
        if self.adapter == "lora":
            merge_lora(model)
        return curve
