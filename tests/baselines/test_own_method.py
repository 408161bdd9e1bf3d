"""A method of the user's own is a class in a Python file, wherever that lies.

Wrong files are refused in one line.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from runs import ran, words

from harness import config, graph, registry
from harness.cli import main
from harness.compress import Compress
from harness.words import recipes

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "own-method.md").read_text()
SHUFFLED = re.search(r"```python\n(.*?)```", PAGE, re.S).group(1)

RETURNING = """\
import torch

from harness.spec import Method


class Returned(Method):
    NAME = "returned"

    def compress(self, model, calibration):
        {body}
"""


@pytest.fixture(autouse=True)
def forgotten():
    """Leave no user's module and no folder of theirs behind."""
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    registry._loaded.cache_clear()
    for name in set(sys.modules) - modules:
        if "harness" not in name and name.endswith("_of_mine"):
            del sys.modules[name]


@pytest.mark.timeout(300)
def test_the_method_of_the_docs_runs_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shuffled_of_mine.py").write_text(SHUFFLED)
    words_of = ("methods=[./shuffled_of_mine.py:Shuffled(seed=3)]", "budgets=[0.8]", "quantizers=[none]", "limit=1")
    _, _, summary, rows = ran(tmp_path, *words_of, "measure.speed=false")
    assert summary.failed == {}
    assert [(row["variant"], row["method"]) for row in rows] == [
        ("dense", "dense"),
        ("Shuffled(seed=3)@0.8", "shuffled"),
    ]
    assert rows[1]["parameters"] == pytest.approx(0.8 * rows[0]["parameters"], rel=0.01)


def test_an_edited_method_of_ones_own_is_run_anew(tmp_path):
    keys = []
    for number, text in enumerate((SHUFFLED, SHUFFLED, SHUFFLED.replace("torch.randperm", "1 * torch.randperm"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"shuffled{number}_of_mine.py").write_text(text)
        written = f"methods=[{folder}/shuffled{number}_of_mine.py:Shuffled]"
        keys.append(graph.build(config.compose(words(tmp_path, written, "budgets=[0.8]"))).variants[-1].checkpoint.key)
    assert keys[0] == keys[1] != keys[2]


@pytest.mark.parametrize(
    ("name", "text", "written", "line"),
    [
        ("gone", None, "./gone.py:Mine", "gone.py: no such file"),
        (
            "a_of_mine",
            SHUFFLED,
            "./a_of_mine.py:Shufled",
            "./a_of_mine.py defines no method called Shufled; did you mean Shuffled?",
        ),
        ("b_of_mine", "x = 1", "./b_of_mine.py:Mine", "./b_of_mine.py defines no method: a class that inherits"),
        (
            "c_of_mine",
            "import nowhere_at_all",
            "./c_of_mine.py:Mine",
            "cannot be imported: ModuleNotFoundError: No module named",
        ),
        ("d_of_mine", "raise SystemError('x y')", "./d_of_mine.py:Mine", "cannot be imported: SystemError: x y"),
        (
            "e_of_mine",
            SHUFFLED,
            "./e_of_mine.py:Shuffled(sead=1)",
            "method Shuffled has no field sead; did you mean seed?",
        ),
        (
            "f_of_mine",
            SHUFFLED.replace('"shuffled"', '"wanda"'),
            "./f_of_mine.py:Shuffled",
            "has the NAME wanda of a method that is there",
        ),
        ("json", SHUFFLED, "./json.py:Shuffled", "rename it, another module is called json too"),
        ("g-of-mine", SHUFFLED, "./g-of-mine.py:Shuffled", "rename it, so that g-of-mine can be imported"),
    ],
)
def test_a_wrong_file_is_refused_before_any_work(tmp_path, monkeypatch, capsys, name, text, written, line):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / f"{name}.py").write_text(text)
    assert main(["plan", "model=random-llama", f"methods=[{written}]"]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("recipe", "parts"),
    [
        ("shortgpt+refit", ["shortgpt", "refit"]),
        ("nas(options={a: '+'})+recover(tokens=5)", ["nas(options={a: '+'})", "recover(tokens=5)"]),
        ("external:/home/c++/x.yaml+refit", ["external:/home/c++/x.yaml", "refit"]),
        ("external:/a+b/x (1).yaml(budget=0.5)", ["external:/a+b/x (1).yaml(budget=0.5)"]),
        ("shortgpt+./my.py:Mine(a=1)+wanda(sparsity=0.5)", ["shortgpt", "./my.py:Mine(a=1)", "wanda(sparsity=0.5)"]),
    ],
)
def test_recipes_are_split_at_methods_and_not_within_paths(recipe, parts):
    assert recipes.parts(recipe) == parts


@pytest.mark.parametrize(
    ("text", "call"),
    [
        ("external:/a b/x(1).yaml(budget=0.5)", ("external", "/a b/x(1).yaml", {"budget": 0.5}, False)),
        ('external:"/a+b(c)/x.yaml"', ("external", "/a+b(c)/x.yaml", {}, False)),
        ("sparseml:wanda_2of4(engine=sparseml)", ("sparseml", "wanda_2of4", {"engine": "sparseml"}, False)),
        ("llm_pruner(scope=global, budget=0.5)", ("llm_pruner", "", {"scope": "global", "budget": 0.5}, False)),
        ("wanda(pattern=2:4)", ("wanda", "", {"pattern": "2:4"}, False)),
        ("x(a=[1, 2], b=in, c='is')", ("x", "", {"a": [1, 2], "b": "in", "c": "is"}, False)),
        (
            "nas(only=[arc_easy, piqa], options={batch: 8, levels: (0.9, null), 'x': {y: true}})",
            (
                *("nas", ""),
                {"only": ["arc_easy", "piqa"], "options": {"batch": 8, "levels": (0.9, None), "x": {"y": True}}},
                False,
            ),
        ),
        ("/x/my.py:Mine(a=1, b=true, c=null)", ("Mine", "/x/my.py", {"a": 1, "b": True, "c": None}, True)),
    ],
)
def test_a_file_may_hold_brackets_and_signs(text, call):
    assert tuple(recipes.call(text)) == call


RETURNED = {
    "return None": "returned: compress must return the model, and returned nothing",
    "return model, 1": "returned: compress must return the model, and returned a tuple",
    "model.model.layers[0].mlp.act_fn = torch.nn.Identity(); return model": "returned: what it returned computes other logits",
    "model.lm_head.register_forward_hook(lambda *given: given[-1] * 2); return model": "what it changed beside weights",
    "return model.half()": "the result is in float16, and the run in float32",
    "return model": None,
}


@pytest.mark.parametrize("body", RETURNED)
def test_what_a_method_returns_is_what_its_checkpoint_computes(tmp_path, tiny_folder, body):
    """A method that nobody tested may return anything.

    The row would be of a checkpoint that holds the half of it.
    """
    (tmp_path / "returned_of_mine.py").write_text(RETURNING.format(body=body))
    kind, given = registry.parse(f"{tmp_path}/returned_of_mine.py:Returned", {})
    (tmp_path / "draft").mkdir()
    work = SimpleNamespace(draft=tmp_path / "draft", device="cpu", result={}, checkpoint=lambda: tiny_folder)
    step = Compress(method=kind(**given))
    if RETURNED[body] is None:
        step.run(work)
        return
    with pytest.raises(ValueError, match=RETURNED[body]):
        step.run(work)
