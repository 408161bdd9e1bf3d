"""harness export: a variant leaves as files that others load, checked, with a card.

Anything else is refused in a line.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from runs import ran
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.cli import main
from harness.exports.all_formats import formats
from harness.exports.export_format import Held, stored_logits
from harness.exports.hf import HuggingFace
from harness.spec import CHECKPOINT

QUICK = (
    *("methods=[middle,uniform]", "budgets=[0.8]", "quantizers=[none,int8,q8_0]", "runtimes=[torch,llamacpp,openvino]"),
    "measure.speed=false",
)
NAMES = ["dense", "dense+int8", "middle@0.8", "uniform@0.8"]
IDS = list(range(2, 40))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return ran(tmp_path_factory.mktemp("run"), *QUICK)


@pytest.fixture
def exported(finished, tmp_path):
    def export(name, *words):
        assert main(["export", name, f"to={tmp_path / 'out'}", f"store={finished[1].root}", *words]) == 0
        return tmp_path / "out"

    return export


def held(finished, name):
    made, store, _, _ = finished
    keys = [node.key for node in reversed(next(each for each in made.variants if each.name == name).chain())]
    return store.folder(next(key for key in keys if (store.folder(key) / CHECKPOINT).is_dir())) / CHECKPOINT


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_torch_is_a_folder_that_transformers_loads_with_the_same_logits(name, finished, exported):
    folder = exported(name)
    assert (HuggingFace.logits(folder, IDS) == stored_logits(Held(held(finished, name), None), IDS)).all()
    assert AutoTokenizer.from_pretrained(folder)("The cat").input_ids


def test_one_width_for_all_layers_needs_no_code_of_ours(exported):
    folder = exported("uniform@0.8")
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "llama"
    assert "auto_map" not in config
    assert not list(folder.glob("*.py"))
    assert type(AutoModelForCausalLM.from_pretrained(folder)).__module__.startswith("transformers.")


def test_widths_of_their_own_load_where_this_project_is_not_installed(exported):
    folder = exported("middle@0.8")
    code = (
        "import sys; from transformers import AutoModelForCausalLM\n"
        f"model = AutoModelForCausalLM.from_pretrained({str(folder)!r}, trust_remote_code=True)\n"
        "print(type(model).__name__, any(name.startswith(('harness', 'baselines')) for name in sys.modules))"
    )
    environment = {**os.environ, "HF_MODULES_CACHE": str(folder.parent / "modules")}
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder.parent, env=environment
    )
    assert said.stdout.split() == ["PerLayerLlamaForCausalLM", "False"]


def test_widths_of_their_own_load_without_a_head_as_servers_do(exported):
    """Where this project is not installed: by `AutoModel`, which what serves models asks for."""
    folder = exported("middle@0.8")
    script = (
        "import sys, torch\n"
        "from transformers import AutoModel\n"
        "model = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True).eval()\n"
        "with torch.no_grad():\n"
        "    torch.save(model(torch.arange(2, 40)[None]).last_hidden_state, sys.argv[2])\n"
        "print(type(model).__name__, 'harness' in sys.modules)\n"
    )
    environment = {**os.environ, "HF_MODULES_CACHE": str(folder.parent / "modules")}
    said = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(folder / "states.pt")],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder.parent,
        env=environment,
    )
    assert said.stdout.split() == ["PerLayerLlamaModel", "False"]
    model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True).eval()
    with torch.no_grad():
        states = model.model(torch.arange(2, 40)[None]).last_hidden_state
    assert torch.equal(states, torch.load(folder / "states.pt"))


@pytest.mark.parametrize("name", ["middle@0.8", "middle@0.8:llamacpp", "middle@0.8+q8_0:llamacpp"])
def test_a_gguf_file_is_that_of_the_row(name, finished, exported, capsys):
    folder = exported(name, "format=gguf")
    assert [path.name for path in sorted(folder.iterdir())] == ["README.md", "model.gguf"]
    said = capsys.readouterr().out
    assert "loaded again, its logits differ from the stored variant's by at most" in said
    assert ("Q8_0" in said) == ("q8_0" in name)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("middle@0.8", "openvino"),
        ("middle@0.8:openvino", "openvino"),
        ("middle@0.8+int8:openvino", "openvino"),
        ("middle@0.8", "onnx"),
        ("dense", "onnx"),
    ],
)
def test_a_graph_runs_by_the_lines_of_its_card(name, form, exported):
    folder = exported(name, f"format={form}")
    script = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    run = subprocess.run([sys.executable, "-c", script], cwd=folder.parent, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout


@pytest.mark.parametrize("end", ["", "+int8"])
def test_a_row_leaves_in_the_format_of_its_runtime(end, exported):
    assert (exported(f"middle@0.8{end}:openvino") / "openvino_model.xml").is_file()


def test_a_card_says_how_the_model_was_made_measured_and_is_run(exported):
    card = (exported("middle@0.8+q8_0:llamacpp") / "README.md").read_text()
    assert card.startswith("# middle@0.8+q8\\_0:llamacpp\n")
    assert "1. import\n2. middle at 0.8\n3. convert for llamacpp\n4. quantize q8\\_0 in llamacpp" in card
    assert "its licence is that of `random-llama`" in card
    assert "llama-cli -m out/model.gguf" in card
    assert "| average % ↑ |" in card


def test_what_computes_otherwise_than_the_store_is_not_kept(finished, tmp_path, monkeypatch, capsys):
    original = HuggingFace.logits.__func__
    monkeypatch.setattr(
        HuggingFace, "logits", classmethod(lambda kind, folder, ids: original(kind, folder, ids) + 1e-3)
    )
    assert main(["export", "dense", f"to={tmp_path / 'out'}", f"store={finished[1].root}"]) == 2
    assert "computes other logits than the stored variant" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def refused(capsys, *words):
    assert main(["export", *words]) == 2
    return capsys.readouterr().err


def test_what_cannot_be_exported_is_refused_in_a_line(finished, tmp_path, capsys):
    store, to = f"store={finished[1].root}", f"to={tmp_path / 'out'}"
    assert "did you mean middle@0.8 or" in refused(capsys, "middle@0.7", to, store)
    assert "format gguff is unknown; did you mean gguf?" in refused(capsys, "dense", to, store, "format=gguff")
    assert "is quantized by torchao" in refused(capsys, "dense+int8", to, store, "format=gguf")
    assert "is a file of llamacpp; export it as that" in refused(capsys, "dense+q8_0:llamacpp", to, store, "format=hf")
    assert "is a file of openvino; export it as that" in refused(capsys, "dense:openvino", to, store, "format=gguf")
    assert "is quantized by torchao" in refused(capsys, "dense+int8", to, store, "format=openvino")
    assert "is quantized by torchao" in refused(capsys, "dense+int8", to, store, "format=onnx")
    assert "takes one variant" in refused(capsys, to, store)
    assert "harness export needs to=" in refused(capsys, "dense", store)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    assert "is there already and not empty" in refused(capsys, "dense", f"to={tmp_path / 'full'}", store)
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_an_empty_folder_that_one_stands_in_is_filled(finished, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "dense", "to=.", f"store={finished[1].root}"]) == 0
    assert {"README.md", "config.json", "model.safetensors"} <= {path.name for path in tmp_path.iterdir()}
    assert [path.name for path in tmp_path.parent.iterdir() if path.name.endswith(".draft")] == []


def test_weights_that_were_let_go_are_told(tmp_path, capsys):
    _, store, _, _ = ran(tmp_path, "methods=[middle]", "budgets=[0.8]", "quantizers=[none]", "measure.speed=false")
    assert main(["tidy", f"store={store.root}"]) == 0
    words = ("middle@0.8", f"to={tmp_path / 'out'}", f"store={store.root}")
    assert "the weights of middle@0.8 were let go once it was measured" in refused(capsys, *words)


def test_every_format_says_how_it_is_run(finished, exported):
    assert set(formats()) == {"hf", "gguf", "openvino", "onnx"}
    for kind in formats().values():
        assert "mine" in kind.use(held(finished, "dense"), "mine")
