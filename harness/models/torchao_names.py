"""Makes transformers load torchao's checkpoints in time that grows with the tensors.

It would grow with the cube of their number.

For every tensor, torchao looks through the names of all tensors, and for each of these through all keys and metadata again:
seven seconds for a model of 135M parameters. It is given what belongs to the one tensor.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from transformers.integrations import torchao as integration


@contextlib.contextmanager
def few_names() -> Iterator[None]:
    """While open, transformers hands torchao the metadata of the tensor that it rebuilds, and of no other."""
    whole = integration.unflatten_tensor_state_dict
    integration.unflatten_tensor_state_dict = partial(_of_one, whole)
    try:
        yield
    finally:
        integration.unflatten_tensor_state_dict = whole


def _of_one(whole: Any, parts: dict[str, Any], metadata: dict[str, Any]) -> Any:
    """Return what torchao makes of `parts`, tensors by `MODULE._PARAMETER_SUFFIX` or by their own name."""
    modules = {key.rpartition(".")[0] for key in parts}
    names = [name for name in metadata if name.rpartition(".")[0] in modules]
    return whole(parts, {name: metadata[name] for name in names} | {"tensor_names": json.dumps(names)})
