"""Published tables: every shipped one can be run as it stands.

It is printed beside what was measured of its rows.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from runs import planned, ran, words
from stored_answers import METRICS, Row, answered

from harness import config, papers, registry
from harness.cli import main
from harness.data import suites
from harness.evaluation.paired import holm
from harness.papers import Paper
from harness.quantities import metric as named
from harness.words import recipes
from reports.compare.pairs import compare
from reports.compare.sides import Side
from reports.paper import paper_text
from reports.paper.table import beside

OWN = {
    "title": "Mine",
    "model": "Large-7B",
    "source": "a paper",
    "run": {"suite": "demo"},
    "rows": [
        {"recipe": "dense", "published": {"demo_piqa": 80.0, "demo_arc_easy": 70.0}},
        {"recipe": "wanda(sparsity=0.5)", "published": {"demo_piqa": 70.0, "demo_arc_easy": 60.0}},
        {"recipe": "magnitude(sparsity=0.5)", "published": {"average": 50.0}},
    ],
}


@pytest.mark.parametrize("name", papers.known())
def test_a_shipped_table_can_be_run_as_it_stands(name):
    """Each row's recipe parses with what it needs written.

    Its scores are columns of the suite that the table names.
    """
    run = config.compose([f"paper={name}", "model=random-llama"])
    paper = papers.read(name)
    assert [row.recipe for row in paper.rows] == list(run.methods)
    assert (run.suite, run.quantizers) == (paper.run["suite"], ("none",))
    columns = {task.name or task.task for task in suites.read(run.suite).tasks}
    for row in paper.rows:
        assert set(row.published) <= columns | {papers.AVERAGE}
        for part in recipes.parts(row.recipe):
            kind, fields = registry.parse(part, run.settings)
            assert not kind.open_budget(fields), part
            registry.build(kind, fields)


def test_the_tables_of_the_methods_with_checked_numbers_are_shipped():
    assert {
        "llm_pruner",
        "flap",
        "shortened_llama",
        "slicegpt_wikitext2",
        "slicegpt_alpaca",
        "multipruner",
        "wanda",
    } == set(papers.known())


def test_an_average_that_is_published_with_its_scores_is_their_mean():
    """Of LLM-Pruner's table, whose averages its figure has too: 63.25, 56.69, 56.82, 59.23, 60.07."""
    rows = papers.read("llm_pruner").rows
    metrics = {task.task: task.metric or "acc" for task in suites.read("llm_pruner").tasks}
    scores = [[row.published[task] for task, metric in metrics.items() if named(metric).averages] for row in rows]
    assert [round(sum(each) / 7, 2) for each in scores] == [63.25, 56.69, 56.82, 59.23, 60.07]


def test_words_of_ones_own_go_before_the_papers():
    run = config.compose(["paper=wanda", "suite=demo", "methods=[dense,wanda]", "model=random-llama"])
    assert (run.suite, run.methods, run.paper) == ("demo", ("dense", "wanda"), "wanda")
    assert config.compose(["paper=slicegpt_alpaca", "model=random-llama"]).calibration.text == "alpaca"


def test_a_row_of_a_file_is_found_by_the_name_its_variant_has():
    row = papers.PaperRow(recipe="external:some/place/mine.yaml(budget=0.5)", published={"average": 1})
    assert row.name == "external:mine(budget=0.5)"


def test_an_unknown_paper_has_a_nearest_one(capsys):
    assert main(["run", "paper=llm_prunner", "sute=demo"]) == 2
    said = capsys.readouterr().err
    assert "paper=llm_prunner is unknown; did you mean llm_pruner" in said
    assert "key sute is unknown" in said  # with everything else that is wrong


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"rows": OWN["rows"][1:]}, "the first row is dense"),
        ({"run": {}}, "run names a suite"),
        ({"rows": [*OWN["rows"], {"recipe": "wanda"}]}, "rows.3.published"),
        ({"titel": "x"}, "titel"),
    ],
    ids=["dense", "suite", "published", "key"],
)
def test_what_is_wrong_in_a_paper_file_is_one_line(tmp_path, change, what):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(OWN | change))
    with pytest.raises(ValueError, match="paper file") as caught:
        papers.read(str(path))
    [line] = str(caught.value).splitlines()
    assert what in line
    assert str(path) in line


def test_a_window_is_for_running_text_only(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({"name": "mine", "tasks": [{"task": "demo_piqa", "window": 64}]}))
    with pytest.raises(ValueError, match=r"^demo_piqa: window=64 is for tasks of running text \(token_perplexity\)$"):
        suites.sources(suites.read(str(path)), None, [])


