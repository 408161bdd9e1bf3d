"""The step that turns a model into a super-network: sort by importance, then fine-tune full and sub-networks in turn."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.spec import CalibrationSpec, Cost, DataSource, Step, Work

if TYPE_CHECKING:
    from torch import Tensor

    from harness.nas.space import Space

SAVE_SECONDS = 60  # a kill costs this much training at most
WARM_SHARE = 0.1


class Supernet(Step):
    """Alternate updates of the whole network and of sampled sub-networks on instruction data (LLaMA-NAS, arXiv 2405.18377).

    Even steps: the full network, cross-entropy on response tokens. Odd steps: one sub-network, drawn evenly over parameter
    counts, `hard` * cross-entropy + (1 - hard) * KL to the full network (InstaTune). Embeddings and head stay frozen.
    """

    KIND = "supernet"
    calibration: CalibrationSpec
    training: DataSource
    steps: int
    batch: int = 4
    length: int = 256
    learning_rate: float = 3e-5
    hard: float = 0.3
    order: Literal["ranked", "prefix"] = "ranked"
    seed: int = 0

    def title(self) -> str:
        return f"super-network, {self.steps} steps"

    @property
    def tokens(self) -> int:
        return self.steps * self.batch * self.length

    def cost(self) -> Cost:
        return Cost(forward_tokens=self.calibration.tokens + self.tokens / 2, backward_tokens=self.tokens, seconds=8)

    def run(self, work: Work) -> None:
        import torch

        from harness.compress import store_model
        from harness.data.calibration import draw, training_rows
        from harness.models import checkpoint
        from harness.nas.space import Space
        from harness.nas.supernet import sort_channels
        from harness.pruning.anatomy import layer_shapes, outside_parameters
        from harness.pruning.importance import measure

        source = work.checkpoint()
        model, tokenizer = checkpoint.load(source, work.device), checkpoint.load_tokenizer(source)
        dtype = next(model.parameters()).dtype
        calibration = draw(self.calibration, tokenizer)
        importance = measure(model, calibration.tokens)
        if self.order == "ranked":
            sort_channels(model, importance.channels)
            inner = importance.influence[1:-1].argsort(stable=True) + 1  # first and last layer are never dropped
        else:
            inner = torch.arange(len(importance.influence) - 2, 0, -1)  # keep the first layers
        space = Space(tuple(layer_shapes(model)), tuple(inner.tolist()), outside_parameters(model))
        data = training_rows(self.training, tokenizer, length=self.length, seed=self.seed) if self.steps else None
        losses = list(self._train(model, data, space, work.scratch)) if data is not None else []
        (work.draft / "order.json").write_text(
            json.dumps({"order": space.order, "influence": importance.influence.tolist()})
        )
        (work.draft / "losses.json").write_text(json.dumps(losses))
        store_model(work, model.to(dtype), calibration_tokens=calibration.count, training_tokens=self.tokens)

    def _train(self, model: Any, data: Tensor, space: Space, scratch: Path) -> Iterator[list[float]]:
        import numpy as np
        import torch

        from harness import progress
        from harness.data.calibration import batches
        from harness.nas.space import stratified
        from harness.nas.supernet import Elastic
        from harness.pruning.anatomy import layers

        model.float().requires_grad_(False)
        weights = dict(layers(model).named_parameters())
        for weight in weights.values():
            weight.requires_grad_(True)
        optimizer = torch.optim.AdamW(weights.values(), lr=self.learning_rate, weight_decay=0.0)
        subs = stratified(space, self.steps, np.random.default_rng(self.seed))
        np.random.default_rng(self.seed).shuffle(subs)
        losses = resume(scratch, weights, optimizer)
        saved = time.monotonic()
        with Elastic(model) as elastic:
            for step, (ids, labels) in enumerate(batches(data, size=self.batch, steps=self.steps, seed=self.seed)):
                if step < len(losses):
                    continue
                for group in optimizer.param_groups:
                    group["lr"] = self.learning_rate * schedule(step, self.steps)
                small = space.decode(subs[step]) if step % 2 else None
                losses.append(
                    [step, self._update(model, elastic, space, small, ids.to(model.device), labels.to(model.device))]
                )
                torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                if not np.isfinite(losses[-1][1]):
                    raise ValueError(f"training diverged: the loss of step {step} is {losses[-1][1]}")
                progress.report((step + 1) / self.steps, f"training {step + 1}/{self.steps}, loss {losses[-1][1]:.3f}")
                if time.monotonic() - saved > SAVE_SECONDS:
                    save(scratch, weights, optimizer, losses)
                    saved = time.monotonic()
        model.requires_grad_(False)
        return iter(losses)

    def _update(self, model: Any, elastic: Any, space: Space, small: Any, ids: Tensor, labels: Tensor) -> float:
        """Accumulate the gradients of one step and return its loss in nats per response token."""
        import torch
        from torch.nn import functional

        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            elastic.activate(space.full())
            if small is None:
                logits, wanted = response_logits(model, ids, labels)
                loss = functional.cross_entropy(logits, wanted)
            else:
                with torch.no_grad():
                    teacher, _ = response_logits(model, ids, labels)
                elastic.activate(small)
                logits, wanted = response_logits(model, ids, labels)
                hard = functional.cross_entropy(logits, wanted)
                soft = functional.kl_div(
                    logits.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean"
                )
                loss = self.hard * hard + (1 - self.hard) * soft
        loss.backward()
        return float(loss.detach())


def response_logits(model: Any, ids: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return (logits (tokens, vocabulary) float32, targets (tokens,)) where a response token is predicted, head nowhere else."""
    from harness.data.calibration import IGNORED

    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
    wanted = labels[:, 1:]
    kept = wanted != IGNORED
    return model.get_output_embeddings()(hidden[kept]).float(), wanted[kept]


