"""The page's table of each method's hypervolume."""

from html import escape

from reports.drawing import frame, head
from reports.estimates import Estimate
from reports.run.method_fronts import HEADERS, shown
from reports.search.section import cell
from reports.variants import Facts, one_line


def content(facts: Facts) -> str:
    """The page's table of each method's hypervolume; empty where there is nothing to compare."""
    entries = shown(facts)
    if not entries:
        return ""
    heads = "".join(head(*pair, "high" if place else "text") for place, pair in enumerate(HEADERS))
    rows = []
    for each in entries:
        label = escape(one_line(each.recipe))
        cells = cell(Estimate(each.variants, 1), 0) + cell(each.area, 2) + cell(each.difference, 2)
        rows.append(f'<tr><th scope="row" data-value="{label}"><span>{label}</span></th>{cells}</tr>')
    return frame(heads, "".join(rows), "hypervolume", "fronts")
