"""The verbs `harness doctor ...`, a file each."""
