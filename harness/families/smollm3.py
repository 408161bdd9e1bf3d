"""SmolLM3: Llama whose every fourth layer has no rotary positions, and may attend to a window."""

from harness.families.family import Family

FAMILY = Family("smollm3", per_layer=("layer_types", "no_rope_layers"))
