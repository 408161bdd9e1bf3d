"""What every export format says of itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


class Held(NamedTuple):
    """Where the store holds a variant: its checkpoint, and of another runtime than torch its artifact."""

    checkpoint: Path
    artifact: Path | None


class Export:
    """A format. A file of this room with one is a format: `harness export VARIANT format=NAME`."""

    NAME: ClassVar[str]
    TOLERANCE: ClassVar[float] = 0.0  # of the largest logit, by which what is written may be off what is stored

    @classmethod
    def unavailable(cls) -> str:
        """Return why it cannot be written here and what to do; empty where it can."""
        return ""

    @classmethod
    def write(cls, held: Held, target: Path) -> str:
        """Write the variant into the folder `target`, and return in a few words how its layers are stored."""
        raise NotImplementedError(f"{cls.__name__} must implement write")

    @classmethod
    def logits(cls, target: Path, ids: Sequence[int]) -> np.ndarray:
        """Return the logits (tokens, vocabulary) of what was written, loaded as its user would."""
        raise NotImplementedError(f"{cls.__name__} must implement logits")

    @classmethod
    def use(cls, folder: Path, name: str) -> str:
        """Return the commands that run what was written into `folder`, which will be called `name`."""
        raise NotImplementedError(f"{cls.__name__} must implement use")


def stored_logits(held: Held, ids: Sequence[int]) -> np.ndarray:
    """Return the logits (tokens, vocabulary) float32 of the variant as the store has it.

    They are computed in torch.
    """
    import torch

    model = stored_model(held)
    with torch.inference_mode():
        return model(input_ids=torch.tensor([list(ids)]), use_cache=False).logits[0].float().numpy()


def stored_model(held: Held) -> PreTrainedModel:
    """Return the variant's model: of an artifact with the weights that it holds."""
    from harness.models import checkpoint
    from harness.runtimes.llamacpp import LlamaCpp

    model = checkpoint.load(held.checkpoint)
    return LlamaCpp.restored(held.artifact, model) if held.artifact is not None else model
