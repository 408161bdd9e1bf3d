"""Where a model comes from: the embedded default, a hub id, a local folder, a GGUF file, or random weights for tests."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness.data import hub
from harness.models import counted, embedded
from harness.spec import CHECKPOINT, Cost, Spec, Step, Work
from harness.store import sha256_file

PRESETS = ("smollm2-135m", "random-llama")
Kind = Literal["embedded", "gguf", "folder", "hub", "random"]


class ModelSource(Spec):
    """A model by content: `content` is a hash of its weights or a hub commit; `place` is only where to find it."""

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"place", "parameters"})
    kind: Kind
    content: str
    place: str = ""
    parameters: int = 0  # as the source tells without its weights being read, for estimates; 0: it does not


def check(model: str) -> None:
    """Raise ValueError when `model=` names nothing that could be a model; reads no weights and asks no hub."""
    path = Path(model).expanduser()
    if model in PRESETS or (path.is_file() and path.suffix == ".gguf"):
        return
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ValueError(f"model={path}: the folder has no config.json, so it is no transformers checkpoint")
        if not any(path.glob("*.safetensors")):
            raise ValueError(f"model={path}: the folder has no .safetensors file (pickled weights are not loaded)")
    elif path.is_absolute() or model.startswith((".", "~")) or path.suffix == ".gguf":
        raise ValueError(f"model={model}: no such file or folder")
    elif model.count("/") != 1:
        near = difflib.get_close_matches(model, PRESETS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(
            f"model={model} is no preset ({', '.join(PRESETS)}), no folder, no .gguf file and no hub id (owner/name){hint}"
        )


def resolve(model: str) -> ModelSource:
    """Return the source that `model=` names; ValueError with the nearest choice when there is none."""
    check(model)
    if model == "smollm2-135m":
        return ModelSource(kind="embedded", content=embedded.SHA256, parameters=embedded.PARAMETERS)
    if model == "random-llama":
        return ModelSource(kind="random", content="tiny-llama-1")
    path = Path(model).expanduser()
    if path.is_file() and path.suffix == ".gguf":
        content, place = sha256_file(path), str(path.resolve())
        return ModelSource(kind="gguf", content=content, place=place, parameters=counted.in_gguf(path))
    return _folder(path.resolve()) if path.is_dir() else _hub(model)


def _folder(path: Path) -> ModelSource:
    parts = {file.name: sha256_file(file) for file in [path / "config.json", *sorted(path.glob("*.safetensors"))]}
    content = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    return ModelSource(kind="folder", content=content, place=str(path), parameters=counted.in_folder(path))


def _hub(model: str) -> ModelSource:
    import httpx
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    ways_out = "use a local folder or model=smollm2-135m"
    if hub.settle():
        try:
            info = HfApi().model_info(model, timeout=10)
            told = info.safetensors.total if info.safetensors else 0
            return ModelSource(kind="hub", content=info.sha or "", place=model, parameters=told)
        except HfHubHTTPError as error:
            raise ValueError(f"model={model}: the hub answered {error.response.status_code}; {ways_out}") from None
        except httpx.HTTPError:
            pass  # broke off: the local cache may still have it
    try:
        kept = Path(snapshot_download(model, local_files_only=True))
        return ModelSource(kind="hub", content=kept.name, place=model, parameters=counted.in_folder(kept))
    except (OSError, ValueError):
        raise ValueError(
            f"model={model}: the hub is out of reach and the model is not in the local cache; {ways_out}"
        ) from None


class Import(Step):
    """Bring the dense model into the store, in the run's dtype, as plain safetensors."""

    KIND = "import"
    source: ModelSource
    dtype: Literal["float32", "bfloat16", "float16"]
    seed: int = 0

    def cost(self) -> Cost:
        return Cost(seconds=20)

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
        import torch

        from harness.models.checkpoint import save
        from harness.pruning.anatomy import layer_shapes, parameter_count

        model, tokenizer = _load(self.source, self.seed)
        model = model.to(getattr(torch, self.dtype))
        for name in ("temperature", "top_p", "top_k"):
            setattr(model.generation_config, name, None)
        model.generation_config.do_sample = False
        target = work.draft / CHECKPOINT
        target.mkdir()
        tokenizer.save_pretrained(target)
        save(model, target, target)
        shapes = layer_shapes(model)
        work.result |= {"parameters": parameter_count(model), "layers": len(shapes), "family": model.config.model_type}


@contextlib.contextmanager
def gguf_read_once() -> Iterator[None]:
    """Let transformers parse a GGUF file once instead of four times, and its tensor names once instead of once a layer."""
    import gguf as library

    gguf: Any = library

    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    gguf.GGUFReader, gguf.get_tensor_name_map = cache(reader), cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names


def _load(source: ModelSource, seed: int) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from harness.models.checkpoint import quiet

    if source.kind == "random":
        from harness.models.random_llama import build

        return build(seed)
    with quiet():
        if source.kind in ("embedded", "gguf"):
            path = embedded.gguf() if source.kind == "embedded" else Path(source.place)
            with gguf_read_once():
                loaded = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
                tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
            del loaded.config.quantization_config
            with torch.device("meta"):
                model = type(loaded)(loaded.config)  # a fresh model: the GGUF-loaded one refuses to save
            model.load_state_dict(loaded.state_dict(), assign=True)
            model.get_decoder().rotary_emb = loaded.get_decoder().rotary_emb  # its buffers are not in the state
            model.tie_weights()
            return model.eval(), tokenizer
        revision = {"revision": source.content} if source.kind == "hub" else {}
        model = AutoModelForCausalLM.from_pretrained(source.place, dtype="auto", low_cpu_mem_usage=True, **revision)
        return model, AutoTokenizer.from_pretrained(source.place, **revision)
