"""Each method's hypervolume.

The area its variants dominate, with intervals that pair the methods item by item.
"""

from __future__ import annotations

import json
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from harness.evaluation.fronts import areas, hypervolume
from reports.page import html
from reports.run import tables
from reports.run.method_fronts import method_fronts

DRAWS = 400


def row(recipe: str, size: float, average: float, **more):
    named = {"variant": f"{recipe}@{size}", "method": recipe, "recipe": recipe, "quantizer": "none"}
    return named | {"bytes_on_disk": 1000 * size, "average": average, "status": "ok"} | more


@pytest.fixture
def rows():
    return [
        row("dense", 1.0, 0.6),
        *(row("ours", size, average) for size, average in ((0.9, 0.58), (0.8, 0.55), (0.7, 0.5))),
        *(row("theirs", size, average) for size, average in ((0.9, 0.56), (0.8, 0.53), (0.7, 0.48))),
    ]


@pytest.fixture
def draws(rows):
    """All variants luckier or unluckier together, so that differences vary less than averages."""
    generator = np.random.default_rng(0)
    shared, own = generator.normal(0, 0.02, (DRAWS, 1)), generator.normal(0, 0.002, (DRAWS, len(rows)))
    return np.array([each["average"] for each in rows]) + shared + own


def test_the_area_is_the_hypervolume_of_the_front():
    generator = np.random.default_rng(1)
    for _ in range(50):
        sizes, averages = generator.uniform(0.3, 1.2, 6), generator.uniform(0.2, 0.9, 6)
        expected = hypervolume(np.stack([sizes, -averages], axis=1), np.array([1.0, 0.0]))
        assert float(areas(sizes, averages)) == pytest.approx(expected)


def test_equal_averages_give_the_average_times_what_the_smallest_saves():
    assert float(areas(np.array([0.9, 0.7]), np.array([0.5, 0.5]))) == pytest.approx(0.5 * 0.3)


def test_each_draw_has_its_own_area(draws):
    sizes = np.array([0.9, 0.8, 0.7])
    actual = areas(sizes, draws[:, 1:4])
    assert actual.shape == (DRAWS,)
    assert actual[7] == pytest.approx(float(areas(sizes, draws[7, 1:4])))


def test_differences_are_paired(rows, draws):
    ours, theirs = method_fronts(rows, draws)
    assert (ours.recipe, ours.variants, ours.difference) == ("ours", 3, None)
    assert theirs.area.value == pytest.approx(100 * 0.1 * (0.56 + 0.53 + 0.48))
    assert theirs.area.low < theirs.area.value < theirs.area.high
    assert theirs.difference.value == pytest.approx(-100 * 0.1 * 0.06)
    assert theirs.difference.high < 0  # though the two intervals of the areas overlap
    assert theirs.area.high > ours.area.low


def test_simulated_failed_unscored_and_quantized_dense_rows_do_not_count(rows, draws):
    rows += [
        row("ours", 0.1, 0.9, simulated=True),
        row("ours", 0.1, 0.9, status="failed"),
        row("ours", 0.1, None),
        row("dense", 0.5, 0.6, quantizer="int8"),
    ]
    wide = np.concatenate([draws, np.full((DRAWS, 4), np.nan)], axis=1)
    assert [(each.recipe, each.variants) for each in method_fronts(rows, wide)] == [("ours", 3), ("theirs", 3)]


def test_without_the_dense_model_there_is_no_size_to_share(rows, draws):
    assert method_fronts(rows[1:], draws[:, 1:]) == []


def test_every_format_tells_it(rows, draws):
    facts = {"method_fronts": method_fronts(rows, draws)}
    terminal = Console(file=StringIO(), width=120)
    terminal.print(tables.rich_table(rows, facts))
    for text in (terminal.file.getvalue(), tables.markdown(rows, facts), html.page(rows, facts)):
        assert "15.70" in text
        assert "−0.60" in text
    told = json.loads(tables.json_text(rows, facts))["facts"]["method_fronts"]
    assert told[1]["difference"]["value"] == pytest.approx(-0.6)


def test_one_method_alone_has_no_table(rows, draws):
    facts = {"method_fronts": method_fronts(rows[:4], draws[:, :4])}
    assert "hypervolume" not in tables.markdown(rows[:4], facts)
    assert 'id="fronts"' not in html.page(rows[:4], facts)
