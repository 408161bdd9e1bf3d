"""What every export format says of itself."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from harness.runtimes.runtime import TORCH, Runtime

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel


class Held(NamedTuple):
    """Where the store holds a variant: its checkpoint, and of another runtime than torch its artifact."""

    checkpoint: Path
    artifact: Path | None
    runtime: str = TORCH  # whose the artifact is


class Export:
    """A format. A file of this room with one is a format: `harness export VARIANT format=NAME`."""

    NAME: ClassVar[str]
    OF: ClassVar[str] = ""  # the runtime whose rows it is for, unless another is asked for
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


def check_of_torch(held: Held, name: str) -> None:
    """Raise ValueError where a variant is another runtime's file, which format `name` cannot hold."""
    if held.artifact is not None:
        raise ValueError(f"this row is a file of {held.runtime}; export it as that, or the row in torch as {name}")


class ArtifactExport(Export):
    """The artifact of a row in `RUNTIME` as it was measured, or of a row in torch, converted now."""

    RUNTIME: ClassVar[type[Runtime]]

    @classmethod
    def unavailable(cls) -> str:
        return cls.RUNTIME.unavailable()

    @classmethod
    def write(cls, held: Held, target: Path) -> str:
        from harness.models import checkpoint

        if held.artifact is not None and held.runtime == cls.RUNTIME.NAME:
            shutil.copytree(held.artifact, target, dirs_exist_ok=True)
        else:
            check_of_torch(held, cls.NAME)
            if library := checkpoint.quantization(held.checkpoint):
                raise ValueError(
                    f"this row is quantized by {library}; export it as format=hf, or a row of {cls.RUNTIME.NAME} "
                    f"as {cls.NAME}"
                )
            model, tokenizer = checkpoint.load(held.checkpoint), checkpoint.load_tokenizer(held.checkpoint)
            cls.RUNTIME.convert(model, tokenizer, target)
        return cls.stored(target)

    @classmethod
    def stored(cls, target: Path) -> str:
        """Return in a few words how what was written stores its weights."""
        raise NotImplementedError(f"{cls.__name__} must implement stored")

    @classmethod
    def logits(cls, target: Path, ids: Sequence[int]) -> np.ndarray:
        engine = cls.RUNTIME.engine(target, threads=1, batch=1, tokens=len(ids))
        try:
            return engine.logits(ids)
        finally:
            engine.close()


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
    from harness.runtimes.all_runtimes import runtime

    model = checkpoint.load(held.checkpoint)
    return runtime(held.runtime).restored(held.artifact, model) if held.artifact is not None else model
