"""Keys and values as the state of an OpenVINO graph.

Inputs and outputs have the names that OpenVINO GenAI asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops
from openvino._offline_transformations import apply_make_stateful_transformation

from harness.runtimes.openvino import NAMES
from harness.traced.plain_families import INPUTS

ROWS = NAMES[-1]  # which row of the past each text goes on from
OUTPUT = "logits"


def remember(graph: Any, caches: Sequence[tuple[int, int]]) -> None:
    """Make the graph's inputs and outputs of keys and values its state, which begins empty."""
    for tensor, name in zip(graph.inputs, INPUTS, strict=False):
        tensor.get_tensor().set_names({name})
    graph.outputs[0].get_tensor().set_names({OUTPUT})
    rows = ops.parameter([-1], dtype=np.int32, name=ROWS)
    rows.output(0).get_tensor().set_names({ROWS})
    pairs = {}
    for place, (before, after) in enumerate(zip(graph.inputs[len(INPUTS) :], graph.outputs[1:], strict=True)):
        groups, size = caches[place]
        before.get_node().set_partial_shape(openvino.PartialShape([-1, groups, -1, size]))
        before.get_tensor().set_names({f"past.{place}"})
        after.get_tensor().set_names({f"present.{place}"})
        users = before.get_target_inputs()
        chosen = ops.gather(before, rows, ops.constant(0, dtype=np.int64))
        for user in users:
            user.replace_source_output(chosen.output(0))
        pairs[f"past.{place}"] = f"present.{place}"
    graph.add_parameters([rows])
    graph.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(graph, pairs)
    start_empty(graph)


def start_empty(graph: Any) -> None:
    """Let every state begin with as many rows as the first batch has, and no token."""
    batch = ops.gather(
        ops.shape_of(graph.input(INPUTS[0])), ops.constant([0], dtype=np.int64), ops.constant(0, dtype=np.int64)
    )
    for state in graph.get_ops():
        if state.get_type_name() == "ReadValue":
            shape = state.get_output_partial_shape(0)
            sizes = [ops.constant([shape[axis].get_length()], dtype=np.int64) for axis in (1, 3)]
            empty = ops.concat([batch, sizes[0], ops.constant([0], dtype=np.int64), sizes[1]], axis=0)
            state.set_arguments([ops.broadcast(ops.constant(0.0, dtype=np.float32), empty)])
    graph.validate_nodes_and_infer_types()


def last_only(graph: Any) -> None:
    """Let the head see the last token of each text alone, as a text's continuation needs it."""
    head = graph.output(OUTPUT).get_node().input_value(0).get_node()
    while head.get_type_name() != "MatMul":
        head = head.input_value(0).get_node()
    last = ops.gather(head.input_value(0), ops.constant([-1], dtype=np.int64), ops.constant(1, dtype=np.int64))
    head.input(0).replace_source_output(last.output(0))
    graph.validate_nodes_and_infer_types()
