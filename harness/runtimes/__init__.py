"""Runtimes that models are deployed in, and what each makes of a checkpoint."""
