"""int8 weight-only by torchao.

Decoder linears in 8 bits with a scale per row, embeddings and head as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.spec import Quantizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Int8(Quantizer):
    """Round-to-nearest int8 weights, activations untouched.

    Smaller on disk and in memory; not faster on a CPU.
    """

    NAME = "int8"
    RUNTIMES = frozenset({"torch", "openvino"})
    SHARE = 0.75  # half of the decoder's 16 bits; embeddings stay

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        return 8 + working / hidden, working  # a scale for each row of a matrix

    def apply(self, source: Path, target: Path) -> PreTrainedModel:
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import TorchAoConfig

        from harness.models.checkpoint import copy_tokenizer, loaded, quiet

        model = loaded(source, dtype="auto", quantization_config=TorchAoConfig(Int8WeightOnlyConfig()))
        if all(type(weight.data).__name__ in ("Tensor", "Parameter") for weight in model.parameters()):
            raise ValueError(f"int8 finds no linear to quantize in a {model.config.model_type} model")
        with quiet():
            model.save_pretrained(target)
        copy_tokenizer(source, target)
        return model
