"""Importing this makes per-layer and sliced checkpoints of every family reloadable by `AutoModelForCausalLM.from_pretrained`."""

from __future__ import annotations

from harness.families.all_families import families
from harness.models import per_layer, sliced

for _name in families():
    per_layer.causal_class(_name)
    sliced.causal_class(_name)
