"""One-shot NAS, pruning, sparsity and quantization of language models, compared on equal terms."""
