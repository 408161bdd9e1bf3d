"""Calibration text of the user's own.

Read, keyed by its bytes, and refused with a reason before any work.
"""

from __future__ import annotations

import gzip
import json

import pytest
from runs import planned, ran, words

from harness import config, graph
from harness.config import ConfigErrors
from harness.data import own_text, suites, text

PROSE = "One paragraph\nof two lines.\n\n \nAnother one.\n"


def calibration(tmp_path, file):
    made, _ = planned(tmp_path, "methods=[wanda]", f"calibration.text={file}")
    return next(node.step.calibration for node in made.steps() if node.step.KIND == "compress")


def test_a_file_of_paragraphs_is_rows_of_text(tmp_path):
    (tmp_path / "mine.txt").write_text(PROSE)
    source = suites.text_source(str(tmp_path / "mine.txt"), None)
    assert text.documents(source) == ["One paragraph\nof two lines.", "Another one."]
    assert source.rows == 2


def test_json_lines_are_texts_or_instructions(tmp_path):
    lines = [{"text": "plain", "instruction": "none that is answered"}, {"text": "more"}]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert text.documents(suites.text_source(str(tmp_path / "mine.jsonl"), None)) == ["plain", "more"]
    (tmp_path / "asked.jsonl").write_text(json.dumps({"instruction": "Say hello", "output": "hello"}))
    [said] = text.documents(suites.text_source(str(tmp_path / "asked.jsonl"), None))
    assert said.endswith("### Response:\nhello")


def test_the_bytes_of_a_text_are_in_the_key_and_its_place_is_not(tmp_path):
    (tmp_path / "mine.txt").write_text(PROSE * 40)
    (tmp_path / "moved.txt").write_text(PROSE * 40)
    (tmp_path / "edited.txt").write_text(PROSE * 40 + "more")
    first, moved, edited = (calibration(tmp_path, tmp_path / f"{name}.txt") for name in ("mine", "moved", "edited"))
    assert first.fingerprint_fields() == moved.fingerprint_fields() != edited.fingerprint_fields()


def test_the_same_bytes_are_another_text_where_they_are_read_otherwise(tmp_path):
    (tmp_path / "mine.txt").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "mine.jsonl").write_bytes((tmp_path / "mine.txt").read_bytes())
    prose, lines = (suites.text_source(str(tmp_path / f"mine.{end}"), None) for end in ("txt", "jsonl"))
    assert text.documents(prose) != text.documents(lines)
    assert prose.fingerprint_fields() != lines.fingerprint_fields()


@pytest.mark.parametrize("named", ["mine.txt", "wikitext2"])
def test_text_without_instructions_is_refused_for_training_by_the_plan(tmp_path, named):
    (tmp_path / "mine.txt").write_text(PROSE)
    mirror = tmp_path / "wikitext2_paragraphs"
    mirror.mkdir()
    (mirror / "train.jsonl.gz").write_bytes(gzip.compress(b'{"text": "a paragraph"}\n'))
    (tmp_path / "mine.yaml").write_text(
        f"name: mine\ntasks: [{{task: demo_piqa}}]\ncalibration: mine.txt\ntraining: {named}\n"
    )
    suite = (f"suite={tmp_path / 'mine.yaml'}", f"data_dir={tmp_path}")
    planned(tmp_path, *suite, "methods=[wanda]")
    with pytest.raises(
        ConfigErrors, match=rf"training: {named} has no instructions to train on; name alpaca, demo_instr"
    ):
        planned(tmp_path, *suite, "methods=[recover]")


def test_a_method_is_calibrated_on_it(tmp_path):
    (tmp_path / "mine.txt").write_text(PROSE * 40)
    _, _, summary, rows = ran(
        tmp_path,
        "methods=[wanda]",
        "quantizers=[none]",
        "measure.speed=false",
        f"calibration.text={tmp_path / 'mine.txt'}",
    )
    assert not summary.failed
    assert rows[1]["calibration_tokens"] == 4 * 32


def test_a_suites_text_lies_beside_it(tmp_path, monkeypatch):
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "mine.yaml").write_text("name: mine\ntasks: [{task: demo_piqa}]\ncalibration: mine.txt\n")
    (tmp_path / "suite" / "mine.txt").write_text(PROSE)
    monkeypatch.chdir(tmp_path)
    run = config.compose(words(tmp_path, "suite=suite/mine.yaml", "methods=[wanda]"))
    actual = {node.step.calibration.source for node in graph.build(run).steps() if node.step.KIND == "compress"}
    assert {source.name for source in actual} == {own_text.NAME}


WRONG = {
    "empty.txt": (b" \n\n", "it holds no text"),
    "latin.txt": (b"caf\xe9", "cannot be read (UnicodeDecodeError"),
    "torn.jsonl": (b'{"text": ', "cannot be read (JSONDecodeError"),
    "other.jsonl": (b'{"body": "x"}', "line 1 has neither text, nor instruction and output"),
    "list.jsonl": (b"[1]", "line 1 has neither text, nor instruction and output"),
    "torn.jsonl.gz": (b"no gzip", "cannot be read (BadGzipFile"),
    "mixed.jsonl": (b'{"text": "x"}\n{"instruction": "x", "output": "y"}', "line 2 is not of the kind of line 1"),
    "mixed too.jsonl": (b'{"instruction": "x", "output": "y"}\n{"text": "x"}', "line 2 is not of the kind of line 1"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_text_is_refused_by_the_plan(tmp_path, name):
    content, said = WRONG[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigErrors) as refused:
        planned(tmp_path, "methods=[wanda]", f"calibration.text={tmp_path / name}")
    assert said in str(refused.value)


def test_a_missing_text_is_named(tmp_path):
    with pytest.raises(ConfigErrors, match=r"text nowhere.txt: no such file"):
        planned(tmp_path, "methods=[wanda]", "calibration.text=nowhere.txt")
