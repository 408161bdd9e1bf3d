"""What the page and the other formats show of searches and trainings.

Figures plotly accepts, no candidate lost or mixed.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from stored_searches import LAYERS, TASKS, searched

from reports.page import losses
from reports.page.html import page
from reports.run import rows as reading
from reports.run.columns import COST, filled
from reports.run.tables import json_text, markdown
from reports.search import figures as search_charts
from reports.search import survivor_charts
from reports.search.section import content, figures
from reports.search.survivors import tastes

GROUP = [*(searched(seed=seed) for seed in range(3)), searched("random")]
NAMES = ("candidates", "hypervolume", "predicted", "accuracy", "splits", "survivors", "tasks")


def lines(figure):
    return {trace["name"]: trace for trace in figure["data"] if trace.get("name") and trace.get("mode") == "lines"}


def test_every_figure_of_a_search_is_one_that_plotly_accepts():
    from plotly.graph_objects import Figure

    drawn = figures(GROUP)
    assert list(drawn) == [f"search-0-{name}" for name in NAMES]
    for _, figure in drawn.values():
        text = json.dumps(figure).replace('"var(--ink)"', '"#000"').replace('"var(--rule)"', '"#000"')
        Figure(
            json.loads(
                text.replace('"var(--quiet)"', '"#000"')
                .replace('"var(--card)"', '"#fff"')
                .replace('"var(--accent)"', '"#00f"')
            )
        )  # raises on a property plotly does not know


def test_incomparable_searches_get_figures_of_their_own():
    drawn = figures([searched(), searched() | {"objective": "answer_loss"}])
    assert len(drawn) == 2 * len(NAMES)
    assert "answer loss" in content({"searches": [searched(), searched() | {"objective": "answer_loss"}]}, drawn)


def test_three_seeds_have_a_band_and_fewer_have_none():
    figure = search_charts.hypervolumes(GROUP)
    assert [trace["legendgroup"] for trace in figure["data"] if trace.get("fill")] == ["linas"]
    assert set(lines(figure)) == {"linas, 3 seeds", "random"}
    assert not any(trace.get("fill") for trace in search_charts.hypervolumes(GROUP[:2])["data"])
    low, high = figure["layout"]["yaxis"]["range"]
    assert all(low < trace["y"][-1] < high for trace in figure["data"] if trace["line"]["width"] != 0)


def test_every_whole_candidate_is_drawn_once_and_the_front_is_not_beaten():
    figure = search_charts.candidates(GROUP)
    places = [place for trace in figure["data"][1:] for place in zip(trace["x"], trace["y"], strict=True)]
    assert len(places) == 16 + 4 * 32
    front = figure["data"][0]
    corners = np.stack([front["x"], front["y"]], axis=1)
    assert not any((np.array(place) < corners).all(axis=1).any() for place in places)
    assert min(y for _, y in places) == front["y"][-1]


def test_the_front_is_told_apart_on_both_splits():
    figure = search_charts.splits([searched()])
    counts = {trace["name"]: len(trace["x"]) for trace in figure["data"][1:]}
    assert set(counts) == {"front", "not on the front"}
    assert sum(counts.values()) == 48


def test_what_was_not_measured_is_not_drawn():
    bare = searched() | {"reference": None}
    for record in bare["candidates"]:
        del record["held_out"], record["tasks"]
        record.pop("predicted", None)
    assert list(figures([bare])) == ["search-0-candidates", "search-0-survivors"]
    few = searched() | {"candidates": searched()["candidates"][:3], "evaluations": 3.0}
    assert "search-0-survivors" not in figures([few])
    assert figures([]) == {}
    assert content({}, {}) == ""
    nothing = searched() | {"candidates": [], "reference": None}
    assert list(figures([nothing])) == ["search-0-candidates"]


def test_attention_and_widths_are_shown_for_every_layer():
    bars, others, heat = survivor_charts.survivors(GROUP)["data"]
    assert len(bars["y"]) == len(others["y"]) == np.shape(heat["z"])[1] == LAYERS
    np.testing.assert_allclose(np.sum(heat["z"], axis=0), 100)
    assert list(lines(survivor_charts.tasks(tastes(searched()["candidates"], "choice_error")))) == [
        "all candidates",
        *TASKS,
    ]


def test_kinds_of_a_training_are_lines_of_their_own_over_tokens():
    curve = [[step, 512 * (step + 1), float(step % 2), ("full", "sub")[step % 2]] for step in range(80)]
    figure = losses.losses({"nas": curve, "recover": [[0, 64, 1.0, "lora"]]})
    named = lines(figure)
    assert set(named) == {"nas, whole network", "nas, sub-networks", "recover"}
    assert set(named["nas, whole network"]["y"]) == {0.0}
    assert named["nas, sub-networks"]["x"][0] == 1024


def test_a_smoothed_line_is_the_mean_of_its_neighbours():
    values = np.random.default_rng(0).normal(size=100)
    actual = losses.smoothed(values)
    assert actual[50] == pytest.approx(values[48:53].mean())
    assert actual[0] == pytest.approx(values[:3].mean())
    np.testing.assert_allclose(losses.smoothed(values[:7]), values[:7])


def test_json_has_the_numbers_and_leaves_the_candidates_in_the_store():
    actual = json.loads(json_text([], {"searches": GROUP}))["facts"]["searches"]
    assert [line["strategy"] for line in actual[0]["lines"]] == ["linas", "random"]
    assert actual[0]["lines"][0]["hypervolume"]["n"] == 3
    assert "candidates" not in actual[0]


def test_markdown_and_page_tell_the_search():
    assert "predictor's Kendall τ" in markdown([], {"searches": GROUP})
    text = page([], {"searches": GROUP})
    assert "linas × 3 seeds" in text
    assert all(f'data-figure="search-0-{name}"' in text for name in NAMES)


def test_teacher_tokens_are_a_column_only_where_there_are_any():
    assert "teacher_tokens" in [column.key for column in filled(COST, [{"teacher_tokens": 512}])]
    assert "teacher_tokens" not in [column.key for column in filled(COST, [{"teacher_tokens": None}])]


class Shelf:
    """A store of steps in a folder, as the report reads it."""

    def __init__(self, root: Path):
        self.root, self.records = root, {}

    def add(self, key, kind, *, step=None, result=None, parent=None, **files):
        self.records[key] = {
            "kind": kind, "step": step or {}, "parent": parent, "result": result or {},
            "cost": {"seconds": 1.0, "cpu_seconds": 1.0, "peak_memory_bytes": 1},
        }  # fmt: skip
        self.folder(key).mkdir()
        for name, value in files.items():
            (self.folder(key) / f"{name}.json").write_text(json.dumps(value))

    def folder(self, key):
        return self.root / key

    def record(self, key):
        return self.records[key]

    def file(self, key, name):
        path = self.folder(key) / name
        return path if path.is_file() else None


@pytest.fixture
def shelf(tmp_path):
    """A super-network behind three searches, and a recovery behind the first search.

    One of the searches has other items.
    """
    actual, stored = Shelf(tmp_path), {"searcher": "linas", "reference": [1.0, 1.0], "search_seed": 0, "candidates": []}
    facts = {"training_tokens": 100, "teacher_tokens": 40}
    actual.add("net", "supernet", result=facts, losses=[[0, 100, 1.0, "full"]])
    for index, (seed, items) in enumerate(((0, 8), (1, 8), (0, 9))):
        step = {
            "searcher": "linas",
            "options": {},
            "staged": False,
            "evaluations": 9,
            "search_seed": seed,
            "items": items,
        }
        actual.add(f"s{index}", "search", step=step, parent="net", result={"evaluations": 9.0}, records=stored)
    actual.add("r", "recover", result={"training_tokens": 7}, losses=[[0, 7, 1.0, "full"]])
    actual.add("f", "refit", result={"calibration_tokens": 3})
    return actual


RUN = {
    "variants": [
        {"recipe": "nas+recover", "budget": 0.8, "chain": ["net", "s0", "r"]},
        {"recipe": "nas(search_seed=1)", "budget": 0.8, "chain": ["net", "s1"]},
        {"recipe": "nas(search_items=9)", "budget": 0.8, "chain": ["net", "s2", "f"]},
    ]
}


def test_searches_that_differ_by_more_than_how_they_search_are_other_problems(shelf):
    assert [search["problem"] for search in reading._searches(RUN, shelf)] == [0, 0, 1]


def test_a_training_that_variants_share_is_drawn_once(shelf):
    assert list(reading._curves(RUN, shelf)) == ["nas+recover and 2 more super-network", "nas+recover@0.8"]


def test_recovery_and_refit_are_part_of_the_price(shelf):
    first, middle, last = (reading._cost([shelf.record(key) for key in each["chain"]]) for each in RUN["variants"])
    assert (first["training_tokens"], first["teacher_tokens"], first["seconds"]) == (107, 40, 3)
    assert reading._cost([shelf.record("f")])["teacher_tokens"] is None
    assert middle["training_tokens"] == 100
    assert (last["calibration_tokens"], last["search_evaluations"], last["seconds"]) == (3, 9, 3)
