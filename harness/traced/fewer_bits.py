"""Weights of an OpenVINO graph in fewer bits, and their values again."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

from harness.runtimes.openvino import GROUP

TABLES = ("cosines", "sines")
LINEAR = re.compile(r"__module\.(.+)/aten::linear/MatMul")  # as torch's tracer names a product
STEPS = ("Convert", "Subtract", "Multiply", "Reshape")  # from stored integers to weights
SMALLEST = 16  # and where a row has no whole groups of these


def compressed(graph: Any, form: str) -> Any:
    """Return the graph with its weights in 8 bits, a scale a row, or in 4, a scale for every 64; by NNCF.

    Embeddings and head are in 8 bits in both. Rotary tables, which NNCF takes for embeddings, stay as they are.
    """
    import nncf
    from nncf.quantization.advanced_parameters import GroupSizeFallbackMode

    nncf.set_log_level(logging.ERROR)
    tables = [node.get_friendly_name() for name, node in readers(graph) if name in TABLES]
    asked: dict[str, Any] = {"mode": nncf.CompressWeightsMode.INT8_ASYM}
    if form == "int4":
        fallback = nncf.AdvancedCompressionParameters(
            group_size_fallback_mode=GroupSizeFallbackMode.ADJUST,
            min_adjusted_group_size=SMALLEST,
        )
        asked = {
            "mode": nncf.CompressWeightsMode.INT4_ASYM,
            "group_size": GROUP,
            "ratio": 1.0,
            "backup_mode": nncf.BackupMode.INT8_ASYM,
            "advanced_parameters": fallback,
        }
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bar
        return nncf.compress_weights(graph, ignored_scope=nncf.IgnoredScope(names=tables), **asked)


def readers(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parameters that a graph looks up or multiplies by, each with the node that does."""
    for node in graph.get_ops():
        if node.get_type_name() == "MatMul":
            if named := LINEAR.match(node.get_friendly_name()):
                yield f"{named[1]}.weight", node
        elif node.get_type_name() == "Gather":
            table = constant(weight(node).get_node())
            if table.get_type_name() == "Constant":
                yield str(table.get_friendly_name()).removeprefix("self."), node


def weights(graph: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of each parameter that a graph reads, and where its values come from."""
    for name, node in readers(graph):
        yield name, weight(node)


def weight(node: Any) -> Any:
    """Return where a Gather's table, or a MatMul's matrix, comes from."""
    return node.input_value(0 if node.get_type_name() == "Gather" else 1)


def evaluated(source: Any) -> np.ndarray:
    """Return the values of a part of a graph that depends on no input, float32."""
    part = openvino.Model([ops.result(ops.convert(source, "f32"))], [])
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    return np.array(openvino.Core().compile_model(part, "CPU", settings)([])[0], dtype=np.float32)


def types(path: Path) -> list[str]:
    """Return the types in which a graph's file stores matrices and embeddings."""
    stored = [
        constant(source.get_node())
        for name, source in weights(openvino.Core().read_model(path))
        if name.endswith(".weight")
    ]
    return sorted({each.get_element_type().get_type_name() for each in stored})


def constant(node: Any) -> Any:
    """Return the constant that a weight is computed from."""
    while node.get_type_name() in STEPS:
        node = node.input_value(0).get_node()
    return node
