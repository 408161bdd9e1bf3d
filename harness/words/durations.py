"""Times as a person says them: 4.2 s, 38 s, 2 min 5 s, 1 h 12 min."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Return seconds in at most two units, with a decimal below ten seconds."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
