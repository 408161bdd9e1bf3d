"""Tables in Markdown's own letters. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def pipes(head: Sequence[str], rows: Sequence[Sequence[str]], *, text: Collection[int] = (0,)) -> str:
    """Return a Markdown table whose columns `text`, by index, are text; the others are numbers."""
    rule = [":---" if index in text else "---:" for index in range(len(head))]
    body = [[escaped(cell.strip()) for cell in cells] for cells in (head, *rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (body[0], rule, *body[1:]))


def escaped(text: str) -> str:
    """The text with everything Markdown or HTML would interpret made literal."""
    for letter, safe in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(letter, safe)
    return text.replace("[", "\\[").replace("`", "\\`")
