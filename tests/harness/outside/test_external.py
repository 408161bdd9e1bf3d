"""External commands: what they are told, and how what comes back is checked.

Wrong files are refused before any work.
"""

from __future__ import annotations

import json
import subprocess

import pytest
from outside_commands import BYTES, CALIBRATION, COPY, NARROW, gone, killed_while_it_runs, run, step, written
from runs import ran, words
from safetensors.torch import load_file

from harness import config, graph, registry
from harness.cli import main
from harness.data.calibration import draw
from harness.models import checkpoint
from harness.models.anatomy import parameter_count
from harness.outside import environments
from harness.outside.commands import read
from harness.spec import CHECKPOINT


def test_a_command_gets_the_budget_and_stands_in_the_table_beside_the_rest(tmp_path):
    file = written(tmp_path / "theirs", NARROW, "{budget}", "{calibration}")
    words_of = (f"methods=['external:{file}']", "budgets=[0.9,0.75]", "quantizers=[none,int8]", "measure.speed=false")
    _, _, summary, rows = ran(tmp_path, *words_of, "limit=1")
    assert not summary.failed
    assert [row["variant"] for row in rows if row["recipe"] != "dense"] == [
        "external:mine@0.9",
        "external:mine@0.9+int8",
        "external:mine@0.75",
        "external:mine@0.75+int8",
    ]
    dense = rows[0]["parameters"]
    assert all(row["cpu_seconds"] > 0.5 for row in rows[2:])  # of the command: importing torch alone takes that
    for row in rows[2:]:
        assert row["status"] == "ok"
        assert not row["simulated"]
        assert row["calibration_tokens"] == 4 * 32
        assert abs(row["parameters"] - row["budget"] * dense) <= 0.005 * dense


def test_a_command_is_told_calibration_seed_device_and_what_its_file_sets(tmp_path, tiny_folder):
    script = f"""import os
{BYTES}
pathlib.Path(output, "facts.json").write_text(json.dumps({{"training_tokens": 5}}))
told = {{"words": sys.argv[3:], "variable": os.environ["KIND"], "here": os.getcwd()}}
pathlib.Path(told["here"], "told.json").write_text(json.dumps(told))
pathlib.Path(told["here"], "seen.jsonl").write_text(pathlib.Path(sys.argv[3]).read_text())
"""
    file = written(
        tmp_path / "theirs", script, "{calibration}", "{seed}", "{device}", structured=False, variables={"KIND": "mild"}
    )
    work = run(tmp_path, tiny_folder, step(file))
    told = json.loads((file.parent / "told.json").read_text())
    rows = [json.loads(line) for line in (file.parent / "seen.jsonl").read_text().splitlines()]
    tokenizer = checkpoint.load_tokenizer(tiny_folder)
    assert told["words"][1:] == ["7", "cpu"]
    assert (told["variable"], told["here"]) == ("mild", str(file.parent))
    assert [row["input_ids"] for row in rows] == draw(CALIBRATION, tokenizer).tokens.tolist()
    assert [row["text"] for row in rows] == [tokenizer.decode(row["input_ids"]) for row in rows]
    assert work.result["calibration_tokens"] == 4 * 32
    assert work.result["training_tokens"] == 5
    assert sorted(path.name for path in work.draft.iterdir()) == [CHECKPOINT]  # what it left is stored once


def test_what_comes_back_is_stored_to_the_bit_with_the_tokenizer(tmp_path, tiny_folder):
    work = run(tmp_path, tiny_folder, step(written(tmp_path / "theirs", COPY)))
    theirs, ours = (load_file(folder / "model.safetensors") for folder in (tiny_folder, work.draft / CHECKPOINT))
    assert theirs.keys() == ours.keys()
    assert all(theirs[name].equal(ours[name]) for name in theirs)
    assert (work.draft / CHECKPOINT / "tokenizer.json").read_bytes() == (tiny_folder / "tokenizer.json").read_bytes()
    assert work.result["parameters"] == parameter_count(checkpoint.load(tiny_folder))


