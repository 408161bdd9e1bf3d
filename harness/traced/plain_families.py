"""What the plain decoder computes. Pure."""

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
ACTIVATIONS = ("silu", "swish")
CHANGING = (
    "dynamic",
    "longrope",
)  # kinds of scaling of rotary angles that it does not: these depend on the text's length
