"""What others wrote (names, reasons, items) is text in every report.

No Markdown, TeX, formula or format string.
"""

from __future__ import annotations

import matplotlib
import pytest

from reports.page import plots
from reports.paper.paper_text import _tex
from reports.pipes import escaped, pipes


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("# a heading", r"\# a heading"),
        ("> a quotation", r"\> a quotation"),
        ("- a list", r"\- a list"),
        ("1. a list", r"1\. a list"),
        ("12) a list", r"12\) a list"),
        ("--- ", r"\---"),
        ("-0.03", "-0.03"),
        ("1.5 of 2", "1.5 of 2"),
        ("nas@0.8+int8", "nas@0.8+int8"),
        ("$x^2$ and ~~gone~~", r"\$x^2\$ and \~\~gone\~\~"),
        ("![alt](place)", r"!\[alt](place)"),
        ("<img src=x>", "&lt;img src=x>"),
        ("&lt;b>", "&amp;lt;b>"),
        ("a_b*c`d|e\\f", r"a\_b\*c\`d\|e\\f"),
        ("two\nlines\n\n# and a heading", "two lines # and a heading"),
    ],
)
def test_text_is_literal_in_markdown(written, shown):
    assert escaped(written) == shown


def test_a_cell_with_line_breaks_keeps_its_row():
    assert pipes(["name"], [["a\nb\n| c"]]).splitlines()[-1] == r"| a b \| c |"


def test_text_is_literal_in_tex():
    assert _tex("a_b^2~{c}\\d") == r"a\_b\textasciicircum{}2\textasciitilde{}\{c\}\textbackslash{}d"
    assert _tex("50 % of $x$ & #1") == r"50 \% of \$x\$ \& \#1"
    assert _tex("×1.2 −3 Δ <a>") == r"$\times$1.2 $-$3 $\Delta$ $<$a$>$"
    assert "\n" not in _tex("% a comment\n\\input{secret}")


def test_text_is_literal_in_plots(tmp_path):
    def row(name: str, method: str, size: float, average: float) -> dict:
        actual = {"variant": name, "method": method, "quantizer": "none", "status": "ok", "bytes_on_disk": size}
        return actual | {"decode_ratio": 1.0, "average": average}

    rows = [row("dense", "dense", 2e8, 0.6), row(r"$\frac{$ {0} %s", "_own $x^", 1e8, 0.5)]
    facts = {"model": r"$\notacommand{$", "suite": "%(x)s {y}"}
    svg = next(path for path in plots.save(rows, facts, tmp_path) if path.suffix == ".svg")
    assert svg.stat().st_size > 1000
    with matplotlib.rc_context(plots.STYLE):
        figure = plots.draw(rows, facts)
    assert figure.get_suptitle().startswith(r"$\notacommand{$ · suite %(x)s {y}")
    assert " _own $x^" in [text.get_text() for text in figure.legends[0].get_texts()]
