"""Compared methods, one file each; a new file here is a new method."""
