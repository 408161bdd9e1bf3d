"""Where the items of a task lie in a local mirror (`data_dir=`) and which lm-eval task definition reads them."""

from __future__ import annotations

import difflib
import gzip
import hashlib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from harness.data import hub
from harness.spec import DataSource
from harness.store import sha256_file


@dataclass(frozen=True)
class Layout:
    """`definition` is the YAML inside lm_eval/tasks; `files` maps a split to a file of the mirror."""

    definition: str
    files: dict[str, str] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)  # what a whole mirror holds
    train: str | None = None  # the split whose items a search may score; never the reported one
    evaluate: str = "validation"


def _arc(name: str, train: int, validation: int, test: int) -> Layout:
    files = {split: f"{name}/{split}.jsonl" for split in ("train", "validation", "test")}
    return Layout(
        f"arc/{name}.yaml",
        files,
        {"train": train, "validation": validation, "test": test},
        train="train",
        evaluate="test",
    )


TASKS: dict[str, Layout] = {
    "boolq": Layout("super_glue/boolq/default.yaml", {"validation": "boolq/validation.jsonl.gz"}, {"validation": 3270}),
    "piqa": Layout("piqa/piqa.yaml", {"validation": "piqa/validation.jsonl"}, {"validation": 1838}),
    "social_iqa": Layout("siqa/siqa.yaml", {"validation": "social_iqa/validation.jsonl"}, {"validation": 1954}),
    "hellaswag": Layout(
        "hellaswag/hellaswag.yaml", {"validation": "hellaswag/validation.jsonl.gz"}, {"validation": 10042}
    ),
    "winogrande": Layout(
        "winogrande/default.yaml",
        {"train": "winogrande/train_l.jsonl.gz", "validation": "winogrande/validation.jsonl"},
        {"train": 10234, "validation": 1267},
        train="train",
    ),
    "arc_easy": _arc("arc_easy", 2251, 570, 2376),
    "arc_challenge": _arc("arc_challenge", 1119, 299, 1172),
    "openbookqa": Layout(
        "openbookqa/openbookqa.yaml",
        {split: f"openbookqa/{split}.jsonl" for split in ("train", "validation", "test")},
        {"train": 4957, "validation": 500, "test": 500},
        train="train",
        evaluate="test",
    ),
    "wikitext": Layout("wikitext/wikitext.yaml", {"test": "wikitext2/test.jsonl"}, {"test": 62}, evaluate="test"),
    "wikitext2_token": Layout("", {"test": "wikitext2/test.jsonl"}, {"test": 62}, evaluate="test"),
    "ptb_token": Layout("", {"test": "ptb/test.jsonl"}, {"test": 3761}, evaluate="test"),
}
HUB_TEXT = {
    "wikitext2_token": ("Salesforce/wikitext", "wikitext-2-raw-v1", "test", "text"),
    "ptb_token": ("ptb-text-only/ptb_text_only", "penn_treebank", "test", "sentence"),
    "wikitext2": ("Salesforce/wikitext", "wikitext-2-raw-v1", "train", "text"),
    "alpaca": ("yahma/alpaca-cleaned", None, "train", ""),
}
TEXT = {
    "alpaca": "alpaca/train.jsonl.gz",
    "wikitext2": "wikitext2_paragraphs/train.jsonl.gz",
    "demo_instructions": "demo/instructions.jsonl",
}
DEMO_FORMATS = ("boolq", "piqa", "hellaswag", "winogrande", "arc_easy", "arc_challenge", "openbookqa")


def demo_folder() -> Path:
    """Return the folder of the installed `suites` package, which ships the demo items."""
    return Path(str(resources.files("suites")))


