"""Ways to look for good sub-networks: one file each, one interface, one record format."""
