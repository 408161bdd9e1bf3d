"""Whether the model hub answers, asked once with a short patience: its clients retry for minutes."""

from __future__ import annotations

import os
from functools import cache

PATIENCE = 5.0  # seconds


@cache
def settle() -> bool:
    """Return whether the hub answers.

    Where it does not, put its clients into offline mode, here and in later processes.
    """
    import huggingface_hub.constants as hub

    if hub.HF_HUB_OFFLINE:
        return False
    import httpx

    try:
        httpx.head(hub.ENDPOINT, timeout=PATIENCE, follow_redirects=True)
    except httpx.HTTPError:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
        hub.HF_HUB_OFFLINE = True
        import datasets.config

        datasets.config.HF_HUB_OFFLINE = True
        return False
    return True