def layout(task: str) -> Layout | None:
    """Return a known task's layout; demo tasks read the same definitions with shipped items."""
    if task.startswith("demo_") and task.removeprefix("demo_") in DEMO_FORMATS:
        name = task.removeprefix("demo_")
        files = {"train": f"demo/{name}/train.jsonl", "validation": f"demo/{name}/test.jsonl"}
        return Layout(TASKS[name].definition, files, {}, train="train", evaluate="validation")
    return TASKS.get(task)


def nearest(name: str, known: list[str]) -> str:
    """Return a phrase naming the closest known choices, for error messages."""
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(sorted(known))}"


def local_files(name: str, folder: Path) -> dict[str, Path]:
    """Return the existing files by split; ValueError naming the file and its rows when the evaluated one is missing."""
    known = layout(name)
    if known is None:
        relative = {"train": TEXT[name]} if name in TEXT else {}
        rows: dict[str, int] = {}
        needed = "train"
    else:
        relative, rows, needed = known.files, known.rows, known.evaluate
    if not relative:
        raise ValueError(f"{name}: data_dir has no layout for this task; {nearest(name, [*TASKS, *TEXT])}")
    found = {split: folder / path for split, path in relative.items() if (folder / path).is_file()}
    if needed not in found:
        expected = f" ({rows[needed]:,} rows)" if needed in rows else ""
        raise ValueError(
            f"{name}: data_dir={folder} lacks {relative[needed]}{expected}; "
            "put it there, drop data_dir= where the hub is in reach, or use suite=demo"
        )
    return found


def local_source(name: str, folder: Path) -> DataSource:
    """Return the data source with the hash of its files' bytes."""
    files = local_files(name, folder)
    parts = [f"{split}:{sha256_file(path)}" for split, path in sorted(files.items())]
    known = layout(name)
    scored = files[known.evaluate] if known else next(iter(files.values()))
    content = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return DataSource(name=name, folder=str(folder.resolve()), content=content, rows=_lines(scored))


def _lines(path: Path) -> int:
    opened = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as stream:
        return sum(1 for line in stream if line.strip())


def hub_source(name: str) -> DataSource:
    """Return a source that lm-eval or `datasets` fetches; ValueError when neither the hub nor its cache answers."""
    repository, configuration = _hub_place(name)
    hub.settle()
    from datasets import load_dataset_builder

    try:
        builder = load_dataset_builder(repository, configuration)
    except Exception as error:  # transports and datasets raise dozens of kinds; all mean the data is not to be had
        raise ValueError(
            f"{name}: its data ({repository}) is out of reach ({type(error).__name__}); tried the hub and the local cache. "
            "Ways out: data_dir=FOLDER with a local mirror, or suite=demo"
        ) from None
    return DataSource(name=name, content=f"{repository}/{configuration}@{builder.hash or builder.info.version}")


def _hub_place(name: str) -> tuple[str, str | None]:
    if name in HUB_TEXT:
        return HUB_TEXT[name][0], HUB_TEXT[name][1]
    import lm_eval.tasks

    known = layout(name)
    if known is None or not known.definition:
        raise ValueError(f"unknown task {name}; {nearest(name, [*TASKS, *(f'demo_{n}' for n in DEMO_FORMATS)])}")
    settings = _definition(Path(lm_eval.tasks.__file__).parent / known.definition)
    return settings["dataset_path"], settings.get("dataset_name")


class _Loader(yaml.SafeLoader):
    """Reads task definitions without running the functions that they name."""


_Loader.add_multi_constructor("!", lambda loader, suffix, node: None)


def _definition(path: Path) -> dict[str, Any]:
    """Return a task definition's keys, those it includes below its own."""
    own = yaml.load(path.read_text(), _Loader)
    included = own.get("include")
    return {**(_definition(path.parent / included) if included else {}), **own}


def source(name: str, data_dir: Path | None) -> DataSource:
    """Return where `name` comes from: shipped with the project, the local mirror, or the hub."""
    if name.startswith("demo_"):
        return local_source(name, demo_folder())
    return local_source(name, data_dir) if data_dir is not None else hub_source(name)