# what goes wrong is wrong whoever wrote it: without torch a command takes a tenth of a second, and not four
WEIGHTS = f"""{BYTES}
from safetensors.numpy import load_file, save_file
file = pathlib.Path(output, "model.safetensors")
weights = load_file(file)
"""
NAN = f"{WEIGHTS}weights['model.layers.1.mlp.up_proj.weight'][0, 0] = float('nan')\nsave_file(weights, file, {{'format': 'pt'}})"
HALF = f"""{WEIGHTS}
for name, weight in weights.items():
    if ".mlp." in name:
        half = weight.shape[name.endswith("down_proj.weight")] // 2
        weights[name] = (weight[:, :half] if name.endswith("down_proj.weight") else weight[:half]).copy()
config = json.loads(pathlib.Path(output, "config.json").read_text())
config["intermediate_size"] //= 2
pathlib.Path(output, "config.json").write_text(json.dumps(config))
save_file(weights, file, {{"format": "pt"}})
"""
BAD = {
    "ends badly": ("import sys\nsys.exit(3)", {}, "mine ended with exit code 3: without a word"),
    "leaves nothing": ("", {}, "mine left no checkpoint"),
    "leaves rubbish": (
        f"{BYTES}pathlib.Path(output, 'model.safetensors').write_text('x')",
        {},
        "what mine left does not load",
    ),
    "not finite": (NAN, {}, "weights that are not finite: model.layers.1.mlp.up_proj.weight"),
    "misses the budget": (BYTES, {"budget": 0.8}, "mine cannot meet budget=0.8"),
    "shrinks unasked": (HALF, {"structured": False}, "mine says structured: false"),
    "no counts": (f"{BYTES}pathlib.Path(output, 'facts.json').write_text('[1]')", {}, "facts.json must be a mapping"),
    "another family": (BYTES, {"families": ["mistral"]}, "mine takes mistral decoders, not llama"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_wrong_result_ends_the_step_with_its_reason(tmp_path, tiny_folder, case):
    script, fields, reason = BAD[case]
    budget = fields.pop("budget", None) if "budget" in fields else None
    file = written(tmp_path / "theirs", script, *(["{budget}"] if budget else []), **fields)
    with pytest.raises(ValueError, match=reason):
        run(tmp_path, tiny_folder, step(file, budget=budget))


def test_a_failing_command_leaves_the_other_rows_alone(tmp_path):
    file = written(tmp_path / "theirs", "import sys\nprint('no luck', file=sys.stderr)\nsys.exit(3)")
    _, _, summary, rows = ran(
        tmp_path, f"methods=['external:{file}',magnitude]", "budgets=[0.8]", "measure.speed=false"
    )
    assert [row["status"] for row in rows if row["quantizer"] == "none"] == ["ok", "failed", "ok"]
    assert "mine ended with exit code 3: no luck" in summary.failed.values()


WRONG = {
    "name: x": "command: Field required",
    "command: [env]\n": "the command never says {input}",
    "command: ['no-such-program', '{input}', '{output}']": "command: no program no-such-program",
    "command: ['{python}', '{inputt}', '{output}']": "{inputt} is unknown; did you mean input or output?",
    "command: ['{python}', '{input}', '{output}']\ncomand: 1": "comand: no such key; did you mean command?",
    "command: ['{python}', '{input}', '{output}']\nfiles: [gone.py]": "files: gone.py is not beside the YAML file",
    "command: ['{python}', '{input}', '{output}']\nenvironment: mine": "environment mine is not there; `harness env create mine`",
    "- a": "a mapping with name and command is wanted",
    "a: [": "while parsing",
}


@pytest.mark.parametrize("content", WRONG)
def test_a_wrong_file_is_refused_before_any_work(tmp_path, capsys, monkeypatch, content):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "mine.yaml").write_text(content)
    assert main(["plan", *words(tmp_path, f"methods=['external:{tmp_path / 'mine.yaml'}']")]) == 2
    said = capsys.readouterr().err
    assert WRONG[content] in said
    assert "mine.yaml" in said
    assert not list(tmp_path.glob("store/steps/*"))


def test_files_are_asked_for_and_refused_by_name(tmp_path, capsys):
    methods = f"methods=['external','wanda:a.yaml','external:{tmp_path}/gone.yaml']"
    assert main(["plan", *words(tmp_path, methods)]) == 2
    said = capsys.readouterr().err
    assert "method external: external needs a file" in said
    assert "method wanda:a.yaml: wanda takes no file" in said
    with pytest.raises(config.ConfigErrors, match=r"gone\.yaml: no such file"):
        graph.build(config.compose(words(tmp_path, f"methods=['external:{tmp_path}/gone.yaml']")))
    file = written(tmp_path / "theirs", COPY)
    with pytest.raises(ValueError, match=r"never says \{budget\}"):
        registry.build(*registry.parse(f"external:{file}(budget=0.8)", {}))


def test_what_a_method_fills_itself_can_neither_be_written_nor_is_it_listed(tmp_path, capsys):
    file = written(tmp_path / "theirs", COPY)
    with pytest.raises(ValueError, match="method external has no field command"):
        registry.parse(f"external:{file}(command=3)", {})
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out
    assert "Undefined" not in listed
    assert "command=" not in listed
    assert "sparseml:gptq_w4a16" in listed


def test_the_key_holds_the_script_and_not_the_place(tmp_path):
    files = [written(tmp_path / name, script) for name, script in (("a", COPY), ("b", COPY), ("c", COPY + "\n"))]
    first, moved, changed = (step(file).fingerprint_fields() for file in files)
    assert first == moved != changed
    assert str(tmp_path) not in json.dumps(first)


def test_a_command_ends_when_the_run_is_killed(tmp_path, tiny_folder):
    script = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)"
    file = written(tmp_path / "theirs", script)
    assert gone(killed_while_it_runs(file)), "the command lives on"


