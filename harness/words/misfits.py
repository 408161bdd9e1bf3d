"""What pydantic says is wrong with a description, a line for each thing.

Where, what, and the nearest name that would be right.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import ValidationError

from harness.words.nearest import nearest
from harness.words.reasons import one_line


def misfits(error: ValidationError, *, known: Sequence[str] = (), whole: str = "content") -> list[str]:
    """Return a line for each thing that is wrong.

    `known` are the keys there are, `whole` is what none of them is to blame for.
    """
    lines = []
    for item in error.errors():
        where = ".".join(map(str, item["loc"])) or whole
        if item["type"] == "extra_forbidden":
            lines.append(f"{where}: no such key; {nearest(str(item['loc'][-1]), list(known))}")
        else:
            lines.append(one_line(f"{where}: {item['msg'].removeprefix('Value error, ')}"))
    return lines
