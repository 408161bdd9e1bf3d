"""A checkpoint as a GGUF file in its own dtype, and a model back from one, whatever its types are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import gguf as library
import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from harness.gguf.layout import Geometry, Layout, Part, layout
from harness.gguf.vocabulary import header
from harness.models import anatomy
from harness.models.gguf_rope import llama3_factors
from harness.models.per_layer import PREFIX

gguf: Any = library
TYPES = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float32: "F32"}
FTYPES = {"F32": 0, "F16": 1, "BF16": 32}  # what the header calls a file whose matrices are of that type


def of_model(model: PreTrainedModel) -> Layout:
    """Return where the model's weights stand in a GGUF file.

    ValueError where llama.cpp does not compute such a model.
    """
    config = model.config
    shapes = anatomy.layer_shapes(model)
    attends = next((shape for shape in shapes if shape.groups), None)
    if attends is None:
        raise ValueError("no layer of the model has attention, and llama.cpp loads none without")
    sample = next(layer for layer in anatomy.layers(model) if anatomy.has_attention(layer)).self_attn
    with_mlp = next((layer.mlp for layer in anatomy.layers(model) if anatomy.has_mlp(layer)), None)
    if any(shape.mlp_bias for shape in shapes):
        raise ValueError("gate and up projections with biases have no place in llama.cpp's architectures")
    output_bias = sample.o_proj.bias is not None or (with_mlp is not None and with_mlp.down_proj.bias is not None)
    geometry = Geometry(
        family=config.model_type.removeprefix(PREFIX),
        hidden=config.hidden_size,
        queries=attends.queries,
        head_dim=attends.head_dim,
        tied=bool(config.tie_word_embeddings),
        output_bias=output_bias,
        numbers={
            "context_length": config.max_position_embeddings,
            "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
            "vocab_size": config.vocab_size,
            **rotation(config),
        },
        divisors=divisors(config, attends.head_dim),
    )
    return layout(geometry, shapes, biases=bool(attends.bias))


def rotation(config: Any) -> dict[str, Any]:
    """Return the header's words for rotary angles.

    ValueError for a scaling or a window that is not written here.
    """
    rope = dict(config.rope_parameters or {})
    window = getattr(config, "sliding_window", None)
    uses = "sliding_attention" in (getattr(config, "layer_types", None) or (["sliding_attention"] if window else []))
    if window and uses and window < config.max_position_embeddings:
        raise ValueError(f"layers that attend to the last {window} tokens only are not written into a GGUF file here")
    keys: dict[str, Any] = {"rope.freq_base": float(rope.get("rope_theta", 10000.0))}
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        keys |= {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope["factor"])}
    elif kind == "yarn":
        keys |= yarn(rope, config.max_position_embeddings)
    elif kind not in ("default", "llama3"):
        raise ValueError(f"rotary angles scaled as {kind} are not written into a GGUF file here")
    return keys


def yarn(rope: Mapping[str, Any], positions: int) -> dict[str, Any]:
    """Return the header's words for YaRN; ValueError for settings that llama.cpp has none for."""
    factor = float(rope["factor"])
    if own := [name for name in ("attention_factor", "mscale", "mscale_all_dim") if rope.get(name) is not None]:
        raise ValueError(f"YaRN with {own[0]} is not written into a GGUF file here")
    if rope.get("truncate") is False:
        raise ValueError("YaRN with truncate=false is not written into a GGUF file here")
    original = int(rope.get("original_max_position_embeddings") or positions / factor)
    return {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": factor,
        "rope.scaling.original_context_length": original,
        "rope.scaling.yarn_beta_fast": float(rope.get("beta_fast") or 32.0),
        "rope.scaling.yarn_beta_slow": float(rope.get("beta_slow") or 1.0),
    }


def divisors(config: Any, head_dim: int) -> tuple[float, ...]:
    """Return by what Llama 3's scaling divides each rotary frequency; none for other scalings."""
    rope = dict(config.rope_parameters or {})
    if rope.get("rope_type") != "llama3":
        return ()
    names = ("factor", "original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
    settings = {name: float(rope[name]) for name in names}
    return tuple(llama3_factors(head_dim // 2, float(rope.get("rope_theta", 10000.0)), **settings).tolist())


def write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Write the model in its own dtype (vectors in float32), tokenizer included."""
    where = of_model(model)
    kind = TYPES[next(model.parameters()).dtype]
    writer = gguf.GGUFWriter(path, where.architecture)
    writer.add_file_type(FTYPES[kind])
    for key, value in where.header.items():
        _put(writer, f"{where.architecture}.{key}", value)
    for key, value in header(tokenizer, model.config.vocab_size).items():
        _put(writer, key, value)
    weights = dict(model.named_parameters())
    for part in where.parts:
        values = filled(part, weights)
        stored = gguf.GGMLQuantizationType[kind if values.ndim == 2 else "F32"]
        writer.add_tensor(part.name, gguf.quantize(values, stored), raw_dtype=stored)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _put(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)


def filled(part: Part, weights: dict[str, Any]) -> np.ndarray:
    """Return the tensor of a part, float32: its sources reordered, zeros behind them, or its constant."""
    if part.values:
        return np.array(part.values, dtype=np.float32)
    if not part.sources:
        return np.full((part.rows, part.columns) if part.columns else (part.rows,), part.constant, dtype=np.float32)
    below = [_turned(weights[source].detach().float(), part.heads) for source in part.sources]
    values = torch.cat(below).numpy()
    sizes = (part.rows, part.columns)[: values.ndim]
    missing = [(0, max(0, size - own)) for size, own in zip(sizes, values.shape, strict=True)]
    return np.ascontiguousarray(np.pad(values, missing))


def _turned(values: torch.Tensor, heads: int) -> torch.Tensor:
    """Return rows with the halves of each head interleaved: rotary pairs as llama.cpp takes them."""
    if not heads:
        return values
    return values.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def _turned_back(values: torch.Tensor, heads: int) -> torch.Tensor:
    if not heads:
        return values
    return values.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def restored(path: Path, model: PreTrainedModel) -> PreTrainedModel:
    """Return `model` in float32 with the values of a GGUF file of it.

    Each is what the file's scales and integers make.

    ValueError where a tensor is missing or of another size than the model was written with.
    """
    where = of_model(model)
    model = model.float()
    weights = dict(model.named_parameters())
    by_name = {str(tensor.name): tensor for tensor in gguf.GGUFReader(path).tensors}
    with torch.no_grad():
        for part in where.parts:
            if part.sources:
                values = torch.from_numpy(dequantized(by_name[part.name]))
                for source, own in _own(part, values, weights):
                    weights[source].copy_(_turned_back(own, part.heads))
    return model


def dequantized(tensor: Any) -> np.ndarray:
    """Return a tensor's values (rows, columns) or (rows,), float32."""
    shape = tuple(int(size) for size in reversed(tensor.shape))
    return np.array(gguf.dequantize(tensor.data, tensor.tensor_type), dtype=np.float32).reshape(shape)


def _own(part: Part, values: torch.Tensor, weights: dict[str, Any]) -> Iterator[tuple[str, torch.Tensor]]:
    start = 0
    for source in part.sources:
        size = weights[source].shape
        own = values[start : start + size[0]]
        yield source, own[:, : size[1]] if own.ndim == 2 else own
        start += size[0]


def parameters(path: Path) -> dict[str, str]:
    """Return the type of each tensor of a GGUF file, by its name."""
    return {str(tensor.name): tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
