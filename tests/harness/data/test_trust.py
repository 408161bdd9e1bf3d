"""A task definition is code.

Templates run in a sandbox, functions come from lm-eval or from beside the suite, names are no paths.
"""

from __future__ import annotations

import json
from pathlib import Path

import jinja2.sandbox
import pytest
from runs import planned

from harness import config
from harness.data import templates

ITEMS = [{"q": f"{a} + {b} =", "choices": [str(a + b), str(a - b - 1)], "label": 0} for a in range(2) for b in range(2)]
TASK = {
    "task": "sums",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "sums.jsonl"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "{{choices}}",
    "doc_to_target": "label",
}
QUICK = ("methods=[dense]", "quantizers=[none]", "measure.speed=false")


def suite(folder: Path, more: str = "", **keys) -> Path:
    """Write a suite with one task of its own; `more` is added to its YAML as it is."""
    folder.mkdir(exist_ok=True)
    (folder / "sums.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    (folder / "sums.yaml").write_text(
        "\n".join(f"{key}: {json.dumps(value)}" for key, value in {**TASK, **keys}.items() if value is not None)
        + "\n"
        + more
    )
    (folder / "mine.yaml").write_text(json.dumps({"name": "mine", "tasks": [{"task": "sums"}]}))
    return folder / "mine.yaml"


def refused(tmp_path: Path, file: Path) -> str:
    with pytest.raises(config.ConfigErrors) as caught:
        planned(tmp_path, f"suite={file}", *QUICK)
    return str(caught.value)


@pytest.mark.timeout(300)
def test_a_template_that_would_run_a_command_fails_and_runs_nothing(tmp_path):
    """The usual way out of a template: from a string's class to the modules that Python has loaded."""
    touched = tmp_path / "touched"
    attack = "{{ cycler.__init__.__globals__.os.system('touch " + str(touched) + "') }}"
    file = suite(tmp_path / "suite", doc_to_text=attack)
    assert "SecurityError" in refused(tmp_path, file)
    assert not touched.exists()


def test_every_template_of_lm_eval_is_filled_in_by_the_sandbox():
    from lm_eval import utils

    assert isinstance(templates.sandbox(), jinja2.sandbox.SandboxedEnvironment)
    assert utils.env is templates.sandbox()
    assert utils.apply_template("{{ q | regex_replace('b', 'c') }}\n", {"q": "abc"}) == "acc\n"


def test_a_function_from_beside_the_suite_is_taken_and_belongs_to_the_key(tmp_path):
    more = "process_docs: !function sums_code.kept\n"
    keys = []
    for number, body in enumerate(("return docs", "return docs", "return docs.select([0])")):
        folder = tmp_path / str(number)
        file = suite(folder, more)
        (folder / "sums_code.py").write_text(f"def kept(docs):\n    {body}\n")
        keys.append(planned(tmp_path, f"suite={file}", *QUICK)[0].variants[0].measures["evaluate"].key)
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize("function", ["os.system", "subprocess.run", "elsewhere.gone"])
def test_a_function_by_a_modules_name_is_refused(tmp_path, function):
    file = suite(tmp_path / "suite", f"process_docs: !function {function}\n")
    assert f"!function {function} is in no Python file of lm-eval's tasks or of" in refused(tmp_path, file)


def test_a_function_of_an_included_definition_elsewhere_is_refused(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "code.py").write_text("def kept(docs):\n    return docs\n")
    (other / "base.yaml").write_text("process_docs: !function code.kept\n")
    file = suite(tmp_path / "suite", "include: ../other/base.yaml\n")
    assert "!function code.kept is in no Python file" in refused(tmp_path, file)


@pytest.mark.parametrize("name", ["../up/x", "/etc/passwd", "a/b", "..", ".hidden", "", "a b", "x\n"])
def test_a_tasks_name_is_no_path(tmp_path, name):
    (tmp_path / "mine.yaml").write_text(json.dumps({"name": "mine", "tasks": [{"task": name}]}))
    assert "task" in refused(tmp_path, tmp_path / "mine.yaml")
    (tmp_path / "mine.yaml").write_text(
        json.dumps({"name": "mine", "tasks": [{"task": "demo_piqa"}], "search": [name]})
    )
    assert "search" in refused(tmp_path, tmp_path / "mine.yaml")
