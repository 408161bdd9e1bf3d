"""What structured and unstructured pruning share: anatomy, masks, extraction, the layer-wise walk."""
