"""Methods that others wrote: commands in environments of their own, and recipes of SparseML."""
