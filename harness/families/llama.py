"""Llama 1 to 3, SmolLM 1 and 2, and all others of that architecture."""

from harness.families.family import Family

FAMILY = Family("llama")
