"""A run against a kept baseline, for CI."""
