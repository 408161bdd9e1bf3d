"""Read instruction rows and running text, from local JSON lines or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.data import own_text
from harness.data.catalogue import HUB_TEXT
from harness.data.mirror import local_files, read_jsonl
from harness.data.overlap import apart
from harness.spec import DataSource


def rows(source: DataSource) -> list[dict[str, Any]]:
    """Return the rows of a text source but those that ask what the shipped suites report (`overlap`)."""
    return apart(all_rows(source))


def all_rows(source: DataSource) -> list[dict[str, Any]]:
    """Return the rows as the mirror or the hub has them; a line without words is no row."""
    if source.name == own_text.NAME:
        return own_text.rows(Path(source.folder or ""))
    if source.folder is not None:
        files = local_files(source.name, Path(source.folder))
        return list(read_jsonl(files.get("train") or files["test"]))
    from datasets import load_dataset

    repository, configuration, split, column = HUB_TEXT[source.name]
    return [row for row in load_dataset(repository, configuration, split=split) if not column or row[column].strip()]


def prompt(row: dict[str, Any]) -> str:
    """Return the instruction part of an instruction row."""
    request = row["instruction"].strip()
    extra = (row.get("input") or "").strip()
    return f"### Instruction:\n{request}\n\n" + (f"### Input:\n{extra}\n\n" if extra else "") + "### Response:\n"


def response(row: dict[str, Any]) -> str:
    return row["output"].strip()


def documents(source: DataSource) -> list[str]:
    """Return running text, one string a row, for calibration and perplexity."""
    table = rows(source)
    if table and own_text.instructs(table):
        return [prompt(row) + response(row) for row in table]
    name = column(table[0])
    return [row[name] for row in table]


def column(row: dict[str, Any]) -> str:
    """Return which field of a row is running text."""
    return next(key for key in ("text", "page", "sentence") if key in row)


def running_text(source: DataSource) -> str:
    """Return the whole text that token-level perplexity is of.

    Its rows are joined by an empty line, as pruning papers' code does.

    SparseGPT, Wanda, SliceGPT and FLAP read WikiText-2 as rows, a line each with its own end, blank ones empty, of which
    pages are made; PTB's sentences are joined alike by SliceGPT, by a space in SparseGPT's code.
    """
    table = all_rows(source)
    name = column(table[0])
    return "\n\n".join(lines([row[name] for row in table]) if name == "page" else [row[name] for row in table])


def lines(pages: list[str]) -> list[str]:
    """Return the rows of the raw file that document-level pages were cut from.

    A cut is between lines, at every heading.
    """
    text = " \n" + "\n".join(pages)  # the blank line ahead of the first heading belongs to no page
    return [f"{line}\n" if line.strip() else "" for line in text.removesuffix("\n").split("\n")]
