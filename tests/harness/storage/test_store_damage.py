"""Every kind of file in a store, damaged in every way.

Told with its name, the rest goes on, and a run mends it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from runs import ran

from harness.cli import main
from harness.storage.store import Store

RUN = (
    *("methods=[nas(training_tokens=256,batch=2,evaluations=6),shortgpt]", "budgets=[0.8]", "quantizers=[none]"),
    *("measure.speed=false", "limit=1", "settings.nas.finalists=1", "settings.nas.search_items=1", "report=report"),
)
TASKS = [{"task": "demo_piqa", "metric": "acc"}, {"task": "demo_hellaswag", "metric": "acc_norm"}]
TEXT = {"calibration": "demo_instructions", "training": "demo_instructions"}


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


WAYS: dict[str, Callable[[bytes], bytes | None]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "bits": flipped,
    "gone": lambda content: None,
    "other": lambda content: b'{"key": 1}',
    "list": lambda content: b"[]",
}
KINDS = {  # a pattern in the store, of whose files one is damaged
    "record of an import": ("steps/*/step.json", "import"),
    "record of a search": ("steps/*/step.json", "search"),
    "record of a pick": ("steps/*/step.json", "pick"),
    "record of an evaluation": ("steps/*/step.json", "evaluate"),
    "record of a footprint": ("steps/*/step.json", "footprint"),
    "items": ("steps/*/items.parquet", "evaluate"),
    "losses": ("steps/*/losses.json", "supernet"),
    "order": ("steps/*/order.json", "supernet"),
    "candidates": ("steps/*/records.json", "search"),
    "configuration": ("steps/*/checkpoint/config.json", "import"),
    "tokenizer": ("steps/*/checkpoint/tokenizer.json", "import"),
    "weights": ("steps/*/checkpoint/model.safetensors", "pick"),
    "run": ("runs/*.json", ""),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run, of two tasks, since it is made again 78 times; its words, and its report as JSON."""
    place = tmp_path_factory.mktemp("finished")
    suite = place / "few.yaml"
    suite.write_text(json.dumps({"name": "few", "tasks": TASKS, **TEXT}))
    words = (*RUN, f"suite={suite}")
    ran(place, *words)
    assert main(["report", f"store={place / 'store'}", f"report={place / 'report'}", "format=json"]) == 0
    return place, words, numbers(place)


def numbers(place: Path) -> dict[str, dict[str, float]]:
    """Return what the report says of each variant that no clock or process changes."""
    rows = json.loads((place / "report" / "report.json").read_text())["rows"]
    told = ("parameters", "bytes_on_disk", "average", "average_low", "status")
    return {row["variant"]: {key: row.get(key) for key in told} for row in rows}


def one(store: Path, pattern: str, kind: str) -> Path:
    """Return the first file of a kind of step, in the order of keys."""
    files = sorted(store.glob(pattern))
    of = {path: next(parent for parent in path.parents if (parent / "step.json").is_file()) for path in files if kind}
    return next(path for path in files if not kind or Store(store).record(of[path].name)["kind"] == kind)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_damage_is_told_by_name_and_mended_by_a_run(finished, tmp_path, capsys, monkeypatch, kind, way):
    monkeypatch.chdir(tmp_path)
    place, words, whole = finished
    store = tmp_path / "store"
    shutil.copytree(place / "store", store)
    path = one(store, *KINDS[kind])
    changed = WAYS[way](path.read_bytes())
    path.unlink()
    if changed is not None:
        path.write_bytes(changed)
    verbs = [
        ["report", "format=json"],
        ["compare", "dense", "shortgpt@0.8"],
        ["gate", f"baseline={place / 'store'}"],
        ["ls"],
        ["doctor"],
    ]
    said, codes = "", {}
    for verb in verbs:
        codes[verb[0]] = main([*verb, f"store={store}", *(["report=report"] if verb[0] == "report" else [])])
        streams = capsys.readouterr()
        said += streams.out + streams.err
    said += (tmp_path / "report" / "report.json").read_text() if (tmp_path / "report" / "report.json").exists() else ""
    name = path.name if kind != "run" else path.stem
    if (kind, way) != ("run", "gone"):  # nobody can know of a run that left no trace
        assert name in said, "the damaged file is named"
        assert codes["doctor"] == 1
    if kind != "run":
        assert codes["report"] == codes["ls"] == 0
    assert "Traceback" not in said
    _, _, summary, rows = ran(tmp_path, *words)  # and not the verb, which would draw four pictures each time
    assert not summary.failed
    assert {row["status"] for row in rows} == {"ok"}
    assert main(["report", f"store={store}", "report=report", "format=json"]) == 0
    assert numbers(tmp_path) == whole
    capsys.readouterr()
    # weights that nothing needs any more are read by doctor alone: hashing all of them would cost every run minutes
    assert main(["doctor", f"store={store}"]) == ((kind, way) == ("weights", "bits"))
