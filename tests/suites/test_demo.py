"""The demo items are what their README says: fields, labels, balance, no duplicates."""

from __future__ import annotations

from collections import Counter

import pytest
from demo_items import LABELS, answers, demo, label, plainly, question

from harness.data import origin, text
from harness.data.catalogue import DEMO_FORMATS
from harness.data.mirror import demo_folder

FIELDS = {
    "boolq": {"passage", "question", "idx", "label"},
    "piqa": {"goal", "sol1", "sol2", "label"},
    "hellaswag": {"activity_label", "ctx_a", "ctx_b", "ctx", "endings", "label"},
    "winogrande": {"sentence", "option1", "option2", "answer"},
    "arc_easy": {"id", "question", "choices", "answerKey"},
    "arc_challenge": {"id", "question", "choices", "answerKey"},
    "openbookqa": {"id", "question_stem", "choices", "answerKey"},
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", DEMO_FORMATS)
def test_demo_items_have_the_documented_fields(name, split):
    for row in demo(name, split):
        assert set(row) == FIELDS[name]
        assert label(row) in LABELS[name]
        assert type(label(row)) is type(LABELS[name][0])
        if "choices" in row:
            assert row["choices"]["label"] == LABELS[name]
        choices = answers(row)
        assert len(choices) == (len(LABELS[name]) if name != "boolq" else 0)
        assert len({plainly(choice) for choice in choices}) == len(choices)
        assert all(choice.strip() == choice and choice for choice in [*choices, question(name, row)])


@pytest.mark.parametrize("name", DEMO_FORMATS)
def test_demo_items_are_enough_and_balanced_exactly(name):
    assert len(demo(name, "test")) >= 25
    for split in ("train", "test"):
        counts = Counter(label(row) for row in demo(name, split))
        assert set(counts) == set(LABELS[name])
        assert len(set(counts.values())) == 1


def test_the_documented_counts_hold():
    assert {len(demo(name, "test")) for name in DEMO_FORMATS} == {32}
    assert {len(demo(name, "train")) for name in DEMO_FORMATS} == {16}
    rows = list(text.read_jsonl(demo_folder() / "demo" / "instructions.jsonl"))
    assert len(rows) == 200
    assert all(set(row) == {"instruction", "input", "output"} and row["output"].strip() for row in rows)


def test_no_demo_item_occurs_twice_within_or_across_splits_and_formats():
    seen = Counter(
        plainly(f"{question(name, row)} {row['question'] if name == 'boolq' else ''}")
        for name in DEMO_FORMATS
        for split in ("train", "test")
        for row in demo(name, split)
    )
    assert [words for words, count in seen.items() if count > 1] == []


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", sorted(set(DEMO_FORMATS) - {"boolq", "winogrande"}))  # their answers are not texts
def test_right_and_wrong_demo_answers_have_similar_lengths(name, split):
    lengths: dict[bool, list[int]] = {True: [], False: []}
    for row in demo(name, split):
        for key, answer in zip(LABELS[name], answers(row), strict=True):
            lengths[key == label(row)].append(len(answer))
    right, wrong = (sum(actual) / len(actual) for actual in (lengths[True], lengths[False]))
    assert right == pytest.approx(wrong, rel=0.1)  # what "similar" means here: one character in ten


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_winogrande_sentence_has_one_blank_and_names_both_options(split):
    for row in demo("winogrande", split):
        assert row["sentence"].count("_") == 1
        assert all(row[option].casefold() in row["sentence"].casefold() for option in ("option1", "option2"))


def test_calibration_text_contains_no_reported_demo_item():
    documents = [plainly(document) for document in text.documents(origin.source("demo_instructions", None))]
    assert len(documents) == 200
    for name in DEMO_FORMATS:
        for row in demo(name, "test"):
            asked = plainly(question(name, row))
            pieces = asked.split("_") if name == "winogrande" else [asked]  # the longer side of the blank
            assert not any(max(pieces, key=len).strip() in document for document in documents), row
