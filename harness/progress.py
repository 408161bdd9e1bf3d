"""Progress of the step that runs in this process: `track` in long loops, shown live by whoever listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[float, str], None]

_listener: Listener | None = None
_last = 0.0
INTERVAL = 0.2  # seconds between two reports


def listen(listener: Listener | None) -> None:
    """Send every later report of this process to `listener(fraction, text)`; None silences them."""
    global _listener
    _listener = listener


def report(fraction: float, text: str = "") -> None:
    """Tell that `fraction` (0..1) of the running step is done."""
    global _last
    now = time.monotonic()
    if _listener is not None and (now - _last > INTERVAL or fraction >= 1):
        _last = now
        _listener(min(max(fraction, 0.0), 1.0), text)


def track(
    items: Iterable[T], text: str = "", *, total: int | None = None, start: float = 0.0, end: float = 1.0
) -> Iterator[T]:
    """Yield `items`, reporting progress from `start` to `end`."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else 0
    for index, item in enumerate(items):
        yield item
        if count:
            report(start + (end - start) * (index + 1) / count, f"{text} {index + 1}/{count}")
