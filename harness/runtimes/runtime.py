"""What every runtime says of itself.

What it makes of a checkpoint, and how the result is run, read and scored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from harness.bytes_budget import Outline
from harness.machine import environment
from harness.models.described import Description
from harness.spec import Method, Quantizer

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TORCH = "torch"  # transformers in torch, in which checkpoints are what they are


class Engine(Protocol):
    """A model that a runtime has loaded."""

    def generate_seconds(self, batch: int, prompt: int, count: int, clock: Callable[[], Any]) -> tuple[Any, Any]:
        """Return what `clock` counts in a prefill of (batch, prompt) tokens, and behind it.

        There in `count` greedy steps.
        """

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        """Return the logits (tokens, vocabulary) float32 at every position of one text."""

    def close(self) -> None:
        """Let the model's memory go."""


class Runtime:
    """A place in which a model is deployed: `runtimes=[NAME, ...]`.

    A file of this room with one is a runtime.

    `convert` writes the checkpoint as it is, `quantize` what it wrote in fewer bits, for the quantizers that name the runtime.
    """

    NAME: ClassVar[str]
    PACKAGE: ClassVar[str]  # the distribution that brings it
    BESIDE: ClassVar[tuple[str, ...]] = ()  # distributions that it needs beside
    ROUNDING: ClassVar[float] = 1e-3  # of the largest logit, the mean by which weights in 32 bits are off torch here

    @classmethod
    def version(cls) -> str:
        """Return the version of the library that computes, or `absent`."""
        return environment.version(cls.PACKAGE)

    @classmethod
    def unavailable(cls) -> str:
        """Return why this machine cannot run it and what to do; empty where it can."""
        if cls.version() == "absent":
            return environment.needs(cls.NAME, [cls.PACKAGE])
        return environment.missing(cls.NAME, *cls.BESIDE)

    @classmethod
    def refuses(cls, model: Description, methods: Sequence[Method]) -> str:
        """Return why it cannot compute what these methods make of the model; empty where it can."""
        return ""

    @classmethod
    def header(cls, size: Outline) -> float:
        """Return about how many bytes of an artifact are no weights."""
        return 0.0

    @classmethod
    def bits(cls, quantizer: Quantizer | None, working: int, size: Outline) -> tuple[float, float]:
        """Return the bits a weight takes in the layers and outside of them, in a quantizer, or as it is."""
        return quantizer.bits(working, size.hidden, size.tied) if quantizer else (working, working)

    @classmethod
    def convert(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
        """Write a model in its own dtype into the folder `target`.

        ValueError where the runtime reads text otherwise.
        """
        raise NotImplementedError(f"{cls.__name__} must implement convert")

    @classmethod
    def quantize(cls, source: Path, target: Path, form: str) -> None:
        """Write what `convert` wrote into `source` in the quantizer `form` into the folder `target`."""
        raise NotImplementedError(f"{cls.__name__} must implement quantize")

    @classmethod
    def size(cls, folder: Path) -> int:
        """Return the bytes of what is deployed."""
        return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())

    @classmethod
    def restored(cls, folder: Path, model: PreTrainedModel) -> PreTrainedModel:
        """Return `model` in float32 with the weights as the artifact has them."""
        raise NotImplementedError(f"{cls.__name__} must implement restored")

    @classmethod
    def engine(cls, folder: Path, *, threads: int, batch: int, tokens: int) -> Engine:
        """Return the artifact, loaded for texts of up to `tokens` tokens, `batch` at once."""
        raise NotImplementedError(f"{cls.__name__} must implement engine")
