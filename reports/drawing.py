"""What every part of the page is drawn with.

A chart's axes and legend, a table's box and sortable heads.
"""

from __future__ import annotations

from html import escape
from typing import Any

Figure = dict[str, Any]  # of plotly


def base_layout(x_label: str, y_label: str) -> Figure:
    """Axes and legend every chart shares."""
    axis = {"gridcolor": "var(--rule)", "zeroline": False, "linecolor": "var(--rule)", "automargin": True}
    return {
        "xaxis": axis | {"title": {"text": x_label, "standoff": 10}},
        "yaxis": axis | {"title": {"text": y_label, "standoff": 8}},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": "var(--ink)"},
        "margin": {"l": 40, "r": 14, "t": 14, "b": 40},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "xanchor": "left", "yanchor": "bottom"},
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "bgcolor": "var(--card)", "font": {"size": 11, "color": "var(--ink)"}},
    }


def frame(heads: str, body: str, label: str, identity: str = "") -> str:
    """A table of those heads and rows in its own scrolling box."""
    named = f' id="{identity}"' if identity else ""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label} table"><table{named}>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def head(title: str, subtitle: str, best: str) -> str:
    """A header whose button sorts; `best` says which end a first click puts on top."""
    small = f"<small>{escape(subtitle)}</small>" if subtitle else "<small>&nbsp;</small>"
    return f'<th scope="col" data-best="{best}"><button type="button">{escape(title)}{small}</button></th>'
