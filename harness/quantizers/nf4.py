"""NF4 by bitsandbytes: 4 bits whose sixteen values are quantiles of a normal distribution."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.machine import environment
from harness.spec import Quantizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INPUTS, OUTPUTS = 64, 32  # what sizes have to be multiples of


class Nf4(Quantizer):
    """NormalFloat 4 (arXiv 2305.14314) of the decoder's linears, a scale for every 64 weights.

    Embeddings and head stay as they are, and so do linears that bitsandbytes' kernels do not take: those with inputs that are no
    multiple of 64, or outputs that are none of 32. It has kernels for GPUs, and for processors with bfloat16 in AVX-512, where
    products are in bfloat16 whatever the dtype; elsewhere each product unpacks its weights.
    """

    NAME = "nf4"
    SHARE = 0.6

    @classmethod
    def unavailable(cls) -> str:
        return environment.missing("nf4", "bitsandbytes")

    def bits(self, working: int, hidden: int, tied: bool) -> tuple[float, float]:
        return 4 + 32 / INPUTS, working  # scales are float32

    def apply(self, source: Path, target: Path) -> PreTrainedModel:
        import torch
        from transformers import BitsAndBytesConfig

        from harness.models import checkpoint
        from harness.models.anatomy import four_bit

        dtype = getattr(torch, checkpoint.dtype(source) or "float32")
        how = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=["lm_head", *untaken(source)],
        )
        model = checkpoint.loaded(source, dtype="auto", quantization_config=how)
        if not any(four_bit(weight) for weight in model.parameters()):
            raise ValueError(f"nf4 finds no linear to quantize in a {model.config.model_type} model")
        with checkpoint.quiet():
            model.save_pretrained(target)
        checkpoint.copy_tokenizer(source, target)
        return model


def untaken(source: Path) -> list[str]:
    """Return the names of the linears that bitsandbytes' kernels do not take.

    GPT-2's transposed ones are among them.
    """
    from torch.nn import Linear
    from transformers.pytorch_utils import Conv1D

    from harness.models import checkpoint

    named = list(checkpoint.load(source).named_modules())
    sizes = {name: module.weight.shape[::-1] for name, module in named if isinstance(module, Linear)}
    sizes |= {name: module.weight.shape for name, module in named if isinstance(module, Conv1D)}
    return [name for name, (inputs, outputs) in sizes.items() if inputs % INPUTS or outputs % OUTPUTS]
