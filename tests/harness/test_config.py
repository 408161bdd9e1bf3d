"""What a user writes wrongly is told at once, a line each.

With what was probably meant, before anything is done.
"""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from harness import registry
from harness.cli import main
from harness.config import ConfigErrors, compose
from harness.data import suites
from harness.storage.store import Store

TINY = ["model=random-llama", "methods=[dense]"]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch) -> Path:
    """An empty working folder, and no data folder in the environment."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)
    return folder


@pytest.fixture
def refused(place, capsys):
    """Call the command line; it must exit with 2 and write nothing but an empty store.

    Returns the lines it said.
    """

    def call(*words: str) -> list[str]:
        assert main(list(words)) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert {path.name for path in place.iterdir()} <= {"harness-store"}
        assert [path for path in place.rglob("*") if path.is_file()] == []
        lines = said.err.splitlines()
        assert all(line.startswith("harness: ") for line in lines)
        return [line.removeprefix("harness: ") for line in lines]

    return call


@pytest.fixture
def no_hub(monkeypatch):
    """A machine that reaches no hub and has nothing in its cache."""

    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("harness.data.hub.settle", lambda: False)
    monkeypatch.setattr("datasets.load_dataset_builder", unreachable)


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("suite=demmo", "suite=demmo is unknown; did you mean demo?"),
        (
            "suite=xyz",
            "suite=xyz is unknown; known: commonsense, demo, llama_nas, llm_pruner, parity, perplexity, slicegpt, subnetwork11, wanda",
        ),
        ("methods=[wnda]", "method wnda is unknown; did you mean wanda or wanda_sp?"),
        ("methods=[dense,magnitud+dense]", "method magnitud is unknown; did you mean magnitude?"),
        ('methods=["wanda(sparsty=0.5)"]', "method wanda has no field sparsty; did you mean sparsity?"),
        ('methods=["wanda(sparsity=2)"]', "method wanda: sparsity: Input should be less than 1"),
        ('methods=["nas(budget=0)"]', "method nas: budget: Input should be greater than 0"),
        (
            'methods=["wanda(0.5)"]',
            "method 'wanda(0.5)' is not of the form name, name(field=value, ...), name:file or ./my_method.py:MyMethod",
        ),
        ("methods=[magnitude+nas]", "magnitude+nas: nas starts from the dense model and cannot follow another method"),
        (
            "methods=[shortgpt+llm_pruner]",
            "shortgpt+llm_pruner: the run's budgets go to shortgpt; write llm_pruner's own, llm_pruner(budget=...), the "
            "share of what shortgpt leaves",
        ),
        ("budgets=[true]", "budgets: Input should be a number, not True"),
        ("methods=[nas(evaluations=true)]", "method nas: evaluations is a number, not True"),
        ("measure.rounds=1e9", "measure.rounds: Input should be less than or equal to 10000, not 1000000000.0"),
        ("data_dir=-1", "data_dir=-1: no such folder"),
        ("data_dir=true", "data_dir=true: no such folder"),
        ("data_dir=[1]", "data_dir=[1]: no such folder"),
        ("data_dir=nan", "data_dir=nan: no such folder"),
        ("sead=3", "key sead is unknown; did you mean seed or redo?"),
        (
            "calibration.sample=3",
            "key calibration.sample is unknown; did you mean calibration.samples or calibration.length?",
        ),
        (
            "settings.nas.evalutions=3",
            "settings.nas.evalutions: no such field; did you mean evaluations or options?",
        ),
        ("settings.naas.evaluations=3", "settings.naas: no such method; did you mean nas or wanda_sp?"),
        ("quantizers=[int9]", "quantizer int9 is unknown; did you mean int8 or int4?"),
        ("profile=quik", "profile quik is unknown; did you mean quick?"),
        ("dtype=float31", "dtype: Input should be 'auto', 'float32', 'bfloat16' or 'float16', not 'float31'"),
        ("scorer=tre", "scorer: Input should be 'tree' or 'hflm', not 'tre'"),
        ("limit=0", "limit: Input should be greater than 0, not 0"),
        ("seed=1.5", "seed: Input should be a valid integer, got a number with a fractional part, not 1.5"),
        ("measure.rounds=1", "measure.rounds: Input should be greater than or equal to 2, not 1"),
        ("calibration.text=wikitxt", "text wikitxt is unknown; did you mean wikitext2?"),
        ("device", "'device' is not of the form key=value"),
        ("methods=[wanda", "methods: [wanda has a bracket or quote that is not closed"),
        ("+suite=demo", "key +suite is unknown; did you mean suite or store?"),
        ("suite=nowhere/mine.yaml", "suite=nowhere/mine.yaml: no such file"),
    ],
)
def test_one_wrong_word_is_one_line(refused, word, line):
    assert refused("plan", "model=random-llama", word) == [line]


@pytest.mark.parametrize("budget", ["0", "1.2", "-1", "nan"])
def test_a_budget_outside_its_range_is_refused(refused, budget):
    assert refused("plan", f"budgets=[0.5,{budget}]") == [f"budgets must lie in (0, 1], not {budget}"]


@pytest.mark.parametrize("budget", ["0", "1.2"])
def test_an_only_budget_outside_its_range_is_one_line_too(refused, budget):
    assert refused("plan", f"budgets=[{budget}]") == [f"budgets must lie in (0, 1], not {budget}"]


def test_all_wrong_names_and_places_are_told_at_once(refused, place):
    words = [
        "suite=demmo",
        "methods=[wnda,dense,nass]",
        f"model={place}/gone",
        f"data_dir={place}/data",
        "quantizers=[int9]",
        "sead=3",
        "profile=quik",
        "settings.nas.batsh=2",
    ]
    assert refused("run", *words) == [
        "key sead is unknown; did you mean seed or redo?",
        "profile quik is unknown; did you mean quick?",
        "suite=demmo is unknown; did you mean demo?",
        f"model={place}/gone: no such file or folder",
        "method wnda is unknown; did you mean wanda or wanda_sp?",
        "method nass is unknown; did you mean nas?",
        "quantizer int9 is unknown; did you mean int8 or int4?",
        f"data_dir={place}/data: no such folder",
        "settings.nas.batsh: no such field; did you mean batch?",
    ]
    assert list(place.iterdir()) == []


def test_wrong_names_and_wrong_values_are_told_at_once(refused):
    said = refused("plan", "suite=demmo", "methods=[wnda]", "quantizers=[int9]", "budgets=[0.5,2]", "limit=0")
    assert sorted(said) == [
        "budgets must lie in (0, 1], not 2",
        "limit: Input should be greater than 0, not 0",
        "method wnda is unknown; did you mean wanda or wanda_sp?",
        "quantizer int9 is unknown; did you mean int8 or int4?",
        "suite=demmo is unknown; did you mean demo?",
    ]


@pytest.mark.parametrize(
    "word",
    [
        "methods=null",
        "methods=[]",
        "budgets=[]",
        "settings=3",
        "settings.nas=3",
        "calibration=3",
        "measure.batches=[x]",
        "~suite=demo",
        "~store=harness-store",
    ],
)
def test_a_value_of_the_wrong_shape_is_one_line_about_its_key(refused, word):
    [line] = refused("plan", word)
    assert line.startswith(word.lstrip("~").split("=")[0])
    assert len(line) < 120


def test_an_unknown_verb_has_a_nearest_one(refused):
    assert refused("pln") == ["verb pln is unknown; did you mean plan?"]
    assert refused("reprot") == ["verb reprot is unknown; did you mean report or export?"]


def test_no_words_print_the_usage(capsys):
    assert main([]) == 2
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.count("usage: harness VERB") == 2


def test_a_folder_that_is_no_checkpoint_is_refused(refused, tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    assert refused("plan", f"model={folder}") == [
        f"model={folder}: it has no config.json, so it is no transformers checkpoint"
    ]
    (folder / "config.json").write_text("{}")
    assert refused("plan", f"model={folder}") == [
        f"model={folder}: it has no .safetensors weights (model.safetensors or model.safetensors.index.json)"
    ]


def test_a_misspelt_model_has_a_nearest_one(refused):
    [line] = refused("plan", "model=smolm2-135m")
    assert line.endswith("did you mean smollm2-135m?")


def test_each_file_that_a_data_folder_lacks_is_named_with_its_rows(refused, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    said = refused("plan", "suite=commonsense", f"data_dir={mirror}", "model=random-llama")
    assert len(said) == 9  # seven tasks, calibration text, training text
    files = {
        "boolq": "boolq/validation.jsonl.gz (3,270 rows)",
        "hellaswag": "hellaswag/validation.jsonl.gz (10,042 rows)",
        "arc_easy": "arc_easy/test.jsonl (2,376 rows)",
        "wikitext2": "wikitext2_paragraphs/train.jsonl.gz",
    }
    for name, file in files.items():
        [line] = [line for line in said if line.startswith(f"{name}: ")]
        assert line.startswith(f"{name}: data_dir={mirror} lacks {file}; ")
        assert line.endswith("or use suite=demo")


def test_text_that_no_method_reads_is_not_asked_for(refused, tmp_path):
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    said = refused("plan", "suite=commonsense", f"data_dir={mirror}", *TINY)
    assert [line.split(":")[0] for line in said] == [task.task for task in suites.read("commonsense").tasks]


def test_a_data_folder_without_the_calibration_text_names_it(refused, tmp_path):
    [line] = refused(
        "plan", "calibration.text=wikitext2", f"data_dir={tmp_path}", "model=random-llama", "methods=[wanda]"
    )
    assert line.startswith(f"wikitext2: data_dir={tmp_path} lacks wikitext2_paragraphs/train.jsonl.gz; ")


@pytest.mark.parametrize("suite", ["commonsense", "perplexity"])
def test_data_out_of_reach_names_task_attempts_and_ways_out(refused, no_hub, suite):
    said = refused("plan", f"suite={suite}", *TINY)
    needed = [task.task for task in suites.read(suite).tasks if not task.optional]
    assert [line.split(":")[0] for line in said] == needed
    for line in said:
        assert "is out of reach (ConnectionError); tried the hub and the local cache" in line
        assert "data_dir=FOLDER" in line
        assert line.endswith("suite=demo")


def test_a_model_out_of_reach_names_the_ways_out(refused, no_hub):
    [line] = refused("plan", "model=nobody/no-such-model")
    assert line.startswith("model=nobody/no-such-model: the hub is out of reach")
    assert "not in the local cache" in line
    assert line.endswith("use a local folder or model=smollm2-135m")


def test_a_hub_that_breaks_off_is_out_of_reach(refused, monkeypatch):
    def breaks_off(*_: object, **__: object) -> None:
        raise httpx.ReadTimeout("slow")

    monkeypatch.setattr("harness.data.hub.settle", lambda: True)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", breaks_off)
    [line] = refused("plan", "model=nobody/no-such-model")
    assert line.endswith("use a local folder or model=smollm2-135m")


@pytest.mark.parametrize("verb", ["run", "plan"])
def test_a_store_that_cannot_be_written_is_refused(refused, tmp_path, verb):
    (tmp_path / "file").write_text("")  # a folder below a file: impossible for root too
    [line] = refused(verb, f"store={tmp_path}/file/store")
    assert line == f"store={tmp_path}/file/store cannot be written: Not a directory; choose another with store=FOLDER"


def test_a_run_that_is_not_stored_has_a_nearest_one(refused, tmp_path):
    store = Store(tmp_path / "kept")
    store.prepare()
    run = {"variants": [], "config": {}, "metrics": {}, "skipped": {}}
    store.save_run({"id": "20260101-120000-000001", "started": 1.0, **run})
    assert refused("report", f"store={store.root}", "run=20260101-12000-000001") == [
        "run 20260101-12000-000001 is not in the store; did you mean 20260101-120000-000001?"
    ]


def test_wrong_words_of_report_are_lines_too(refused, tmp_path):
    assert refused("report", "format=htm") == ["format htm is unknown; did you mean html?"]
    assert refused("report", "fromat=html", "storr=x") == [
        "key fromat is unknown; did you mean format or report?",
        "key storr is unknown; did you mean store?",
    ]
    assert refused("report", f"store={tmp_path}/none") == [
        f"store={tmp_path}/none: no such folder; start with harness run suite=demo"
    ]


def test_wrong_words_of_the_other_verbs_are_lines_too(refused):
    assert refused("ls", "stor=x") == ["key stor is unknown; did you mean store?"]
    assert refused("doctor", "stor=x") == ["key stor is unknown; did you mean store?"]


def test_a_plan_writes_nothing_but_the_store(place, capsys):
    assert main(["plan", *TINY, "store=kept", "measure.speed=false"]) == 0
    assert "dense" in capsys.readouterr().out
    assert [path.name for path in place.iterdir()] == ["kept"]
    assert [path for path in place.rglob("*") if path.is_file()] == []


def test_a_written_key_beats_the_profile():
    run = compose(["calibration.samples=4", "profile=paper", "settings.nas.evaluations=3"])
    assert (run.calibration.samples, run.calibration.length) == (4, 2048)
    assert run.settings["nas"]["evaluations"] == 3
    assert run.settings["nas"]["search_items"] == 200


def test_the_demo_suite_is_quick_and_others_standard():
    assert compose([]).profile == compose(["suite=demo"]).profile == "quick"
    assert compose([]).limit == 25
    assert compose(["suite=commonsense"]).profile == "standard"
    assert compose(["suite=commonsense"]).limit is None
    assert compose(["suite=demo", "profile=standard"]).limit is None


@pytest.mark.parametrize(
    "name",
    ["josé", "a=b", "a,b", "a (1)", "it's", "#1", "a{b", "x[1]", "~", "数据", "a b", 'say "hi"', "lr=1e-4", "${HOME}"],
)
def test_a_path_is_taken_as_it_is_written(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    run = compose([f"store={folder}/", f"report={folder}", f"data_dir={folder}"])
    assert (run.store, run.report, run.data_dir) == (folder, folder, folder)


def test_one_item_needs_no_brackets():
    run = compose(["methods=wanda", "quantizers=int8", "budgets=0.5", "measure.batches=8"])
    assert (run.methods, run.quantizers, run.budgets, run.measure.batches) == (("wanda",), ("int8",), (0.5,), (8,))
    assert compose(["methods=[nas(order=prefix,evaluations=9),shortgpt]"]).methods == (
        "nas(order=prefix,evaluations=9)",
        "shortgpt",
    )


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["plan", "suite=demo", "-h"], ["report", "help"]])
def test_help_is_given_wherever_it_is_asked_for(capsys, words):
    assert main(words) == 0
    assert capsys.readouterr().out.startswith(f"usage: harness {words[0].replace('--help', 'VERB')}")


def test_nested_keys_change_themselves_alone():
    changed, usual = compose(["measure.batches=[2,4]", "calibration.length=64"]), compose([])
    assert changed.measure == usual.measure.model_copy(update={"batches": (2, 4)})
    assert changed.calibration == usual.calibration.model_copy(update={"length": 64})


def test_null_means_no_quantizer_as_in_other_tools():
    assert compose(["quantizers=[null,int8]"]).quantizers == ("none", "int8")


@pytest.mark.parametrize(
    ("written", "name", "fields"),
    [
        ("wanda(sparsity=0.5)", "wanda", {"sparsity": 0.5}),
        ("wanda(pattern=2:4)", "wanda", {"pattern": "2:4"}),
        ("nas(order=prefix, evaluations=9)", "nas", {"order": "prefix", "evaluations": 9}),
    ],
)
def test_a_methods_own_fields_parse(written, name, fields):
    run = compose([f'methods=["{written}"]'])
    assert run.methods == (written,)
    kind, actual = registry.parse(run.methods[0], {})
    assert (kind.NAME, actual) == (name, fields)


def test_written_fields_beat_settings_which_beat_defaults():
    run = compose(['methods=["nas(evaluations=9)"]', "settings.nas.evaluations=5", "settings.nas.batch=7"])
    fields = registry.parse(run.methods[0], run.settings)[1]
    assert (fields["evaluations"], fields["batch"], fields["length"]) == (
        9,
        7,
        256,
    )  # written, settings, profile quick


def test_the_data_folder_comes_from_the_environment_unless_written(monkeypatch, tmp_path):
    assert compose([]).data_dir is None
    monkeypatch.setenv("HARNESS_DATA_DIR", str(tmp_path))
    assert compose([]).data_dir == tmp_path
    (tmp_path / "elsewhere").mkdir()
    assert compose([f"data_dir={tmp_path}/elsewhere"]).data_dir == tmp_path / "elsewhere"
    monkeypatch.setenv("HARNESS_DATA_DIR", "")
    assert compose([]).data_dir is None


def test_a_data_folder_from_the_environment_is_checked_like_a_written_one(refused, monkeypatch, tmp_path):
    monkeypatch.setenv("HARNESS_DATA_DIR", f"{tmp_path}/gone")
    assert refused("plan", *TINY) == [f"data_dir={tmp_path}/gone: no such folder"]


def test_errors_keep_their_lines():
    with pytest.raises(ConfigErrors) as caught:
        compose(["sead=1", "sotre=x"])
    assert caught.value.lines == [
        "key sead is unknown; did you mean seed or redo?",
        "key sotre is unknown; did you mean store or scorer?",
    ]


def test_a_suite_file_with_an_unknown_task_names_the_nearest(refused, place, no_hub):
    (place.parent / "mine.yaml").write_text(json.dumps({"name": "mine", "tasks": [{"task": "arc_eazy"}]}))
    [line] = refused("plan", f"suite={place.parent}/mine.yaml", *TINY)
    assert "unknown task arc_eazy; did you mean" in line
    assert "arc_easy" in line
