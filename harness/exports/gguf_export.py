"""A GGUF file for llama.cpp and what builds on it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.exports.export_format import ArtifactExport
from harness.runtimes.llamacpp import FILE, LlamaCpp


class Gguf(ArtifactExport):
    """The file of a row in llama.cpp as it was measured, or a row of torch in its own dtype."""

    NAME = "gguf"
    OF, RUNTIME = LlamaCpp.NAME, LlamaCpp
    TOLERANCE: ClassVar[float] = 0.1  # activations are rounded to 8 bits inside products of quantized weights

    @classmethod
    def stored(cls, target: Path) -> str:
        from harness.gguf import model_file

        return f"tensors in {', '.join(sorted(set(model_file.parameters(target / FILE).values())))}"

    @classmethod
    def use(cls, folder: Path, name: str) -> str:
        return f"```bash\nllama-cli -m {name}/{FILE} -p 'The capital of France is'\n```"
