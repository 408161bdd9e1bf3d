"""Tables in Markdown's own letters. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence


def pipes(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: Collection[int] = (0,)) -> str:
    """Return a Markdown table whose columns `text`, by index, are text; the others are numbers."""
    rule = [":---" if index in text else "---:" for index in range(len(head))]
    body = [[escaped(cell.strip()) for cell in cells] for cells in (head, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (body[0], rule, *body[1:]))


def escaped(text: str) -> str:
    """The text with everything Markdown or HTML would interpret made literal.

    One line, as a cell or a paragraph needs it.
    """
    words = BEGINS.sub(r"\1\\\2", " ".join(text.replace("\\", "\\\\").split()))
    for letter, safe in (("&", "&amp;"), ("<", "&lt;"), *((letter, f"\\{letter}") for letter in "|*_[`~$")):
        words = words.replace(letter, safe)
    return words


# what makes a heading, a quotation, a list or a rule of a paragraph that begins with it
BEGINS = re.compile(r"^(\d*)([#>+=-](?=\s|[#>+=-]|$)|(?<=\d)[.)](?=\s|$))")
