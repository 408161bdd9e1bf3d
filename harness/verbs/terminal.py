"""The console that verbs print tables on."""

from __future__ import annotations

import os

from rich.console import Console


def console() -> Console:
    """Return a console as wide as the terminal; of COLUMNS (or 120) letters where the output is piped."""
    found = Console()
    return found if found.is_terminal else Console(width=int(os.environ.get("COLUMNS", "120")))
