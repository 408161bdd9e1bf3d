"""Tasks, scoring and statistics."""