def test_the_window_of_a_suite_decides_its_perplexity(data_dir):
    [spec] = suites.sources(suites.read("wanda"), data_dir, [])[0]
    assert spec.window == 4096
    assert (
        next(spec for spec in suites.sources(suites.read("llm_pruner"), data_dir, [])[0] if "wiki" in spec.name).window
        == 128
    )
    [default] = [
        spec for spec in suites.sources(suites.read("perplexity"), data_dir, [])[0] if spec.name == "wikitext2_token"
    ]
    assert default.window == 2048


@pytest.fixture
def told(tmp_path, capsys):
    """Run the rows of a paper of our own, and return a function that reports it in a format."""
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps(OWN))
    asked = [word for word in words(tmp_path) if not word.startswith("suite=")]
    assert main(["run", f"paper={path}", *asked]) == 0
    capsys.readouterr()

    def call(form: str) -> str:
        assert main(["report", f"paper={path}", f"store={tmp_path / 'store'}", f"format={form}"]) == 0
        return capsys.readouterr().out

    return call


def test_a_papers_rows_are_run_and_stand_beside_the_published_ones(told, tmp_path):
    from harness.storage.store import Store
    from reports.run import rows as reading

    store = Store(tmp_path / "store")
    mine = {row["variant"]: row for row in reading.read(store.runs()[-1], store)[0]}
    assert list(mine) == [row["recipe"] for row in OWN["rows"]]
    report = json.loads(told("json"))
    assert report["measured_model"] == "random-llama, float32, the first 2 items a task"
    whole = (mine["dense"]["demo_piqa.acc"] + mine["dense"]["demo_arc_easy.acc"]) / 2
    for line, row in zip(report["lines"], OWN["rows"], strict=True):
        actual = mine[line["recipe"]]
        mean = (
            actual["demo_piqa.acc"] + actual["demo_arc_easy.acc"]
        ) / 2  # of the seven that were run, the paper's two
        assert line["measured"]["average"] == pytest.approx(100 * mean)
        assert line["measured"]["demo_piqa"] == pytest.approx(100 * actual["demo_piqa.acc"])
        assert line["published"].items() >= row["published"].items()
        if line["recipe"] != "dense":
            assert line["measured_distance"]["average"]["value"] == pytest.approx(100 * (mean - whole))
    assert [line["published"]["average"] for line in report["lines"]] == [75, 65, 50]
    assert [line["published_distance"].get("average", {}).get("value") for line in report["lines"]] == [None, -10, -25]
    text = told("table")
    assert "published: Large-7B, a paper; here: random-llama" in text
    assert "order by average:" in text
    assert "| magnitude(sparsity=0.5) | 50.0 | −25.0 |" in told("markdown")


def test_latex_has_a_row_a_line_and_nothing_that_tex_would_read(told):
    text = told("latex")
    body = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len(body) == 4
    assert {line.count(" & ") for line in body} == {4}
    assert text.count(r"\begin{tabular}{lrrrr}") == 1
    spoken = [line for line in text.splitlines() if not line.startswith("%")]
    assert not any(letter in line.replace(r"\%", "").replace(r"\_", "") for line in spoken for letter in "%_×−Δ–")


def test_a_run_without_the_papers_rows_is_refused(tmp_path, capsys):
    ran(tmp_path, "methods=[shortgpt]", "budgets=[0.8]", "quantizers=[none]", "measure.speed=false")
    assert main(["report", "paper=wanda", f"store={tmp_path / 'store'}"]) == 2
    assert "measured no row of paper=wanda; measure them with harness run paper=wanda" in capsys.readouterr().err


def side(name: str, rows: list[Row]) -> Side:
    tasks = {task: [row for row in rows if row["task"] == task] for task in METRICS}
    return Side(name, Path("items"), {task: actual for task, actual in tasks.items() if actual}, METRICS, "r")


def ordered(published: list[tuple[float, float]], answers: list[list[Row]]):
    """The table of dense and rows a, b, c with these averages and perplexities, beside these answers."""
    rows = [
        {"recipe": name, "published": {"average": average, "wikitext": loss}}
        for name, (average, loss) in zip(("dense", "a", "b", "c"), published, strict=False)
    ]
    paper = Paper(title="t", model="m", source="s", run={"suite": "x"}, rows=rows)  # type: ignore[arg-type]
    sides = {row["recipe"]: side(row["recipe"], actual) for row, actual in zip(rows, answers, strict=True)}
    return beside(paper, [], sides, METRICS), sides


GOOD = answered([1] * 20, [1] * 8, [50.0 + index for index in range(8)])
MIDDLE = answered([1] * 6 + [0] * 14, [1] * 8, [60.0 + index for index in range(8)])
BAD = answered([0] * 20, [1] * 4 + [0] * 4, [90.0 + 2 * index for index in range(8)])


