"""int8 weight-only by torchao: decoder linears in 8 bits with a scale per row, embeddings and head as they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.spec import Quantizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Int8(Quantizer):
    """Round-to-nearest int8 weights, activations untouched. Smaller on disk and in memory; not faster on a CPU."""

    NAME = "int8"
    SHARE = 0.75  # half of the decoder's 16 bits; embeddings stay

    def apply(self, source: Path, target: Path) -> PreTrainedModel:
        from torchao.quantization import Int8WeightOnlyConfig
        from transformers import AutoModelForCausalLM, TorchAoConfig

        from harness.models.checkpoint import copy_tokenizer, quiet

        with quiet():
            config = TorchAoConfig(Int8WeightOnlyConfig())
            model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", quantization_config=config)
            model.save_pretrained(target)
        copy_tokenizer(source, target)
        return model
