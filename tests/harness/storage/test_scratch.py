"""What a killed step left behind is taken up to the line.

Where it is damaged, this is told, and the file is set aside and begun anew.
"""

from __future__ import annotations

import json

import pytest
import torch

from harness import progress
from harness.evaluation.journal import Journal
from harness.recovery.adamw import AdamW
from harness.recovery.state import STATE, resume, save
from harness.storage import lines

ENTRIES = [["a", [-1.5, True]], ["b", "said é"], ["c", [-3.25, False]]]


@pytest.fixture
def told():
    """What the user is told meanwhile."""
    heard: list[str] = []
    progress.listen(None, heard.append)
    yield heard
    progress.listen(None)


def test_lines_come_back_as_they_were(tmp_path, told):
    lines.append(tmp_path / "x.jsonl", ENTRIES[:1])
    lines.append(tmp_path / "x.jsonl", ENTRIES[1:])
    assert lines.read(tmp_path / "x.jsonl") == ENTRIES
    assert told == []


@pytest.mark.parametrize("kept", range(1, 20))
def test_a_line_that_a_kill_tore_is_dropped_without_a_word(tmp_path, told, kept):
    path = tmp_path / "x.jsonl"
    lines.append(path, ENTRIES)
    whole = path.read_bytes()
    last = whole.splitlines(keepends=True)[-1]
    path.write_bytes(whole[: len(whole) - min(kept, len(last))])
    assert lines.read(path) == ENTRIES[:2]
    lines.append(path, ENTRIES[2:])
    assert lines.read(path) == ENTRIES
    assert told == []


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole.replace(b"-1.5", b"-1.6"),  # a digit: still JSON
        lambda whole: b'{"a": 1, "b": 2}\n' + whole.partition(b"\n")[2],  # JSON of another form
        lambda whole: b"\x00\xff" * 30 + b"\n" + whole.partition(b"\n")[2],
        lambda whole: b"\n" + whole.partition(b"\n")[2],
    ],
)
def test_a_damaged_line_is_told_kept_aside_and_done_again(tmp_path, told, damage):
    path = tmp_path / "answers.jsonl"
    lines.append(path, ENTRIES)
    path.write_bytes(damage(path.read_bytes()))
    spoilt = path.read_bytes()
    journal = Journal(path)
    assert journal.found == dict(ENTRIES[1:])
    assert [text.partition(";")[0] for text in told] == ["answers.jsonl: 1 of 3 lines are damaged"]
    [aside] = tmp_path.glob("answers.jsonl.damaged-*")
    assert aside.read_bytes() == spoilt
    journal.add([tuple(ENTRIES[0])])
    assert Journal(path).found == dict(ENTRIES)
    assert len(told) == 1


def optimizer(seed: int = 0) -> AdamW:
    torch.manual_seed(seed)
    made = AdamW({"one": torch.randn(3, 4), "two": torch.randn(5)}, 0.0)
    for name, weight in made.weights.items():
        made.means[name], made.squares[name], made.counts[name] = torch.randn_like(weight), weight**2, 7
    return made


def state(one: AdamW) -> list[torch.Tensor]:
    return [tensor.clone() for part in (one.weights, one.means, one.squares) for tensor in part.values()]


def test_a_training_state_comes_back_to_the_bit(tmp_path, told):
    one, other = optimizer(), optimizer(1)
    save(tmp_path, one, [(0, 8, 2.5, "full")])
    assert resume(tmp_path, other) == [(0, 8, 2.5, "full")]
    assert all(map(torch.equal, state(one), state(other)))
    assert other.counts == one.counts
    assert told == []


def bit(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: b"garbage",
        lambda whole: b"",
        lambda whole: whole[: len(whole) // 2],
        lambda whole: bit(whole, len(whole) - 1),  # of a weight: no reader of the format would see it
        lambda whole: whole.replace(b"2.5", b"2.6"),
        lambda whole: json.dumps({"curve": []}).encode(),
    ],
)
def test_a_damaged_training_state_is_told_set_aside_and_training_begins_anew(tmp_path, told, damage):
    save(tmp_path, optimizer(), [(0, 8, 2.5, "full")])
    path = tmp_path / STATE
    path.write_bytes(damage(path.read_bytes()))
    fresh, before = optimizer(1), state(optimizer(1))
    assert resume(tmp_path, fresh) == []
    assert all(map(torch.equal, state(fresh), before)), "nothing of a damaged state is loaded"
    assert len(told) == 1
    assert "begins anew" in told[0]
    assert not path.exists()
    assert len(list(tmp_path.glob(f"{STATE}.damaged-*"))) == 1


def test_the_state_of_another_training_is_not_taken(tmp_path, told):
    save(tmp_path, optimizer(), [(0, 8, 2.5, "full")])
    other = AdamW({"one": torch.zeros(3, 5), "two": torch.zeros(5)}, 0.0)
    assert resume(tmp_path, other) == []
    assert "it is of another training" in told[0]


def test_a_training_state_is_on_the_disk_before_it_replaces_the_last_one(tmp_path, monkeypatch):
    order: list[str] = []
    monkeypatch.setattr("os.fsync", lambda handle: order.append("fsync"))
    replace = type(tmp_path).replace
    monkeypatch.setattr(type(tmp_path), "replace", lambda path, to: (order.append("replace"), replace(path, to))[1])
    save(tmp_path, optimizer(), [])
    assert order == ["fsync", "replace"]
