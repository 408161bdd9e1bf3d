"""int8 weights and activations by torchao: a scale per row of a matrix, and per token as it passes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.spec import Quantizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class W8A8(Quantizer):
    """Round-to-nearest int8 weights; activations are rounded to int8 token by token.

    So products are of integers.

    Decoder linears only: embeddings and head stay as they are. Made for GPUs and processors with products of int8 (VNNI); on one
    with AVX2 alone a prompt of SmolLM2-135M took 20 times as long as dense.
    """

    NAME = "w8a8"
    SHARE = 0.75  # half of the decoder's 16 bits; embeddings stay

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        return 8 + working / hidden, working

    def apply(self, source: Path, target: Path) -> PreTrainedModel:
        from torchao.quantization import Int8DynamicActivationInt8WeightConfig
        from transformers import TorchAoConfig

        from harness.models.checkpoint import copy_tokenizer, loaded, quiet
        from harness.models.size import has_quantized

        how = TorchAoConfig(Int8DynamicActivationInt8WeightConfig())
        model = loaded(source, dtype="auto", quantization_config=how)
        if not has_quantized(model):
            raise ValueError(f"w8a8 finds no linear to quantize in a {model.config.model_type} model")
        with quiet():
            model.save_pretrained(target)
        copy_tokenizer(source, target)
        return model
