"""What may be trained: all weights or adapters, and of which projections."""

from __future__ import annotations

from typing import Literal

Trained = Literal["full", "lora"]  # what a super-network takes
Adapter = Literal[Trained, "mixlora"]
Linear = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LINEARS: tuple[Linear, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