def schedule(step: int, steps: int) -> float:
    """Return the learning rate's factor: linear warm-up, then linear decay to a tenth."""
    warm = max(1, int(steps * WARM_SHARE))
    return (step + 1) / warm if step < warm else 1 - 0.9 * (step - warm) / max(1, steps - warm)


def save(scratch: Path, weights: dict[str, Tensor], optimizer: Any, losses: list[list[float]]) -> None:
    """Keep weights, optimizer moments and losses, replacing the last state in one rename."""
    from safetensors.torch import save_file

    tensors: dict[str, Tensor] = {}
    for name, weight in weights.items():
        state = optimizer.state[weight]
        tensors |= {f"weight:{name}": weight.detach().contiguous()}
        if state:
            tensors |= {f"{part}:{name}": state[part].contiguous() for part in ("exp_avg", "exp_avg_sq")}
            tensors[f"step:{name}"] = state["step"].reshape(1)
    draft = scratch / "training.draft"
    save_file(tensors, draft, metadata={"losses": json.dumps(losses)})
    draft.replace(scratch / "training.safetensors")


def resume(scratch: Path, weights: dict[str, Tensor], optimizer: Any) -> list[list[float]]:
    """Load the state that `save` kept into weights and optimizer; return the losses so far, empty at a fresh start."""
    import torch
    from safetensors import safe_open

    path = scratch / "training.safetensors"
    if not path.is_file():
        return []
    with safe_open(path, "pt") as kept, torch.no_grad():
        names = set(kept.keys())
        for name, weight in weights.items():
            weight.copy_(kept.get_tensor(f"weight:{name}"))
            if f"exp_avg:{name}" in names:
                moments = {
                    part: kept.get_tensor(f"{part}:{name}").to(weight.device) for part in ("exp_avg", "exp_avg_sq")
                }
                optimizer.state[weight] = {"step": kept.get_tensor(f"step:{name}").reshape(()), **moments}
        return list(json.loads(kept.metadata()["losses"]))
