"""Mistral: Llama with one sliding window for all layers."""

from harness.families.family import Family

FAMILY = Family("mistral")
