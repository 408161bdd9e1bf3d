"""One-shot neural architecture search: super-network, training, search, extraction."""
