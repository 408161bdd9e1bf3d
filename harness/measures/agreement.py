"""The step that compares a runtime's predictions with torch's of the same weights.

On text of whole windows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from harness import progress
from harness.measures.measure import Measure
from harness.quantities import Column, Quantity
from harness.spec import CalibrationSpec, Cost, Work

if TYPE_CHECKING:
    import numpy as np


class Agreement(Measure):
    """How far a runtime's arithmetic is from torch's on the weights that its artifact holds.

    Scores of a row in a runtime are computed in torch from these weights: this says how well they stand for the runtime's own.
    Measured for every row of a runtime beside torch, on `windows` drawn from the calibration text by a seed of their own.
    """

    NAME = KIND = "agreement"
    IN_RUNTIMES: ClassVar[bool] = True
    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            *("runtime_kl", "KL in runtime", "nats", "lower", "significant"),
            column=Column(101, 0.4),
            meaning="KL divergence of the runtime's predictions from torch's with the same weights, mean over tokens",
        ),
        Quantity(
            *("same_first", "same first", "%", "higher", "percent", 100.0),
            column=Column(102, 0.3),
            meaning="tokens whose most likely successor is the same in the runtime and in torch, with the same weights",
        ),
        Quantity(
            *("perplexity_drift", "perplexity drift", "%", "lower", "percent", 100.0),
            column=Column(103, 0.2),
            meaning="by how much the runtime's perplexity of these windows is off that of torch with the same weights",
        ),
    )
    runtime: str
    library: str
    windows: CalibrationSpec

    def cost(self) -> Cost:
        return Cost(forward_tokens=4 * self.windows.tokens, seconds=5)

    def longest(self) -> tuple[str, int]:
        return "windows of the comparison with torch", self.windows.length

    @classmethod
    def row(cls, result: Mapping[str, Any]) -> dict[str, Any]:
        return {each.key: result[each.key] for each in cls.QUANTITIES} | {
            name: result[name] for name in ("perplexity_of_runtime", "perplexity_of_torch")
        }

    def run(self, work: Work) -> None:
        import torch

        from harness.data.calibration import draw
        from harness.machine.environment import threads
        from harness.models import checkpoint
        from harness.runtimes.all_runtimes import runtime

        kind, source = runtime(self.runtime), work.checkpoint()
        texts = draw(self.windows, checkpoint.load_tokenizer(source)).tokens
        engine = kind.engine(work.artifact(), threads=threads(), batch=1, tokens=self.windows.length)
        model = kind.restored(work.artifact(), checkpoint.load(source, work.device))
        sums = []
        for ids in progress.track(list(texts), "windows"):
            with torch.inference_mode():
                ours = model(input_ids=ids[None].to(model.device), use_cache=False).logits[0].float().cpu().numpy()
            sums.append(compared(ours, engine.logits(ids.tolist()), ids.numpy()))
        engine.close()
        total = [sum(each) for each in zip(*sums, strict=True)]
        tokens, predicted = texts.numel(), texts.shape[0] * (texts.shape[1] - 1)
        here, there = math.exp(total[2] / predicted), math.exp(total[3] / predicted)
        work.result |= {
            "runtime_kl": total[0] / tokens,
            "same_first": total[1] / tokens,
            "perplexity_drift": abs(there / here - 1),
            "perplexity_of_torch": here,
            "perplexity_of_runtime": there,
            "tokens": tokens,
        }


def compared(ours: np.ndarray, theirs: np.ndarray, ids: np.ndarray) -> tuple[float, float, float, float]:
    """Return sums over tokens: KL(ours || theirs), equal first choices, and both losses, nats.

    Losses are on the next token.

    Logits are (tokens, vocabulary); the last token has no next one.
    """
    import numpy as np

    mine, other = (_log_softmax(each) for each in (ours, theirs))
    kl = float((np.exp(mine) * (mine - other)).sum())
    same = float((ours.argmax(-1) == theirs.argmax(-1)).sum())
    where = np.arange(len(ids) - 1)
    return kl, same, float(-mine[where, ids[1:]].sum()), float(-other[where, ids[1:]].sum())


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    shifted = logits.astype(np.float64) - logits.max(-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
