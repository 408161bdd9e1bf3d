"""The machine that the harness runs on: its processor, versions and folders."""
