"""Progress of the step that runs in this process.

`track` in long loops, shown live by whoever listens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Listener = Callable[[float, str], None]

_listener: Listener | None = None
_hearer: Callable[[str], None] | None = None
_last = 0.0
_span = (0.0, 1.0, "")  # what part of the step the code that reports is, and its name
INTERVAL = 0.2  # seconds between two reports


def listen(listener: Listener | None, hearer: Callable[[str], None] | None = None) -> None:
    """Send every later report of this process to `listener(fraction, text)`, notices to `hearer(text)`.

    None silences.
    """
    global _listener, _hearer
    _listener, _hearer = listener, hearer


def notice(text: str) -> None:
    """Tell the user something that must not go by unseen.

    What was begun anew, or done otherwise than asked.
    """
    print(text, flush=True)  # into the step's log
    if _hearer is not None:
        _hearer(text)


@contextmanager
def within(start: float, end: float, text: str = "") -> Iterator[None]:
    """Let reports of 0 to 1 inside the context mean `start` to `end` of the step.

    `text` is put before their own text.
    """
    global _span
    outer = _span
    _span = (start, end, text)
    try:
        yield
    finally:
        _span = outer


def report(fraction: float, text: str = "") -> None:
    """Tell that `fraction` (0..1) of the running step is done."""
    global _last
    now = time.monotonic()
    if _listener is not None and (now - _last > INTERVAL or (fraction >= 1 and _span[1] >= 1)):
        _last = now
        start, end, name = _span
        _listener(start + (end - start) * min(max(fraction, 0.0), 1.0), f"{name} {text}".strip())


def track(
    items: Iterable[T], text: str = "", *, total: int | None = None, start: float = 0.0, end: float = 1.0
) -> Iterator[T]:
    """Yield `items`, reporting progress from `start` to `end`."""
    count = total if total is not None else len(items) if isinstance(items, Sized) else 0
    for index, item in enumerate(items):
        yield item
        if count:
            report(start + (end - start) * (index + 1) / count, f"{text} {index + 1}/{count}")
