"""What is to be told of a family of Llama-shaped decoders.

The rest follows from transformers' own classes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Settings by which forward passes multiply or cap logits and attention scores, and the values that do nothing. The packed scorer
# does neither, and small logits hide a cap from any comparison: a configuration that sets one is scored by lm-eval's scorer.
SCALES: Mapping[str, tuple[Any, ...]] = {
    "final_logit_softcapping": (None,),
    "attn_logit_softcapping": (None,),
    "logits_scaling": (None, 1),
    "logit_scale": (None, 1),
}


@dataclass(frozen=True)
class Family:
    """A family whose layers add `self_attn` and `mlp` to the residual stream.

    Of projections q, k, v, o_proj and gate, up, down_proj.

    `name` is transformers' model type. `per_layer` names the lists of its configuration that hold an entry a layer: they
    follow the layers that stay. `scales` are its settings as in SCALES; most families have no others.
    """

    name: str
    per_layer: tuple[str, ...] = ()
    scales: Mapping[str, tuple[Any, ...]] = field(default_factory=lambda: SCALES)
