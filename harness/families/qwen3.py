"""Qwen3: norms of queries and keys, and layers that attend to a window."""

from harness.families.family import Family

FAMILY = Family("qwen3", per_layer=("layer_types",))
