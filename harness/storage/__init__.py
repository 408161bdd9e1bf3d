"""What is kept on disk, and whether it still is what was written.

Steps, journals, checksums, of which code.
"""
