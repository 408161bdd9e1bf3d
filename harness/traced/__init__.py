"""Decoders as graphs that runtimes other than torch take: traced from one plain definition."""
