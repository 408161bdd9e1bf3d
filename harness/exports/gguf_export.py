"""A GGUF file for llama.cpp and what builds on it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.exports.export_format import Export, Held
from harness.runtimes.llamacpp import FILE, LlamaCpp

if TYPE_CHECKING:
    import numpy as np


class Gguf(Export):
    """The file of a row in llama.cpp as it was measured, or a row of torch in its own dtype."""

    NAME = "gguf"
    TOLERANCE: ClassVar[float] = 0.1  # activations are rounded to 8 bits inside products of quantized weights

    @classmethod
    def unavailable(cls) -> str:
        return LlamaCpp.unavailable()

    @classmethod
    def write(cls, held: Held, target: Path) -> str:
        from harness.gguf import model_file
        from harness.models import checkpoint

        if held.artifact is not None:
            shutil.copytree(held.artifact, target, dirs_exist_ok=True)
        else:
            if library := checkpoint.quantization(held.checkpoint):
                raise ValueError(
                    f"this row is quantized by {library}; export it as format=hf, or a row of llamacpp as gguf"
                )
            LlamaCpp.convert(checkpoint.load(held.checkpoint), checkpoint.load_tokenizer(held.checkpoint), target)
        types = sorted(set(model_file.parameters(target / FILE).values()))
        return f"tensors in {', '.join(types)}"

    @classmethod
    def logits(cls, target: Path, ids: Sequence[int]) -> np.ndarray:
        engine = LlamaCpp.engine(target, threads=1, batch=1, tokens=len(ids))
        try:
            return engine.logits(ids)
        finally:
            engine.close()

    @classmethod
    def use(cls, folder: Path, name: str) -> str:
        return f"```bash\nllama-cli -m {name}/{FILE} -p 'The capital of France is'\n```"
