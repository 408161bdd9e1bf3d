"""The Python API: what is stored as tables, without torch; a run made with the command line's words."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runs import QUICK

from harness import api, config
from harness.cli import main
from harness.measures.all_measures import table
from reports.run import row_keys

WORDS = (*QUICK, "methods=[middle]", "budgets=[0.8]", "quantizers=[none]", "measure.speed=false")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return api.execute(*WORDS, store=tmp_path_factory.mktemp("api") / "store")


def test_a_run_is_made_and_opened_again_as_it_was(made):
    assert made.variants == ["dense", "middle@0.8"]
    assert made.failed == {}
    again = api.Run.open(made.store.root)
    assert again.rows == made.rows
    assert api.Run.open(made.store.root, made.record["id"]).record == made.record
    assert again.facts["model"] == "random-llama"


def test_the_table_has_the_columns_and_numbers_of_the_csv(made, tmp_path):
    table = made.table()
    assert main(["report", f"store={made.store.root}", f"report={tmp_path / 'report'}"]) == 0
    with (tmp_path / "report" / "report.csv").open() as stream:
        written = list(csv.DictReader(stream))
    assert table.column_names == list(written[0])
    assert [float(row["average"]) for row in written] == pytest.approx(table["average"].to_pylist())


def test_every_column_is_in_the_reference(made):
    """As it stands there, or a quantity's bound, or of a task or a batch size."""
    meant = {*row_keys.IDENTITY, *row_keys.BESIDE, *row_keys.TASKS, *table()}
    names = made.record["metrics"]

    def written(key: str) -> str:
        task, _, score = key.rpartition(".")
        if task in names:
            other = re.sub(r"^(?!stderr$|n$).*?(_stderr)?$", r"METRIC\1", score)
            return f"TASK.{other}"
        return re.sub(r"_b\d+\.", "_bN.", re.sub("_(low|high)$", "", key))

    assert [key for key in made.table().column_names if written(key) not in meant] == []


def test_items_are_those_of_the_task_that_was_asked_for(made):
    every, some = made.items("dense"), made.items("dense", "demo_piqa")
    assert set(some["task"].to_pylist()) == {"demo_piqa"}
    assert 0 < some.num_rows == 2 < every.num_rows


def test_what_is_not_there_is_told_with_what_is(made, tmp_path):
    with pytest.raises(ValueError, match=r"variant sparse is not in the run; it has dense, middle@0.8"):
        made.items("sparse")
    with pytest.raises(ValueError, match="task piqa is not among demo_boolq"):
        made.items("dense", "piqa")
    with pytest.raises(ValueError, match="no such folder"):
        api.Run.open(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="suite=demmo is unknown"):
        api.execute("suite=demmo", store=tmp_path / "store")


def test_a_variant_that_failed_has_a_reason_and_no_items(tmp_path):
    words = [word for word in WORDS if not word.startswith(("methods", "budgets"))]
    made = api.execute(*words, "methods=[inheritune]", "budgets=[0.01]", store=tmp_path / "store")
    assert list(made.failed) == ["inheritune@0.01"]
    with pytest.raises(ValueError, match=r"inheritune@0.01 was not scored: "):
        made.items("inheritune@0.01")


def test_opening_and_reading_loads_no_torch(made):
    script = (
        "import sys; from harness.api import Run\n"
        f"run = Run.open({str(made.store.root)!r}); run.table(); run.items('dense')\n"
        "assert not {'torch', 'transformers', 'lm_eval'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_the_code_of_the_page_does_what_it_says(made, tmp_path, monkeypatch):
    page = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "python.md"
    opening, making = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harness-store").symlink_to(made.store.root)
    told: dict[str, Any] = {}
    exec(opening, told)
    assert (told["table"].num_rows, len(told["frame"]), told["items"].num_rows) == (2, 2, 2)
    asked: list[str] = []
    monkeypatch.setattr(api, "execute", lambda *words, store: asked.extend(words))
    exec(making, {})
    assert config.compose(asked).methods == ("nas", "shortgpt")
