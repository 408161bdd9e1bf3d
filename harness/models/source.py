"""Where a model comes from.

The embedded default, a hub id, a local folder, a GGUF file, or random weights for tests.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

from harness.data import hub
from harness.models import accepted, counted, embedded, files
from harness.models.random_llama import build
from harness.spec import CHECKPOINT, Cost, Spec, Step, Work
from harness.storage.store import sha256_file
from harness.words.home import home

# settings of drawn answers, which transformers refuses to save beside greedy decoding
SAMPLING = ("temperature", "top_p", "top_k", "top_h", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
RANDOM_PARAMETERS = 275_392  # of random_llama, as a test checks
PRESETS = ("smollm2-135m", "random-llama")
Kind = Literal["embedded", "gguf", "folder", "hub", "random"]


class ModelSource(Spec):
    """A model by content: `content` is a hash of its weights or a hub commit.

    `place` is only where to find it.
    """

    UNKEYED: ClassVar[frozenset[str]] = frozenset({"place", "parameters"})
    kind: Kind
    content: str
    place: str = ""
    parameters: int = 0  # as the source tells without its weights being read, for estimates; 0: it does not


def check(model: str) -> None:
    """Raise ValueError when `model=` names nothing that could be a model.

    Reads no weights and asks no hub.
    """
    path = home(model)
    if model in PRESETS or (path.is_file() and path.suffix == ".gguf"):
        return
    if path.is_dir():
        accepted.check_folder(path)
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
        return ModelSource(kind="random", content="tiny-llama-1", parameters=RANDOM_PARAMETERS)
    path = home(model)
    if path.is_file() and path.suffix == ".gguf":
        content, place = sha256_file(path), str(path.resolve())
        return ModelSource(kind="gguf", content=content, place=place, parameters=counted.in_gguf(path).elements)
    return _folder(path.resolve()) if path.is_dir() else _hub(model)


def _folder(path: Path) -> ModelSource:
    parts = {str(file.relative_to(path)): sha256_file(file) for file in files.deciding(path)}
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
            accepted.check_names(f"model={model}", [str(file.rfilename) for file in info.siblings or ()])
            told = info.safetensors.total if info.safetensors else 0
            return ModelSource(kind="hub", content=info.sha or "", place=model, parameters=told)
        except HfHubHTTPError as error:
            raise ValueError(f"model={model}: the hub answered {error.response.status_code}; {ways_out}") from None
        except httpx.HTTPError:
            pass  # broke off: the local cache may still have it
    try:
        snapshot = Path(snapshot_download(model, local_files_only=True))
        return ModelSource(kind="hub", content=snapshot.name, place=model, parameters=counted.in_folder(snapshot))
    except (OSError, ValueError):
        raise ValueError(
            f"model={model}: the hub is out of reach and the model is not in the local cache; {ways_out}"
        ) from None


class Import(Step):
    """Bring the dense model into the store, in the run's dtype, as plain safetensors."""

    KIND = "import"
    SHARED: ClassVar[bool] = True
    VERSION: ClassVar[int] = (
        2  # 2: a GGUF's tokenizer and rotary scaling are the file's own; weights that do not fit are refused
    )
    source: ModelSource
    dtype: Literal["float32", "bfloat16", "float16"]
    seed: int = 0

    def cost(self) -> Cost:
        return Cost(seconds=20)

    def checkpoint_share(self) -> float:
        return 1.0

    def run(self, work: Work) -> None:
        import torch

        from harness.models.anatomy import parameter_count
        from harness.models.checkpoint import save
        from harness.models.imported import check_finite, check_vocabulary

        model, tokenizer = _load(self.source, self.seed)
        check_vocabulary(model, tokenizer)
        check_finite(model.named_parameters(), "the model's weights")
        model = model.to(getattr(torch, self.dtype))
        check_finite(model.named_parameters(), f"the model's weights in {self.dtype}")
        for name in SAMPLING:
            setattr(model.generation_config, name, None)
        model.generation_config.do_sample = False
        target = work.draft / CHECKPOINT
        target.mkdir()
        tokenizer.save_pretrained(target)
        save(model, target, target)
        depth = model.config.get_text_config().num_hidden_layers
        work.result |= {"parameters": parameter_count(model), "layers": depth, "family": model.config.model_type}


def _load(source: ModelSource, seed: int) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoTokenizer

    from harness.models import gguf_model
    from harness.models.loading import loaded, quiet

    if source.kind == "random":
        return build(seed)
    if source.kind in ("embedded", "gguf"):
        return gguf_model.read(embedded.gguf() if source.kind == "embedded" else Path(source.place))
    revision: dict[str, Any] = {"revision": source.content} if source.kind == "hub" else {}
    with quiet():
        config = AutoConfig.from_pretrained(source.place, trust_remote_code=False, **revision)
        accepted.check_config(f"model={source.place}", config.to_dict())
        tokenizer = AutoTokenizer.from_pretrained(source.place, trust_remote_code=False, **revision)
    model = loaded(source.place, dtype="auto", **revision).eval()
    if getattr(model, "_hf_peft_config_loaded", False):
        accepted.check_names(f"model={source.place}", [accepted.ADAPTER])
    return model, tokenizer
