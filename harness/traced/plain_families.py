"""The families whose layers the plain decoder computes. Pure."""

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "smollm3")
