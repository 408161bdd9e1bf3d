"""What the plain decoder computes, and what its graphs' inputs are called. Pure."""

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
ACTIVATIONS = ("silu", "swish")
CHANGING = ("dynamic", "longrope")  # scalings of rotary angles that depend on the length of the text
INPUTS = ("input_ids", "attention_mask", "position_ids")


def refusal(family: str, activation: str, rotation: str) -> str:
    """Return why the decoder does not compute such a model; empty where it does."""
    if family not in FAMILIES:
        return f"{family} models have no plain decoder here; it takes {', '.join(FAMILIES)}"
    if activation not in ACTIVATIONS:
        return f"the plain decoder has no activation {activation}; it takes {', '.join(ACTIVATIONS)}"
    if rotation in CHANGING:
        return f"rotary angles scaled as {rotation} change with the length of a text, which tables cannot"
    return ""
