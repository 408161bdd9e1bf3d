"""`harness compare`: the same items, the first name as reference, and items that flipped.

Its numbers agree with the tables.
"""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored_answers import BETTER, DENSE, EQUAL, METRICS, Row, Stored, answered, choice

from harness.cli import main
from harness.evaluation.paired import exact_mcnemar, holm
from reports.compare.flips import shortened
from reports.compare.pairs import compare
from reports.compare.sides import sides

OLD = ["task", "doc_id", "item", "cluster", "loglikelihoods", "lengths", "byte_lengths", "prediction"]
OLD += ["prediction_norm", "target", "loss", "units"]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    return Stored(tmp_path / "store")


@pytest.fixture
def asked(stored: Stored, capsys) -> Callable[..., str]:
    """Call `harness compare` on the store; returns what it printed."""

    def call(*words: str) -> str:
        assert main(["compare", *words, f"store={stored.store.root}"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        return said.out

    return call


@pytest.fixture
def refused(stored: Stored, capsys) -> Callable[..., list[str]]:
    def call(*words: str) -> list[str]:
        assert main(["compare", *words, f"store={stored.store.root}"]) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert all(line.startswith("harness: ") for line in said.err.splitlines())
        return [line.removeprefix("harness: ") for line in said.err.splitlines()]

    return call


def told(text: str) -> dict[str, dict[str, Any]]:
    """The tasks of the first comparison in a JSON report, by name."""
    return {task["task"]: task for task in json.loads(text)["comparisons"][0]["tasks"]}


def flat(text: str) -> str:
    return " ".join(text.split())


def test_differences_are_those_of_the_stored_scores(stored, asked):
    keys = stored.run("r", {"dense": DENSE, "nas@0.75": BETTER})
    reference, variant = (stored.store.result(keys[name])["tasks"] for name in ("dense", "nas@0.75"))
    actual = told(asked("dense", "nas@0.75", "format=json"))
    assert list(actual) == list(METRICS)
    for name, metric in METRICS.items():
        assert actual[name]["metric"] == metric
        assert actual[name]["reference"] == reference[name][metric]
        assert actual[name]["variant"] == variant[name][metric]
    for name in ("piqa", "arc"):  # to rounding: the same sum in another order
        assert actual[name]["estimate"] == pytest.approx(variant[name][METRICS[name]] - reference[name][METRICS[name]])
    ratio = variant["wikitext"]["word_perplexity"] / reference["wikitext"]["word_perplexity"]
    assert actual["wikitext"]["ratio"]["estimate"] == pytest.approx(ratio)
    assert actual["wikitext"]["estimate"] == pytest.approx(math.log(ratio))
    assert actual["wikitext"]["ratio"]["low"] == pytest.approx(math.exp(actual["wikitext"]["low"]))
    assert actual["wikitext"]["smaller_is_better"]
    assert (actual["wikitext"]["lost_count"], actual["wikitext"]["gained_count"]) == (3, 0)  # every page became dearer


def test_bits_and_bytes_agree_with_the_scores_too(stored, asked):
    keys = stored.run("r", {"a": DENSE, "b": BETTER}, metrics={"wikitext": "bits_per_byte"})
    first, second = (stored.store.result(keys[name])["tasks"]["wikitext"]["bits_per_byte"] for name in "ab")
    actual = told(asked("a", "b", "format=json", "task=wikitext"))["wikitext"]
    assert actual["estimate"] == pytest.approx(second - first)
    assert (actual["unit"], actual["ratio"]) == ("bits a byte", None)
    assert "bits a byte worse than a" in flat(asked("a", "b", "task=wikitext"))


def test_the_first_named_is_the_reference(stored, asked):
    stored.run("r", {"dense": DENSE, "nas@0.75": BETTER})
    there, back = (
        told(asked(*names, "format=json"))["piqa"] for names in (("dense", "nas@0.75"), ("nas@0.75", "dense"))
    )
    assert there["estimate"] == -back["estimate"] == pytest.approx(0.35)
    assert there["gained"] == back["lost"]
    assert (len(there["lost"]), len(there["gained"])) == (1, 8)
    assert there["p"] == there["mcnemar_p"] == pytest.approx(exact_mcnemar(1, 8))


def test_a_task_is_told_in_plain_english(stored, asked):
    stored.run("r", {"dense": DENSE, "nas@0.75": BETTER})
    said = flat(asked("dense", "nas@0.75", "task=piqa"))
    assert "piqa (acc): nas@0.75 is 35.0 points above dense (85.0 against 50.0), 95 % [+7.5, +62.5]; " in said
    assert "McNemar p=0.039; 20 items could show 38.8 points or more." in said
    said = flat(asked("dense", "nas@0.75", "task=wikitext"))
    assert "wikitext (word_perplexity): nas@0.75 is 0.0800 nats a word (×1.083) worse than dense" in said
    assert "sign-flip p=0.25; 3 items could show 0.1666 nats a word or more" in said
    assert "[" + said.split("95 % [")[1].split("]")[0] + "]" == "[−0.0537, +0.2137]"


def test_equal_answers_are_level_and_prove_little(stored, asked):
    stored.run("r", {"dense": DENSE, "same": EQUAL})
    said = flat(asked("dense", "same", "task=piqa"))
    assert (
        "same is level with dense (50.0 against 50.0), 95 % [−13.9, +13.9]; McNemar p=1.00; 20 items could show" in said
    )
    assert "nothing varies over the items: no interval" in flat(asked("dense", "same", "task=wikitext"))


def test_holm_counts_every_task_of_every_variant(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER, "c": answered([0] * 20, [0] * 8, [110.0, 150.0, 180.0])})
    report = json.loads(asked("dense", "b", "c", "format=json"))
    each = [task for comparison in report["comparisons"] for task in comparison["tasks"]]
    assert report["tests"] == len(each) == 6
    assert [task["holm_p"] for task in each] == pytest.approx(holm([task["p"] for task in each]))
    assert report["average_tests"] == 2
    averages = [comparison["average"] for comparison in report["comparisons"]]
    assert [task["holm_p"] for task in averages] == pytest.approx(holm([task["p"] for task in averages]))
    said = flat(asked("dense", "b", "c"))
    assert "Holm: p adjusted over 6 tests (variants × tasks), of the mean over 2 tests." in said
    assert f"p={averages[0]['p']:.3f} (Holm" in said or f"p={averages[0]['p']:.2f} (Holm" in said


def test_the_mean_counts_every_task_alike_and_no_perplexity(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    average = json.loads(asked("dense", "b", "format=json"))["comparisons"][0]["average"]
    assert average["task"] == "mean of 2 tasks"
    assert average["estimate"] == pytest.approx((0.35 + 0.0) / 2)  # of 20 and of 8 items
    assert average["variant"] - average["reference"] == pytest.approx(average["estimate"])
    assert json.loads(asked("dense", "b", "task=piqa", "format=json"))["comparisons"][0]["average"] is None


def test_items_are_matched_by_hash_wherever_they_stand(stored, asked):
    mixed = list(BETTER)
    random.Random(0).shuffle(mixed)
    stored.run("r", {"dense": DENSE, "b": BETTER, "mixed": mixed})
    plain, shuffled = (told(asked("dense", name, "format=json")) for name in ("b", "mixed"))
    for task in METRICS:
        assert shuffled[task] == plain[task] | {"sentence": plain[task]["sentence"].replace("b is", "mixed is")}


def test_other_items_are_refused_with_their_number(stored, refused):
    fewer = [row for row in DENSE if not (row["task"] == "piqa" and row["doc_id"] >= 15)]
    other = [row | {"item": "new"} if (row["task"], row["doc_id"]) == ("piqa", 3) else row for row in DENSE]
    stored.run("r", {"dense": DENSE, "fewer": fewer, "other": other})
    assert refused("dense", "fewer") == [
        "piqa: the variants were scored on different items and cannot be compared: 5 of 20 hashes only in dense, "
        "0 of 15 only in fewer; limit=, the data, the number of shots or the prompts differ"
    ]
    assert "1 of 20 hashes only in dense, 1 of 20 only in other" in refused("dense", "other")[0]


def test_an_item_stored_twice_is_refused(stored, refused):
    stored.run("r", {"dense": DENSE, "twice": [*DENSE, DENSE[0]]})
    assert refused("dense", "twice")[0].endswith("holds an item twice")


def test_other_words_to_count_are_refused(stored, refused):
    counted = [row | {"units": 99.0} if row["task"] == "wikitext" else row for row in DENSE]
    stored.run("r", {"dense": DENSE, "other": counted})
    assert refused("dense", "other") == [
        "wikitext: the variants count different units (word_perplexity), so their tokenizers differ"
    ]


def test_tasks_of_one_side_are_left_out_and_named(stored, asked):
    stored.run("r", {"dense": DENSE, "b": [row for row in BETTER if row["task"] != "arc"]})
    assert set(told(asked("dense", "b", "format=json"))) == {"piqa", "wikitext"}
    assert "left out: arc (only in dense)." in asked("dense", "b")


def test_another_metric_may_be_asked_for_and_is_never_mixed(stored, asked, refused):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    actual = told(asked("dense", "b", "metric=acc_norm", "format=json"))
    assert {name: task["metric"] for name, task in actual.items()} == {"piqa": "acc_norm", "arc": "acc_norm"}
    assert actual["arc"]["gained"] == [{"part": "arc", "doc_id": 2, "item": "arc-2"}]
    assert "wikitext (has no acc_norm)" in asked("dense", "b", "metric=acc_norm")
    assert set(told(asked("dense", "b", "metric=byte_perplexity", "format=json"))) == {"wikitext"}
    assert refused("dense", "b", "metric=acc_nrm") == ["metric acc_nrm is unknown; did you mean acc_norm or acc?"]


def test_runs_that_show_different_metrics_are_not_mixed(stored, asked, refused):
    first = stored.run("r", {"dense": DENSE})["dense"]
    second = stored.run("r2", {"b": BETTER}, metrics={"arc": "acc"})["b"]
    [line] = refused(first, second, "task=arc")
    assert line.startswith("arc: the runs show different metrics (acc_norm of 1000")
    assert line.endswith("choose one with metric=")
    assert told(asked(first, second, "task=arc", "metric=acc", "format=json"))["arc"]["metric"] == "acc"


def test_the_newest_run_that_scored_all_is_taken(stored, asked, refused):
    stored.run("r1", {"dense": DENSE, "b": BETTER})
    stored.run("r20", {"dense": DENSE, "b": DENSE, "c": BETTER})
    stored.run("r300", {"dense": DENSE, "b": None})
    actual = json.loads(asked("dense", "b", "format=json"))
    assert {side["run"] for side in actual["sides"]} == {"r20"}
    assert told(asked("dense", "b", "format=json"))["piqa"]["estimate"] == 0
    assert told(asked("dense", "b", "run=r1", "format=json"))["piqa"]["estimate"] > 0
    assert refused("dense", "b", "run=r300") == ["b: not scored yet, or its step failed; harness run does what is left"]
    assert refused("dense", "b", "run=r200") == ["run r200 is not in the store; did you mean r20 or r300?"]


def test_variants_that_no_run_scored_together_are_told_where_they_are(stored, refused):
    stored.run("r1", {"dense": DENSE})
    stored.run("r20", {"b": BETTER})
    assert refused("dense", "b") == [
        "no run scored all of these: dense in r1, b in r20; step keys compare across runs (harness ls lists them)"
    ]


def test_wrong_words_have_nearest_ones(stored, refused):
    assert refused("dense", "b")[0].endswith("holds no run; start with harness run suite=demo")
    stored.run("r", {"dense": DENSE, "nas@0.75": BETTER, "shortgpt+wanda(sparsity=0.5)": BETTER})
    assert refused("dnse", "nas@0.7") == [
        "variant dnse is unknown; did you mean dense?",
        "variant nas@0.7 is unknown; did you mean nas@0.75?",
    ]
    assert refused("dense", "nas@0.75", "task=pika") == ["task pika is unknown; did you mean piqa?"]
    assert refused("dense", "nas@0.75", "tsk=piqa") == ["key tsk is unknown; did you mean task?"]
    assert refused("dense", "nas@0.75", "format=html") == ["format html is unknown; known: json, markdown, table"]
    assert refused("dense", "nas@0.75", "level=95") == ["level must lie in (0, 1), not 95"]
    assert refused("dense", "nas@0.75", "level=high") == ["level must be a number, not high"]
    assert refused("dense", "nas@0.75", "flips=-1") == ["flips must be a whole number from 0 to 1,000,000, not -1"]
    assert refused("dense") == [
        "compare needs two variants or more, the reference first: harness compare dense nas@0.75"
    ]
    assert refused("dense", "dense") == ["dense is named twice; name each variant once"]
    assert refused("dense", "abcdef01") == ["step key abcdef01 fits 0 stored evaluations; harness ls lists the keys"]
    assert refused("dense", "x/items.parquet") == ["x/items.parquet: no such file"]


def test_a_name_may_hold_brackets_and_an_equals_sign(stored, asked):
    stored.run("r", {"dense": DENSE, "shortgpt+wanda(sparsity=0.5)": BETTER})
    assert told(asked("dense", "shortgpt+wanda(sparsity=0.5)", "format=json"))["piqa"]["estimate"] > 0


def test_step_keys_and_files_compare_across_runs_and_stores(stored, asked, tmp_path):
    key = stored.run("r1", {"dense": DENSE})["dense"]
    other = Stored(tmp_path / "other")
    file = other.store.folder(other.run("r2", {"b": BETTER})["b"]) / "items.parquet"
    actual = told(asked(key[:8], str(file), "format=json"))
    assert actual["piqa"]["estimate"] == pytest.approx(0.35)
    assert actual["arc"]["metric"] == "acc_norm"  # the run that it belongs to says so
    assert told(asked("dense", str(file), "format=json"))["piqa"]["estimate"] == pytest.approx(0.35)
    loose = tmp_path / "loose.parquet"
    loose.write_bytes(file.read_bytes())
    assert told(asked(str(loose), str(file), "format=json"))["piqa"]["estimate"] == 0


def test_flips_show_the_question_the_choices_and_who_chose_what(stored, asked):
    stored.run("r", {"dense": DENSE, "nas@0.75": BETTER})
    said = asked("dense", "nas@0.75", "task=piqa", "flips=1")
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert [line for line in lines if " · item " in line] == [
        "lost · piqa · item 0, piqa-0 · right by dense, wrong by nas@0.75",
        "gained · piqa · item 10, piqa-10 · right by nas@0.75, wrong by dense",
    ]
    start = lines.index("lost · piqa · item 0, piqa-0 · right by dense, wrong by nas@0.75")
    assert lines[start + 1 : start + 6] == [
        "Question 0 of piqa?",
        "log-likelihood dense nas@0.75",
        "a stone −3.250 −3.250 ◀",
        "✓ a hen −4.500 ◀ −4.500",
        "a [bold]cow[/bold] −6.000 −6.000",  # an item's brackets are no markup
    ]
    assert "right answer" in said


def test_acc_norm_shows_what_it_chose_by(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    said = flat(asked("dense", "b", "task=arc", "flips=1"))
    assert "log-likelihood a character" in said
    assert "✓ a hen −0.900 ◀ −0.900" in said
    assert "a [bold]cow[/bold] −0.333 −0.333 ◀" in said


def test_as_many_flips_as_asked_for_each_way_and_from_every_task(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    for count, lost, gained in ((0, 0, 0), (2, 2, 2), (100, 2, 9)):  # lost: one of piqa, one of arc
        flips = json.loads(asked("dense", "b", f"flips={count}", "format=json"))["comparisons"][0]["flips"]
        assert [sum(flip["lost"] is way for flip in flips) for way in (True, False)] == [lost, gained]
        assert {flip["task"] for flip in flips} == ({"piqa", "arc"} if count else set())
        assert asked("dense", "b", f"flips={count}").count(" · item ") == lost + gained
        if count == 2:  # the many of piqa do not crowd out the one of arc
            assert [flip["task"] for flip in flips if not flip["lost"]] == ["piqa", "arc"]


def test_items_of_an_older_store_are_named_by_hash_and_number(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER}, columns=OLD)
    said = flat(asked("dense", "b", "task=piqa", "flips=1"))
    assert "lost · piqa · item 0, piqa-0 · right by dense, wrong by b (the text of this item is not stored)" in said
    assert "✓ choice 2 −4.500 ◀ −4.500" in said
    assert told(asked("dense", "b", "format=json"))["wikitext"]["estimate"] > 0


def test_a_probability_mass_is_tested_by_sign_flips(stored, asked):
    def rows(shift: float) -> list[Row]:
        masses = [
            choice(
                "mc2", number, False, False, labels=[1, 1, 0], loglikelihoods=[-3.0, -2.0 - number / 9, -2.5 + shift]
            )
            for number in range(9)
        ]
        return masses

    stored.run("r", {"dense": rows(0.0), "b": rows(0.4)}, metrics={"mc2": "acc"})
    actual = told(asked("dense", "b", "format=json"))["mc2"]
    assert (actual["test"], actual["mcnemar_p"], actual["p"]) == ("sign-flip", None, 2 / 2**9)
    assert actual["lost_count"] == 9
    said = flat(asked("dense", "b", "flips=1"))
    assert "sign-flip p=0.004" in said
    assert "lost · mc2 · item 8, mc2-8 · acc 0." in said  # the largest change first


def test_flips_of_one_passage_are_told(stored, asked):
    def passages(rows: list[Row]) -> list[Row]:
        return [row | {"cluster": str(row["doc_id"] // 5)} for row in rows if row["task"] == "piqa"]

    stored.run("r", {"dense": passages(DENSE), "b": passages(BETTER)}, metrics={"piqa": "acc"})
    said = flat(asked("dense", "b"))
    assert "as flips share passages or subjects (McNemar without them p=0.039)" in said
    assert told(asked("dense", "b", "format=json"))["piqa"]["clusters"] == 4


def test_markdown_is_tables_and_escaped(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    said = asked("dense", "b", "format=markdown", "flips=1")
    widths = {line.count("|") - line.count("\\|") for line in said.splitlines() if line.startswith("| ")}
    assert widths == {13, 5}
    assert "| wikitext | word\\_perplexity | 3 |" in said
    assert "a \\[bold]cow" in said


def test_json_holds_everything(stored, asked):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    report = json.loads(asked("dense", "b", "format=json", "level=0.9"))
    assert (report["reference"], report["level"], report["power"]) == ("dense", 0.9, 0.8)
    [comparison] = report["comparisons"]
    task = comparison["tasks"][0]
    assert {"low", "high", "stderr", "p", "holm_p", "detectable", "clusters", "sentence"} <= set(task)
    assert "90 % [" in task["sentence"]
    flip = comparison["flips"][0]
    assert flip["question"] == "Question 0 of piqa?"
    assert flip["reference"]["loglikelihoods"] == [-3.25, -4.5, -6.0]
    assert (flip["reference"]["value"], flip["variant"]["value"]) == (1.0, 0.0)


@pytest.mark.parametrize("columns", [60, 80, 150])
def test_the_table_fits_the_terminal(stored, asked, monkeypatch, columns):
    stored.run("r", {"dense": DENSE, "shortgpt+wanda(sparsity=0.5)+int8": BETTER})
    monkeypatch.setenv("COLUMNS", str(columns))
    said = asked("dense", "shortgpt+wanda(sparsity=0.5)+int8", "flips=1")
    assert max(map(len, said.splitlines())) <= columns
    assert ("left out at this width" in said) == (columns < 150)


def test_long_questions_keep_their_beginning_and_end():
    text = "passage " * 200 + "is it so?"
    assert len(shortened(text)) <= 320
    assert shortened(text).startswith("passage passage")
    assert shortened(text).endswith("is it so?")
    assert shortened("short") == "short"


def test_sides_come_in_the_order_of_their_names(stored):
    stored.run("r", {"dense": DENSE, "b": BETTER, "c": DENSE})
    report = compare(sides(["c", "b", "dense"], stored.store))
    assert [(each.reference, each.variant) for each in report.comparisons] == [("c", "b"), ("c", "dense")]


def test_a_comparison_loads_no_torch(stored):
    stored.run("r", {"dense": DENSE, "b": BETTER})
    words = ["compare", "dense", "b", f"store={stored.store.root}"]
    code = f"import sys; from harness.cli import main; assert main({words}) == 0; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
