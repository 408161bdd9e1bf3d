"""The card of a model that leaves the store."""
