"""What a key stands for: weights, tokenizer, code and settings.

Other ones have other keys, moved and reformatted ones the same.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from runs import planned, ran, words
from tokenizers import pre_tokenizers

from baselines.wanda import Wanda
from harness.cli import main
from harness.compress import Compress
from harness.evaluation.evaluate import Evaluate
from harness.models import source
from harness.models.source import Import, ModelSource
from harness.quantize import Quantize
from harness.quantizers.int8 import Int8
from harness.spec import CalibrationSpec, DataSource, Node, TaskSpec
from harness.storage import provenance, sources

METHOD = '''"""Mine."""
from harness.spec import Method

FACTOR = 2  # of nothing


class Mine(Method):
    """Does nothing."""

    NAME = "mine"
    strength: float = 0.5

    def compress(self, model, calibration):
        return model
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module and import it anew, as another process would; returns its class Mine."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def load(text: str, name: str = "mine", **beside: str) -> type:
        for stem, content in {name: text, **beside}.items():
            path = tmp_path / f"{stem.replace('.', '/')}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(content)
        for known in [known for known in sys.modules if known.partition(".")[0] == name.partition(".")[0]]:
            del sys.modules[known]
        importlib.invalidate_caches()
        sources._meaning_at.cache_clear()
        return importlib.import_module(name).Mine

    yield load
    for known in [known for known in sys.modules if known.partition(".")[0] in ("mine", "theirs", "other")]:
        del sys.modules[known]


def key(kind: type) -> str:
    return Node(Compress(method=kind())).key


def test_an_edited_method_has_another_key(module):
    before = key(module(METHOD))
    assert key(module(METHOD)) == before
    assert key(module(METHOD.replace("FACTOR = 2", "FACTOR = 3"))) != before


def test_comments_layout_and_prose_change_no_key(module):
    before = key(module(METHOD))
    prose = (
        METHOD.replace("Does nothing.", "Does nothing at all.").replace("  # of nothing", "").replace("\n\n", "\n\n\n")
    )
    assert key(module(prose)) == before


def test_what_a_field_is_said_to_mean_changes_no_key_and_its_bounds_do(module):
    text = METHOD.replace("from harness", "from pydantic import Field\nfrom harness")
    text = text.replace("= 0.5", '= Field(0.5, ge=0, description="how much")')
    before = key(module(text))
    assert key(module(text.replace("how much", "how much of it"))) == before
    assert key(module(text.replace("ge=0", "ge=0.1"))) != before


def test_where_a_result_is_deployed_changes_no_key(module):
    before = key(module(METHOD))
    said = '    NAME = "mine"\n    STANDARD_LAYERS = False\n    def bits(self): return 8\n'
    assert METHOD.count('    NAME = "mine"\n') == 1
    assert key(module(METHOD.replace('    NAME = "mine"\n', said))) == before
    assert key(module(METHOD.replace('    NAME = "mine"\n', said.replace("bits", "parts")))) != before


def test_a_moved_method_keeps_its_key(module):
    assert key(module(METHOD)) == key(module(METHOD, name="other"))


def test_what_a_method_imports_from_beside_it_belongs_to_its_key(module):
    text = METHOD.replace("from harness", "import numbers_of_mine\nfrom harness")
    before = key(module(text, numbers_of_mine="ONE = 1\n"))
    assert key(module(text, numbers_of_mine="ONE = 2\n")) != before


def test_the_whole_package_of_a_third_party_belongs_to_its_methods_keys(module):
    package = {"theirs.__init__": "", "theirs.deep": "ONE = 1\n"}
    before = key(module(METHOD, name="theirs.methods", **package))
    assert key(module(METHOD, name="theirs.methods", **package | {"theirs.deep": "ONE = 2\n"})) != before


def test_what_a_method_of_ones_own_is_built_on_is_recorded(module):
    node = Node(Compress(method=module(METHOD.replace("from harness", "import harness.pruning.masks\nfrom harness"))()))
    assert "harness.pruning.masks" in node.code


def test_a_method_without_a_source_file_is_refused(monkeypatch):
    monkeypatch.setattr(Wanda, "__module__", "nowhere")
    with pytest.raises(ValueError, match="put it into a .py file"):
        _ = Node(Compress(method=Wanda(sparsity=0.5))).key


GOLDEN = {  # keys with every source digest held at "-": they change where a field, a VERSION or the scheme does, and then on purpose
    "import": "ee058cee5bf2e92f6baeadd00cce173f39582f91",
    "compress": "31ee74a5eb580fcabe335ace87928bc68d908b0b",
    "quantize": "128ff02dd00e4b294f3a0f7c2c9a2aff2708195b",
    "evaluate": "6200e616ec77f5980fa6e4528aaa9a0a2a0169ec",
}


def steps() -> dict[str, Node]:
    text = DataSource(name="wikitext2", content="c0ffee")
    calibration = CalibrationSpec(source=text, samples=4, length=32)
    dense = Node(Import(source=ModelSource(kind="folder", content="beef"), dtype="bfloat16"))
    pruned = Node(Compress(method=Wanda(sparsity=0.5), calibration=calibration), dense)
    task = TaskSpec(source=DataSource(name="piqa", content="f00d"))
    quantized = Node(Quantize(quantizer=Int8()), pruned)
    return {
        "import": dense,
        "compress": pruned,
        "quantize": quantized,
        "evaluate": Node(Evaluate(tasks=(task,)), quantized),
    }


def test_keys_are_those_of_the_last_version(monkeypatch):
    monkeypatch.setattr(sources, "of_kind", lambda kind: "-")
    assert {name: node.key for name, node in steps().items()} == GOLDEN


def test_a_key_names_kinds_and_no_modules():
    for node in steps().values():
        fields = node.step.fingerprint_fields()
        assert fields["class"] == f"step {node.step.KIND}"
        assert "harness." not in str(fields)
        assert "baselines." not in str(fields)


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
        *("special_tokens_map.json", "vocab.json", "merges.txt", "spiece.model", "tekken.json", "modeling_mine.py"),
        *("additional_chat_templates/tool.jinja", "lib/layers.py", "anything.else", "model.safetensors"),
    ],
)
def test_every_file_that_from_pretrained_may_read_is_in_the_models_key(tiny_folder, name):
    path = tiny_folder / name
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        path.write_text("{}")
    before = source._folder(tiny_folder).content
    assert source._folder(tiny_folder).content == before
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert source._folder(tiny_folder).content != before


@pytest.mark.parametrize(
    "name", ["README.md", "picture.png", ".gitattributes", "optimizer.pt", "checkpoint-5/trainer_state.json"]
)
def test_files_that_from_pretrained_never_reads_change_no_key(tiny_folder, name):
    before = source._folder(tiny_folder).content
    (tiny_folder / name).parent.mkdir(exist_ok=True)
    (tiny_folder / name).write_text("prose")
    assert source._folder(tiny_folder).content == before


QUICK = ("methods=[shortgpt]", "quantizers=[none]", "measure.speed=false", "limit=1")


@pytest.mark.timeout(300)
def test_another_tokenizer_under_the_same_name_is_scored_anew(tmp_path, tiny, tiny_folder):
    words_of = (f"model={tiny_folder}", "methods=[dense]", *QUICK[1:])
    before = ran(tmp_path, *words_of)[3][0]
    tokenizer = tiny[1]
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.save_pretrained(tiny_folder)
    made, _, summary, rows = ran(tmp_path, *words_of)
    assert summary.stored == 0
    assert len(summary.executed) == len(made.steps())
    assert rows[0]["checkpoint"] != before["checkpoint"]


def test_a_step_records_the_code_that_made_it_and_what_changed_since_is_named(tmp_path, monkeypatch):
    made = planned(tmp_path, *QUICK)[0]
    node = made.variants[1].checkpoint
    stored = {name: list(stamp) for name, stamp in node.code.items()}
    assert {"baselines.shortgpt", "harness.pruning.depth", "harness.pruning.extraction"} <= stored.keys()
    assert not any(name.startswith(("reports", "harness.verbs", "harness.nas")) for name in stored)
    record = {"code": stored, "environment": {"torch": provenance._now("torch"), "transformers": "1.0"}}
    assert provenance.differences(record)[0].startswith("transformers 1.0 then, ")
    stored["harness.pruning.depth"] = ["other", "other"]
    stored["harness.gone"] = ["x", "y"]
    assert provenance.differences(record)[:2] == ["harness.pruning.depth was edited", "harness.gone was edited"]


@pytest.mark.timeout(300)
def test_stored_results_of_other_code_are_told_by_run_plan_and_report_and_redone_when_asked(
    tmp_path, monkeypatch, capsys
):
    store = ran(tmp_path, *QUICK)[1]
    there = sources._same
    monkeypatch.setattr(sources, "_same", lambda name, *rest: name != "baselines.shortgpt" and there(name, *rest))
    told = "1 of 6 stored steps were made by other code than is installed (baselines.shortgpt was edited)"
    assert main(["plan", *words(tmp_path, *QUICK)]) == 0
    said = " ".join(capsys.readouterr().out.split())  # wherever its lines were broken
    assert told in said
    assert "stored, by other code" in said
    assert main(["report", f"store={store.root}", f"report={tmp_path / 'report'}"]) == 0
    assert told in " ".join(capsys.readouterr().out.split())
    assert main(["run", *words(tmp_path, *QUICK)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert told in said
    assert "6 steps were stored, 0 executed" in said
    assert main(["run", *words(tmp_path, *QUICK, "redo=changed")]) == 0
    said = capsys.readouterr().out
    # the pruned model, and what was measured of it: the dense model's steps stay
    assert "3 steps were stored, 3 executed" in said
    assert main(["run", *words(tmp_path, *QUICK, "redo=all")]) == 0
    assert "0 steps were stored, 6 executed" in capsys.readouterr().out
    assert Path(store.root / "corrupt").is_dir(), "what was there is kept"
