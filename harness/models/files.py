"""The files of a model folder.

The weights that transformers loads from it, and everything else that decides what comes out.
"""

from __future__ import annotations

import json
from pathlib import Path

SAFE = "model.safetensors"
SHARDS = "model.safetensors.index.json"  # names the files of weights that are kept in several
# never read by from_pretrained: prose, pictures, weights of other frameworks, the state of a training, whole models of another format
UNREAD = frozenset(
    [
        ".md",
        ".png",
        ".jpg",
        ".jpeg",
        ".gif",
        ".svg",
        ".pdf",
        ".log",
        ".csv",
        ".h5",
        ".msgpack",
        ".onnx",
        ".ot",
        ".tflite",
        ".gguf",
        ".pt",
        ".pth",
        ".npz",
        ".lock",
        ".draft",
    ]
)
WEIGHTS = frozenset({".safetensors", ".bin"})


def weights(folder: Path) -> list[Path]:
    """Return the weight files that are loaded: one file of safetensors, or those that its index names.

    Empty for none.

    ValueError for an index that cannot be read or names a file that is not there. Pickled files are never loaded.
    """
    if (folder / SAFE).is_file():
        return [folder / SAFE]
    index = folder / SHARDS
    return _named(index) if index.is_file() else []


def _named(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{index} is no index of weight files: it must hold a weight_map from names to files"
        ) from None
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing or not names:
        raise ValueError(f"{index} names {', '.join(missing) or 'no file'}, which {index.parent} lacks")
    return [index.parent / name for name in names]


def deciding(folder: Path) -> list[Path]:
    """Return every file that from_pretrained may read, sorted.

    Of model, tokenizer or remote code, weights among them.

    What cannot be read by it is named by ending; any other file counts, so that no kind of tokenizer file is forgotten.
    """
    listed = weights(folder)
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder)
        if not path.is_file() or any(part.startswith((".", "__pycache__")) for part in inner.parts):
            continue
        if path.suffix.lower() in UNREAD | WEIGHTS:
            continue
        if len(inner.parts) == 1 or path.suffix in (".py", ".jinja"):
            listed.append(path)
    return sorted(set(listed))
