"""Suites name tasks that exist; a suite file that is wrong is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.data import catalogue, origin, suites
from harness.data.catalogue import DEMO_FORMATS
from harness.data.mirror import demo_folder


@pytest.mark.parametrize("name", suites.known())
def test_a_shipped_suite_names_what_exists(name):
    suite = suites.read(name)
    assert suite.name == name
    assert all(catalogue.layout(task) is not None for task in [*(task.task for task in suite.tasks), *suite.search])
    assert {suite.calibration, suite.training} <= set(catalogue.TEXT)


def test_the_shipped_suites_are_found():
    assert {"demo", "commonsense", "llama_nas", "parity", "perplexity", "subnetwork11"} <= set(suites.known())


def test_subnetwork11_has_eleven_tasks_and_llama_nas_five():
    assert len(suites.read("subnetwork11").tasks) == 11
    assert {task.task: task.shots for task in suites.read("llama_nas").tasks} == {
        **dict.fromkeys(("arc_easy", "arc_challenge", "truthfulqa_mc1", "winogrande")),
        "mmlu": 5,
    }


@pytest.mark.parametrize("name", suites.known())
def test_a_suite_file_says_where_it_comes_from(name):
    assert (Path(str(demo_folder())) / f"{name}.yaml").read_text().startswith("# ")


def test_the_demo_suite_has_the_metrics_of_the_suite_it_stands_for():
    shown, stands_for = (
        {task.task.removeprefix("demo_"): task.metric for task in suites.read(name).tasks}
        for name in ("demo", "commonsense")
    )
    assert shown == stands_for
    assert set(shown) == set(DEMO_FORMATS)


def suite_file(place: Path, content: object) -> str:
    path = place / "mine.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_users_suite_is_read_from_its_path(tmp_path):
    path = suite_file(
        tmp_path, "name: mine\ntasks:\n  - {task: demo_piqa, metric: acc_norm, shots: 2}\nsearch: [demo_arc_easy]\n"
    )
    suite = suites.read(path)
    report, search = suites.sources(suite, None, [])
    assert [(spec.name, spec.metric, spec.shots) for spec in report] == [("demo_piqa", "acc_norm", 2)]
    assert [spec.name for spec in search] == ["demo_arc_easy"]
    assert (suite.calibration, suite.training) == ("wikitext2", "alpaca")


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        ({"name": "x", "tasks": [{"task": "piqa", "metric": 1}]}, "tasks.0.metric", "valid string"),
        ({"name": "x", "tasks": [{"task": "piqa"}] * 2}, "piqa", "occurs twice"),
        ({"name": "x", "tasks": [{"task": "piqa", "shots": -1}]}, "tasks.0.shots", "greater than or equal to 0"),
        ({"name": "x", "tasks": [{"task": "piqa"}], "serch": []}, "serch", "search"),
        ({"name": "x", "tasks": []}, "tasks", "at least 1"),
        ({"tasks": [{"task": "piqa"}]}, "name", "required"),
        ({"name": "x", "tasks": [{"task": "wikitext2"}]}, "tasks.0.task", "held out is the task wikitext2_token"),
        ("", "", ""),
        ("name: [", "", ""),
    ],
    ids=["metric", "twice", "shots", "key", "no tasks", "no name", "learnt from", "empty", "no YAML"],
)
def test_what_is_wrong_in_a_suite_file_is_one_line_that_names_file_and_field(tmp_path, content, where, what):
    path = suite_file(tmp_path, content)
    with pytest.raises(ValueError, match="suite") as caught:
        suites.read(path)
    [line] = str(caught.value).splitlines()
    assert path in line
    assert where in line
    assert what in line
    assert "pydantic" not in line


def test_an_unknown_suite_names_the_nearest_and_a_missing_file_itself(tmp_path):
    with pytest.raises(ValueError, match=r"^suite=commonsens is unknown; did you mean commonsense\?$"):
        suites.read("commonsens")
    with pytest.raises(ValueError, match=r"mine\.yaml: no such file$"):
        suites.read(f"{tmp_path}/mine.yaml")


def test_an_optional_task_without_data_is_left_out_with_a_notice(tmp_path):
    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "test.jsonl").write_text('{"page": "one page"}\n')
    notices: list[str] = []
    report, search = suites.sources(suites.read("perplexity"), tmp_path, notices)
    assert [spec.name for spec in report] == ["wikitext", "wikitext2_token"]
    assert search == ()
    assert [notice.split(":")[0] for notice in notices] == [
        "ptb_token",
        *(f"search leaves out {name}" for name in ("arc_easy", "arc_challenge", "openbookqa", "winogrande")),
        f"wikitext2/test.jsonl in data_dir={tmp_path} holds 1 of 62 rows",
    ]


def test_all_missing_data_is_told_at_once(tmp_path):
    with pytest.raises(ValueError, match="lacks") as caught:
        suites.sources(suites.read("commonsense"), tmp_path, [])
    assert len(str(caught.value).splitlines()) == 7


def test_data_is_known_by_its_bytes_and_not_by_its_place(tmp_path):
    for place, goal in (("a", "Warm up."), ("b", "Warm up."), ("c", "Cool down.")):
        (tmp_path / place / "piqa").mkdir(parents=True)
        (tmp_path / place / "piqa" / "validation.jsonl").write_text(json.dumps({"goal": goal}) + "\n\n")
    a, b, c = (origin.source("piqa", tmp_path / place) for place in "abc")
    assert a.fingerprint_fields() == b.fingerprint_fields() != c.fingerprint_fields()
    assert a.rows == 1
