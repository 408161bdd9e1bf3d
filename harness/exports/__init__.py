"""Formats in which a variant leaves the store, each checked after writing."""