def test_the_order_of_pairs_is_tested_and_not_only_looked_at():
    table, sides = ordered([(80, 5), (70, 6), (60, 9), (65, 7)], [GOOD, MIDDLE, GOOD, BAD])
    average, perplexity = table.orders
    assert average.agreeing == average.sure == [("a", "c")]
    assert set(average.differing) == set(average.opposed) == {("a", "b"), ("c", "b")}
    assert (len(perplexity.agreeing), len(perplexity.differing)) == (1, 2)
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    actual = [compare([sides[one], sides[other]]).comparisons[0].average for one, other in pairs]
    adjusted = holm([each.difference.p for each in actual if each])
    assert all(p < 0.05 for p in adjusted)
    notes = paper_text.notes(table, "model")
    assert "significantly reversed by average: b before a" in notes


def test_a_published_tie_has_no_order():
    table, _ = ordered([(80, 5), (60, 6), (60, 9)], [GOOD, MIDDLE, BAD])
    assert [order.measure for order in table.orders] == ["perplexity"]


def test_averages_are_over_the_same_tasks_on_both_sides():
    """A run of fewer tasks than the paper's has averages of those.

    A published average over all of them stands no more.
    """
    rows = [
        {"recipe": "dense", "published": {"piqa": 80, "arc": 60, "boolq": 70}},
        {"recipe": "a", "published": {"piqa": 70, "arc": 40, "boolq": 10}},
        {"recipe": "b", "published": {"average": 50}},
    ]
    paper = Paper(title="t", model="m", source="s", run={"suite": "x"}, rows=rows)  # type: ignore[arg-type]
    sides = {name: side(name, actual) for name, actual in zip(("dense", "a", "b"), (GOOD, MIDDLE, BAD), strict=True)}
    measured = [
        {"variant": name, "piqa.acc": 0.5, "arc.acc_norm": 0.25, "wikitext.word_perplexity": 9.0} for name in sides
    ]
    table = beside(paper, measured, sides, METRICS)
    assert list(table.metrics) == ["piqa", "arc"]
    assert [line.published.get("average") for line in table.lines] == [70, 55, None]
    assert [line.measured["average"] for line in table.lines] == [37.5] * 3
    extra = beside(paper, measured, {}, METRICS | {"boolq": "acc"})
    assert [line.published["average"] for line in extra.lines] == [70, 40, 50]


def test_rows_that_differ_by_luck_are_sure_of_nothing():
    lucky = answered([1] * 7 + [0] * 13, [1] * 8, [60.001 + index * 1.0001 for index in range(8)])
    table, _ = ordered([(80, 5), (70, 6), (60, 9)], [GOOD, MIDDLE, lucky])
    average = table.orders[0]
    assert (average.agreeing, average.differing) == ([], [("a", "b")])
    assert average.sure == average.opposed == []


def test_too_few_items_to_be_sure_of_any_pair_are_told():
    few = [[row for row in rows if row["doc_id"] < 5] for rows in (GOOD, MIDDLE, BAD)]
    table, _ = ordered([(80, 5), (70, 6), (60, 9)], few)
    [perplexity] = [note for note in paper_text.notes(table, "model") if note.startswith("order by perplexity")]
    assert perplexity.endswith(
        "1 of 1 pairs of pruned rows as published; 5 items can be sure of none of so many pairs: raise limit="
    )


def test_a_row_that_was_not_measured_says_why():
    table, _ = ordered([(80, 5), (70, 6), (60, 9)], [GOOD, MIDDLE, BAD])
    paper = table.paper
    left = beside(paper, [{"variant": "b", "reason": "out of memory"}], {"dense": side("dense", GOOD)}, METRICS)
    assert [line.reason for line in left.lines] == ["", "not in this run", "out of memory"]
    assert left.orders == []
    assert "b: not measured: out of memory" in paper_text.notes(left, "model")


def test_a_perplexitys_distance_is_a_ratio_with_its_interval():
    table, sides = ordered([(80, 5), (70, 6), (60, 9)], [GOOD, MIDDLE, BAD])
    [_, middle, _] = table.lines
    assert middle.published_distance["perplexity"].value == pytest.approx(6 / 5)
    actual = middle.measured_distance["perplexity"]
    score = compare([sides["dense"], sides["a"]], tasks=["wikitext"]).comparisons[0].tasks[0]
    assert actual.value == pytest.approx(score.variant / score.reference)
    assert actual.low is not None
    assert actual.high is not None
    assert actual.low < actual.value < actual.high


def test_a_paper_shares_its_steps_with_other_runs(tmp_path):
    """A row of a paper is the same step that the budget of any other run made.

    That holds for the same model at the same settings.
    """
    mine, _ = planned(tmp_path, "methods=['llm_pruner(budget=0.8)']", "quantizers=[none]")
    other, _ = planned(tmp_path, "methods=[llm_pruner]", "budgets=[0.8]", "quantizers=[none]")
    assert mine.variants[1].checkpoint.key == other.variants[1].checkpoint.key
