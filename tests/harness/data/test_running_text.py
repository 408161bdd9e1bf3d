"""WikiText-2 as pruning papers read it.

The rows of the raw split, whether they come as pages or as rows.
"""

from __future__ import annotations

import hashlib

import pytest
from written_suites import sourced, write_rows, write_suite

from harness.data.origin import local_source
from harness.data.text import lines, running_text
from harness.evaluation.perplexity import windows
from harness.models.random_llama import build

RAW = " \n = One = \n \n A line . \n \n = = Part = = \n \n \n Another . \n \n = Two = \n \n The end . \n"


def rows_of(raw: str) -> list[str]:
    """As the hub's raw rows are made of the file."""
    return [line if line.strip() else "" for line in raw.splitlines(keepends=True)]


def pages_of(raw: str) -> list[str]:
    """As the hub's document-level pages are made of it: cut ahead of every heading of the first level."""
    pages, page = [], []
    for line in raw.split("\n"):
        if line.startswith(" = ") and not line.startswith(" = = "):
            pages.append("\n".join(page))
            page = []
        page.append(line)
    return [page for page in [*pages, "\n".join(page)] if page.strip()]


def test_pages_give_the_rows_that_they_were_cut_from():
    assert len(pages_of(RAW)) == 2
    assert lines(pages_of(RAW)) == rows_of(RAW)


def test_pages_and_rows_are_joined_to_the_same_text_as_published_code_does(tmp_path):
    expected = "\n\n".join(rows_of(RAW))
    for name, rows in (("page", pages_of(RAW)), ("text", rows_of(RAW))):
        folder = tmp_path / name
        write_rows(folder / "wikitext2" / "test.jsonl", [{name: row} for row in rows])
        assert running_text(local_source("wikitext2_token", folder)) == expected


def test_sentences_of_ptb_are_joined_by_an_empty_line(tmp_path):
    write_rows(tmp_path / "ptb" / "test.jsonl", [{"sentence": "no it was n't"}, {"sentence": "it was"}])
    assert running_text(local_source("ptb_token", tmp_path)) == "no it was n't\n\nit was"


def test_another_join_is_another_evaluation_of_that_task_alone(tmp_path):
    write_rows(tmp_path / "wikitext2" / "test.jsonl", [{"page": "a"}])
    write_rows(tmp_path / "ptb" / "test.jsonl", [{"sentence": "a"}])
    tasks = [{"task": name} for name in ("wikitext2_token", "ptb_token")]
    report, _, _ = sourced(write_suite(tmp_path, *tasks), tmp_path)
    assert [spec.fingerprint_fields().get("joined") for spec in report] == [2, None]


def test_windows_leave_no_token_out_but_the_last_ones():
    _, tokenizer = build()
    text = RAW * 40
    ids = tokenizer(text, add_special_tokens=False).input_ids
    actual = windows(text, tokenizer, 32)
    read = [token for request in actual for token in (*request.context, *request.continuation)]
    assert read == ids[: len(ids) // 32 * 32]
    with pytest.raises(ValueError, match="less than one window of 100000$"):
        windows(text, tokenizer, 100000)


def test_the_mirrors_pages_are_the_published_file(data_dir):
    rows = lines([row["page"] for row in _pages(data_dir)])
    raw = "".join(row or " \n" for row in rows)
    assert len(raw.encode()) == 1_290_590
    assert (
        hashlib.sha256(raw.encode()).hexdigest() == "173c87a53759e0201f33e0ccf978e510c2042d7f2cb78229d9a50d79b9e7dd08"
    )
    assert len(rows) == 4358


def _pages(data_dir):
    from harness.data.text import all_rows

    return all_rows(local_source("wikitext2_token", data_dir))
