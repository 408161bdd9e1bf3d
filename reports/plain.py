"""Any value in JSON's types."""

from __future__ import annotations

import math
from typing import Any


def plain(value: Any) -> Any:
    """The value in JSON's types.

    NaN and infinities are null, numpy scalars and paths are what they stand for.
    """
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