def test_an_environment_is_made_once_and_gives_its_python(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    (tmp_path / "wanted.txt").write_text("pip  # there already, so that nothing is fetched\n\n")
    assert main(["env", "create", "mine", f"requirements={tmp_path / 'wanted.txt'}"]) == 0
    python = environments.interpreter("mine")
    asked = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == str(tmp_path / "environments" / "mine")
    file = written(tmp_path / "theirs", COPY, environment="mine")
    assert read(str(file)).interpreter == str(python)
    before = step(file).fingerprint_fields()
    made = python.stat().st_mtime_ns
    environments.create("mine", ("pip",))
    assert python.stat().st_mtime_ns == made
    (environments.folder("mine") / environments.COMPLETE).write_text("pip>1\n")
    assert step(file).fingerprint_fields() != before  # what it is made of decides the result
    capsys.readouterr()
    assert main(["env", "ls"]) == 0
    assert capsys.readouterr().out.split() == ["mine", str(tmp_path / "environments" / "mine")]


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], "harness env needs one of the words create, ls behind it"),
        (["create"], "harness env create takes one name, not 0"),
        (["create", "sparsml"], "environment sparsml: nothing is known of it; did you mean sparseml?"),
        (["create", "mine", "requirements=gone.txt"], "requirements=gone.txt: no such file"),
        (["make", "x"], "harness env make is unknown"),
    ],
)
def test_wrong_words_of_env_are_one_line(tmp_path, monkeypatch, capsys, given, line):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    assert main(["env", *given]) == 2
    assert line in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_failed_installation_leaves_no_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="environment mine: "):
        environments.create("mine", (str(tmp_path / "no-such-package"),))
    with pytest.raises(ValueError, match="environment mine is not there"):
        environments.interpreter("mine")
