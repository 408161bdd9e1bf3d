"""A checkpoint as an ONNX graph with keys and values as inputs and outputs."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path

import torch
from transformers import PreTrainedModel

from harness.traced.decoder import PlainDecoder, example
from harness.traced.plain_families import INPUTS


def write(model: PreTrainedModel, path: Path) -> None:
    """Write the model's graph, every number in the model's own dtype, weights in a file beside it.

    Inputs behind INPUTS are `past.N` (batch, groups, past, head_dim), outputs behind `logits` are `present.N`.
    """
    decoder = PlainDecoder(model).eval()
    batch, past, new = (torch.export.Dim(name) for name in ("batch", "past", "new"))
    free = torch.export.Dim.DYNAMIC
    caches = tuple({0: batch, 2: past} for _ in decoder.caches)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some of the sizes named here are the same
        torch.onnx.export(
            decoder,
            example(decoder.caches),
            path,
            input_names=[*INPUTS, *(f"past.{n}" for n in range(len(caches)))],
            output_names=["logits", *(f"present.{n}" for n in range(len(caches)))],
            dynamic_shapes=({0: batch, 1: new}, {0: batch, 1: free}, {0: batch, 1: new}, caches),
            dynamo=True,
            external_data=True,
        )
