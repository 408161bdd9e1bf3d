"""Quantizers, one file each; layered on any result."""
