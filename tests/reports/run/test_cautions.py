"""A row that is called by a budget has that share of the dense parameters.

Where it has not, the table's head says what it has.
"""

from __future__ import annotations

import pytest

from harness.config import ConfigErrors, compose
from reports.run.cautions import cautions


def row(name: str, parameters: int, **more) -> dict:
    method, _, budget = name.partition("@")
    base = {"variant": name, "method": method, "quantizer": "none", "parameters": parameters}
    return base | {"budget": float(budget) if budget else None} | more


def test_a_row_that_missed_its_budget_is_told():
    rows = [row("dense", 1000), row("mine@0.8", 1000), row("layers@0.8", 813), row("two+steps@0.8", 640)]
    assert cautions(rows) == [
        "mine@0.8: 100.0% of the dense parameters stay, not the budget that the row is called by."
    ]
    zeros = row("sparse@0.8", 1000, simulated=True)
    assert cautions([rows[0], zeros]) == [], "of zeros the budget counts what is not zero"


def test_a_budget_is_set_where_the_rows_name_shows_it():
    with pytest.raises(ConfigErrors) as caught:
        compose(["settings.magnitude.budget=0.3", "methods=[magnitude]", "budgets=[0.8]"])
    assert "settings.magnitude.budget: budgets are set with budgets=[...]" in caught.value.lines[0]
