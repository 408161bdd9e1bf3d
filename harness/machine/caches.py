"""Where downloads and data sets in Arrow form are kept.

HARNESS_CACHE or the user's cache folder, tried before the work.
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.words.home import home

OURS = "llm-compression-harness"
HUB = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE")  # whoever sets one of these has chosen


def cache_folder() -> Path:
    """Return where our downloads are kept: HARNESS_CACHE, or a folder in the user's cache folder."""
    return home(os.environ.get("HARNESS_CACHE") or _users() / OURS)


def hub_folder() -> Path:
    """Return where the hub's libraries keep what they make of data sets."""
    return home(os.environ.get("HF_DATASETS_CACHE") or os.environ.get("HF_HOME") or _users() / "huggingface")


def settle() -> None:
    """Let the hub's libraries keep their files under HARNESS_CACHE where the home folder takes none.

    Before they are imported.
    """
    if not any(os.environ.get(name) for name in HUB) and not takes_files(hub_folder()):
        os.environ["HF_HOME"] = str(cache_folder() / "huggingface")


def check() -> None:
    """Raise ValueError where neither the home folder nor HARNESS_CACHE takes the files of a run."""
    for folder in (cache_folder(), hub_folder()):
        if not takes_files(folder):
            raise ValueError(
                f"{folder} cannot be written, and data sets and downloads are kept there; name another folder with "
                "HARNESS_CACHE=FOLDER in the environment"
            )


def takes_files(folder: Path) -> bool:
    """Tell whether files can be written into a folder, which need not be there yet; leaves nothing behind."""
    place = folder
    while not os.path.lexists(place) and place != place.parent:
        place = place.parent
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)


def _users() -> Path:
    return home(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
