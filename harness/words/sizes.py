"""Bytes as a person says them."""

from __future__ import annotations


def storage(count: float) -> str:
    """Return bytes as text: 1.2 GB, 3.4 MB."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
