"""Importing this makes `AutoModelForCausalLM` reload per-layer and sliced checkpoints.

Of every family.
"""

from __future__ import annotations

from harness.families.all_families import families
from harness.models import per_layer, sliced

for _name in families():
    per_layer.causal_class(_name)
    sliced.causal_class(_name)
