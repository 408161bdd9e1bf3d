"""Read instruction rows and running text, from local JSON lines or the hub. The only file that opens them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data.layout import HUB_TEXT, local_files
from harness.spec import DataSource


def read_jsonl(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a .jsonl or .jsonl.gz file."""
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8")
    with opened as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


def rows(source: DataSource) -> list[dict[str, Any]]:
    """Return all rows of a text source."""
    if source.folder is not None:
        files = local_files(source.name, Path(source.folder))
        return list(read_jsonl(files.get("train") or files["test"]))
    from datasets import load_dataset

    repository, configuration, split, _ = HUB_TEXT[source.name]
    return list(load_dataset(repository, configuration, split=split))


def prompt(row: dict[str, Any]) -> str:
    """Return the instruction part of an instruction row."""
    request = row["instruction"].strip()
    extra = (row.get("input") or "").strip()
    return f"### Instruction:\n{request}\n\n" + (f"### Input:\n{extra}\n\n" if extra else "") + "### Response:\n"


def response(row: dict[str, Any]) -> str:
    return row["output"].strip()


def documents(source: DataSource) -> list[str]:
    """Return running text, one string a row, for calibration and perplexity."""
    found = rows(source)
    if found and "instruction" in found[0]:
        return [prompt(row) + response(row) for row in found]
    name = next(key for key in ("text", "page", "sentence") if key in found[0])
    return [row[name] for row in found]
