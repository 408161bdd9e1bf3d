"""Size, speed, memory and FLOPs of a stored model."""
