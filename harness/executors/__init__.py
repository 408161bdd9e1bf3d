"""Where steps run: a fresh process each, on this machine."""
