"""Evaluation keeps every item, says what lm-eval says for every kind of task, and survives a kill."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from lm_eval.evaluator import evaluate

from harness import config, graph
from harness.data import suites, tasks
from harness.evaluation import evaluate as evaluation
from harness.evaluation.evaluate import Evaluate, lm_eval_rows
from harness.evaluation.items import EMPTY, aggregate, present, scores, units, value
from harness.evaluation.journal import Journal
from harness.evaluation.lm import TreeLM
from harness.execution import Watch, execute
from harness.quantities import metric
from harness.spec import Work
from harness.storage.store import Store

ROWS = [
    {"question": f"How many legs have {count} cats?", "answer": str(4 * count), "pair": [str(4 * count), str(count)]}
    for count in range(1, 7)
]
KINDS = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{pair}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    },
    "last_word": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{question}}",
        "doc_to_target": " {{answer}}",
        "metric_list": [
            {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        ],
    },
    "text": {
        "output_type": "loglikelihood_rolling",
        "doc_to_text": "",
        "doc_to_target": "{{question}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "byte_perplexity"}, {"metric": "bits_per_byte"}],
    },
    "spoken": {
        "output_type": "generate_until",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"], "max_gen_toks": 4, "do_sample": False},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    },
}


@pytest.fixture
def mine(tmp_path) -> Path:
    """A suite file with a task of every kind, whose definitions lie beside it."""
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    base = {"dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "items.jsonl"}}, "test_split": "test"}
    for name, keys in KINDS.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"task": name, **base, **keys}))
    (tmp_path / "mine.yaml").write_text(json.dumps({"name": "mine", "tasks": [{"task": name} for name in KINDS]}))
    return tmp_path / "mine.yaml"


@pytest.fixture
def specs(mine):
    return suites.sources(suites.read(str(mine)), None, [])[0]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_task_gets_the_numbers_that_lm_eval_gives(name, specs, tiny, tmp_path):
    model, tokenizer = tiny
    [spec] = [spec for spec in specs if spec.name == name]
    parts = tasks.load((spec,), tmp_path / "made")[name]
    rows = lm_eval_rows(name, parts, TreeLM(model, tokenizer), None)
    theirs = evaluate(TreeLM(model, tokenizer), {"tasks": parts}, bootstrap_iters=0)["results"][name]
    assert len(rows) == len(ROWS)
    for kind in [actual["metric"] for actual in KINDS[name]["metric_list"]]:
        assert kind in present(rows[0])
        assert scores(rows, spec.others[kind])[kind] == pytest.approx(theirs[f"{kind},none"], rel=1e-9)


def test_a_task_that_judges_in_its_own_way_is_believed(specs, tiny, tmp_path):
    model, tokenizer = tiny
    [spec] = [spec for spec in specs if spec.name == "choice"]
    parts = tasks.load((spec,), tmp_path / "made")["choice"]
    parts["choice"].process_results = lambda document, results: {"acc": 0.25, "acc_norm": 0.5}
    rows = lm_eval_rows("choice", parts, TreeLM(model, tokenizer), None)
    assert [value(row, metric("acc")) for row in rows] == [0.25] * len(ROWS)
    assert scores(rows, metric("acc_norm"))["acc_norm"] == 0.5


def test_mass_on_true_answers_is_truthfulqas_second_metric():
    row = EMPTY | {"loglikelihoods": [-1.0, -2.0, -3.0], "labels": [1, 0, 1], "prediction": 0, "target": 0}
    expected = (2.718281828**-1 + 2.718281828**-3) / sum(2.718281828**-power for power in (1, 2, 3))
    assert value(row, metric("acc")) == pytest.approx(expected, rel=1e-6)


def test_byte_metrics_divide_by_bytes():
    row = EMPTY | {"loss": 8.0, "units": 2.0, "byte_lengths": [16]}
    assert (
        units(row, metric("word_perplexity")),
        units(row, metric("byte_perplexity")),
        units(row, metric("acc")),
    ) == (2.0, 16.0, 1.0)
    import numpy as np

    assert aggregate(np.array([8.0]), np.array([16.0]), metric("bits_per_byte")) == pytest.approx(0.5 / np.log(2))


@pytest.fixture
def step(specs, tiny_folder, tmp_path):
    """An evaluation of the tiny model on all kinds of tasks, and where it works."""
    made = Evaluate(tasks=specs, batch_tokens=16)

    def work(name: str) -> Work:
        actual = Work(tmp_path / name, tmp_path / "scratch", Store(tmp_path / "store"), "key", (), (), "cpu")
        actual.draft.mkdir()
        actual.scratch.mkdir(exist_ok=True)
        actual.checkpoint = lambda keys=(): tiny_folder  # type: ignore[method-assign]
        return actual

    return made, work


def test_a_killed_evaluation_goes_on_at_the_item_where_it_stopped(step, monkeypatch):
    made, work = step
    add, calls = Journal.add, []

    def dying(self, answers):
        if len(calls) == 2:
            raise KeyboardInterrupt
        pairs = list(answers)
        calls.append(pairs)
        add(self, pairs)

    monkeypatch.setattr(Journal, "add", dying)
    killed = work("killed")
    with pytest.raises(KeyboardInterrupt):
        made.run(killed)
    kept = {key for pairs in calls for key, _ in pairs}
    assert not (killed.scratch / "choice.parquet").exists(), "killed inside the first task"
    later: list[str] = []

    def listening(self, answers):
        pairs = list(answers)
        later.extend(key for key, _ in pairs)
        add(self, pairs)

    monkeypatch.setattr(Journal, "add", listening)
    resumed = work("resumed")
    made.run(resumed)
    assert kept
    assert not kept & set(later), "no kept answer is asked for again"
    rows = pq.read_table(resumed.draft / "items.parquet").to_pylist()
    assert {row["task"] for row in rows} == set(KINDS)
    assert len(rows) == len(KINDS) * len(ROWS)


def test_stored_numbers_are_those_recomputed_from_the_stored_items(step):
    made, work = step
    done = work("done")
    made.run(done)
    rows = pq.read_table(done.draft / "items.parquet").to_pylist()
    for spec in made.tasks:
        assert done.result["tasks"][spec.name] == scores(
            [row for row in rows if row["task"] == spec.name], spec.quantity
        )


def test_a_run_on_a_suite_of_ones_own_ends_in_complete_rows(mine, tmp_path):
    run = config.compose(
        [
            f"suite={mine}",
            "model=random-llama",
            "methods=[dense]",
            "quantizers=[none]",
            "dtype=float32",
            "measure.speed=false",
            f"store={tmp_path / 'store'}",
        ]
    )
    store = Store(run.store)
    store.prepare()
    made = graph.build(run)
    assert not execute(made, store, Watch()).failed
    actual = store.result(made.variants[0].measures["evaluate"].key)["tasks"]
    assert {name: spec_metric in actual[name] for name, spec_metric in made.metrics.items()} == dict.fromkeys(
        KINDS, True
    )


def test_windows_are_remembered_too(tiny, tmp_path, monkeypatch):
    from harness.data.origin import local_source
    from harness.spec import TaskSpec

    (tmp_path / "wikitext2").mkdir()
    (tmp_path / "wikitext2" / "test.jsonl").write_text(json.dumps({"page": "the cat sat on the mat. " * 40}) + "\n")
    spec = TaskSpec(source=local_source("wikitext2_token", tmp_path), metric="token_perplexity", window=64)
    model, tokenizer = tiny

    def scorer() -> TreeLM:
        return TreeLM(model, tokenizer, journal=Journal(tmp_path / "answers.jsonl"), batch_tokens=64)

    rows = evaluation._windows(spec, tokenizer, scorer(), None)
    assert len(rows) > 5
    monkeypatch.setattr(type(model), "get_decoder", lambda *_: 1 / 0)
    assert evaluation._windows(spec, tokenizer, scorer(), None) == rows


def test_a_limit_counts_for_each_part_of_a_group_in_the_estimate():
    from harness.spec import DataSource, TaskSpec

    def tokens(name: str, limit: int) -> float:
        return Evaluate(tasks=(TaskSpec(source=DataSource(name=name, rows=14042)),), limit=limit).cost().forward_tokens

    assert tokens("mmlu", 10) == 57 * tokens("arc_easy", 10)
    assert tokens("mmlu", 10**6) == tokens("arc_easy", 10**6)


def test_an_item_shows_its_question_and_is_clustered_by_its_passage(tiny, tmp_path):
    spec = next(spec for spec in suites.sources(suites.read("demo"), None, [])[0] if spec.name == "demo_boolq")
    parts = tasks.load((spec,), tmp_path / "made")["demo_boolq"]
    rows = lm_eval_rows("demo_boolq", parts, TreeLM(*tiny), 4)
    documents = list(parts["demo_boolq"].eval_docs)[:4]
    for row, document in zip(rows, documents, strict=True):
        assert document["question"] in row["question"]
        assert document["passage"] in row["question"]
    passages = {document["passage"]: row["cluster"] for row, document in zip(rows, documents, strict=True)}
    assert [passages[document["passage"]] for document in documents] == [row["cluster"] for row in rows]


def test_choices_that_are_contexts_are_shown_though_the_same_words_are_scored(tiny, tmp_path):
    spec = next(spec for spec in suites.sources(suites.read("demo"), None, [])[0] if spec.name == "demo_winogrande")
    parts = tasks.load((spec,), tmp_path / "made")["demo_winogrande"]
    for row in lm_eval_rows("demo_winogrande", parts, TreeLM(*tiny), 4):
        assert len(set(row["choices"])) == 2
        assert len(set(row["lengths"])) == 1
