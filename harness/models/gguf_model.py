"""A model from a GGUF file, dequantized.

Weights, rotary scaling and tokenizer as the file has them, or refused.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gguf as library
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.ggml import GGUF_CONFIG_MAPPING

from harness.models import gguf_reader
from harness.models.gguf_rope import scaled
from harness.models.gguf_tokenizer import tokenizer
from harness.models.loading import loaded, quiet

gguf: Any = library
# What changes a forward pass and that transformers reads of few architectures only, with the values that change nothing.
EFFECTIVE = {
    "attention.scale": (),
    "attention.output_scale": (1.0,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.sliding_window": (0,),
    "attn_logit_softcapping": (0.0,),
    "final_logit_softcapping": (0.0,),
    "logit_scale": (1.0,),
    "residual_scale": (1.0,),
    "embedding_scale": (1.0,),
}


def read(path: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Return the model in float32 and its tokenizer.

    ValueError naming what of the file transformers would leave out.
    """
    with read_once(), quiet():
        file = gguf.GGUFReader(path)
        check_keys(file)
        first = loaded(path.parent, gguf_file=path.name, dtype=torch.float32)
        check_whole(file, first)
        words = tokenizer(file, path)
    config = first.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    scaled(config, file)
    with torch.device("meta"):
        model = type(first)(config)  # a fresh model: the GGUF-loaded one refuses to save
    model.load_state_dict(first.state_dict(), assign=True)
    rotary = getattr(model.get_decoder(), "rotary_emb", None)
    if rotary is not None:
        model.get_decoder().rotary_emb = type(rotary)(config)  # its buffers are not in the state
    model.tie_weights()
    return model.eval(), words


def field(file: Any, name: str) -> Any:
    """Return what the file says under `name` ("{arch}." stands for its architecture's).

    None where it says nothing.
    """
    entry = file.get_field(name.replace("{arch}", file.get_field("general.architecture").contents()))
    return None if entry is None else entry.contents()


def check_keys(file: Any) -> None:
    """Raise ValueError for a key of EFFECTIVE that transformers does not read of this architecture."""

    architecture = field(file, "general.architecture")
    taken = GGUF_CONFIG_MAPPING.get(architecture, {})
    for name, neutral in EFFECTIVE.items():
        value = field(file, f"{{arch}}.{name}")
        if value is not None and name not in taken and value not in neutral:
            raise ValueError(
                f"the GGUF file says {architecture}.{name}={value}, which transformers leaves out: use the model's safetensors folder"
            )


def check_whole(file: Any, model: PreTrainedModel) -> None:
    """Raise ValueError where tensors of the file are in no parameter.

    Such as biases that its architecture usually has not.
    """
    tensors = [
        (str(each.name), int(each.n_elements)) for each in file.tensors if not str(each.name).startswith("rope_")
    ]
    read = [weight.numel() for weight in model.parameters()]
    if (left := sum(count for _, count in tensors) - sum(read)) == 0:
        return
    sizes = Counter(read)
    spare = []
    for name, count in sorted(tensors, key=lambda pair: pair[0].endswith(".bias")):
        sizes[count] -= 1
        if sizes[count] < 0:
            spare.append(name)
    raise ValueError(
        f"the GGUF file holds {abs(left):,} numbers {'more' if left > 0 else 'fewer'} than transformers reads of it "
        f"({', '.join(spare[:3])}): "
        "use the model's safetensors folder"
    )


@contextlib.contextmanager
def read_once() -> Iterator[None]:
    """Let transformers parse a GGUF file once instead of four times.

    And its tensor names once instead of once a layer.
    """
    reader, names = gguf.GGUFReader, gguf.get_tensor_name_map
    by_name = cache(gguf_reader.read)
    gguf.GGUFReader = lambda path, *_: by_name(str(path))
    gguf.get_tensor_name_map = cache(names)
    try:
        yield
    finally:
        gguf.GGUFReader, gguf.get_tensor_name_map = reader, names
