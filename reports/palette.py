"""One colour a method and one shape a quantizer, the same in every plot.

Told apart by colour-blind readers too.
"""

from collections.abc import Sequence

from reports.variants import Row, one_line, unquantized

# Okabe & Ito (2008) without black and the yellow that vanishes on white, then two of Paul Tol's muted colours.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#AA4499", "#999933")
DENSE = "#7F7F7F"


def method(row: Row) -> str:
    """The method's name as one printable line."""
    return one_line(row.get("method") or "unknown")


def colours(rows: Sequence[Row]) -> dict[str, str]:
    """A colour for each method, assigned by name so that row order does not matter; dense is grey."""
    names = sorted({method(row) for row in rows} - {"dense"})
    return {"dense": DENSE} | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def methods(rows: Sequence[Row]) -> list[str]:
    """The methods in the order of their first row."""
    return list(dict.fromkeys(method(row) for row in rows))


def square(row: Row) -> bool:
    """True for quantized variants, drawn as squares; the others are circles."""
    return not unquantized(row)
