"""What a user may say of fine-tuning a compressed model, once for the method and for its step."""

from __future__ import annotations

from pydantic import Field

from harness.recovery.kinds import LINEARS, Adapter, Linear
from harness.spec import Spec


class TuningSettings(Spec):
    """How a model is trained after it was made smaller."""

    tokens: int = Field(100_000, gt=0, description="tokens with a backward pass, prompts included, in whole batches")
    batch: int = Field(4, gt=0, description="sequences of a training step")
    length: int = Field(256, gt=1, description="tokens of a training sequence")
    learning_rate: float = Field(3e-5, gt=0, description="peak learning rate of AdamW")
    adapter: Adapter = Field("full", description="what is trained: all decoder weights, LoRA, or a mixture of LoRAs")
    lora_rank: int = Field(8, gt=0, description="rank of the LoRA factors")
    lora_alpha: float = Field(16, gt=0, description="scale of LoRA: its product counts lora_alpha / lora_rank times")
    lora_dropout: float = Field(
        0.0, ge=0, lt=1, description="share of the inputs of LoRA that are dropped while training"
    )
    lora_targets: tuple[Linear, ...] = Field(LINEARS, min_length=1, description="projections that get LoRA factors")
    experts: int = Field(4, gt=0, description="LoRAs of each MLP (mixlora, arXiv 2404.15159)")
    top_k: int = Field(2, gt=0, description="experts that see a token (mixlora)")
    balance: float = Field(0.01, ge=0, description="weight of the loss that keeps experts equally busy (mixlora)")
    distill: float = Field(0.0, ge=0, le=1, description="weight of KL to the dense model; the rest is cross-entropy")
