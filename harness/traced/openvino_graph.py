"""A checkpoint as an OpenVINO graph, and a model back from one, whatever its types are."""

from __future__ import annotations

from pathlib import Path

import openvino
import torch
from transformers import PreTrainedModel

from harness.runtimes.openvino import FILE, GROUP
from harness.traced import cache_state, fewer_bits
from harness.traced.decoder import PlainDecoder, example


def write(model: PreTrainedModel, folder: Path) -> None:
    """Write the model's graph into `folder`, every number in the model's own dtype.

    ValueError where the decoder computes something else than the model.
    """
    decoder = PlainDecoder(model, GROUP).eval()
    with torch.no_grad():
        graph = openvino.convert_model(decoder, example_input=example(decoder.caches))
    cache_state.remember(graph, decoder.caches)
    openvino.save_model(graph, folder / FILE, compress_to_fp16=False)


def quantize(source: Path, target: Path, form: str) -> None:
    """Write the graph of the folder `source` with weights in fewer bits into `target`."""
    graph = fewer_bits.compressed(openvino.Core().read_model(source / FILE), form)
    openvino.save_model(graph, target / FILE, compress_to_fp16=False)


def restored(folder: Path, model: PreTrainedModel) -> PreTrainedModel:
    """Return `model` in float32 with the matrices of a graph of it.

    Each is what the graph's scales and integers make. ValueError where one is missing.
    """
    model = model.float()
    own = {name: weight for name, weight in PlainDecoder(model).named_parameters() if weight.ndim == 2}  # the model's
    held = dict(fewer_bits.weights(openvino.Core().read_model(folder / FILE)))
    if missing := [name for name in own if name not in held]:
        raise ValueError(f"the graph is not of this model: it has no {missing[0]}")
    with torch.no_grad():
        for name, target in own.items():
            values = torch.from_numpy(fewer_bits.evaluated(held[name]))
            target.copy_(values[: target.shape[0], : target.shape[1]])
    return model
