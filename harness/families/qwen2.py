"""Qwen2 and Qwen2.5: biases of q, k and v, and layers that attend to a window."""

from harness.families.family import Family

FAMILY = Family("qwen2", per_layer=("layer_types",))
