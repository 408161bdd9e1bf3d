"""`harness doctor` and what it can be asked.

Is this installation whole, is our scorer right, what do scoring and searching cost.
"""
