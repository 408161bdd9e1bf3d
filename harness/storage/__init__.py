"""What is kept on disk, and whether it still is what was written: steps, journals, checksums, of which code."""
