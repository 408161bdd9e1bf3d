"""A graph for ONNX Runtime and what else reads ONNX, with the tokenizer beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.exports.export_format import Export, Held, check_of_torch
from harness.machine import environment
from harness.traced.plain_families import INPUTS

if TYPE_CHECKING:
    import numpy as np

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
FILE = "model.onnx"
EXAMPLE = """```python
import numpy as np
import onnxruntime
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = onnxruntime.InferenceSession("{name}/{file}")
pasts = [each for each in model.get_inputs() if each.name.startswith("past.")]
state = {{each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32) for each in pasts}}
ids, seen = np.array([tokenizer("The capital of France is").input_ids]), 0
for _ in range(8):
    seen += ids.shape[1]
    asked = {{
        "input_ids": ids,
        "attention_mask": np.ones((1, seen), dtype=np.int64),
        "position_ids": np.arange(seen - ids.shape[1], seen)[None],
    }}
    logits, *caches = model.run(None, asked | state)
    state = dict(zip(state, caches))
    ids = logits[:, -1:].argmax(-1)
    print(tokenizer.decode(ids[0]), end="", flush=True)
```"""


class Onnx(Export):
    """A row of torch as a graph that takes and returns keys and values, weights in their own dtype."""

    NAME = "onnx"
    TOLERANCE: ClassVar[float] = 0.15  # it computes in 32 bits what the row may compute in 16

    @classmethod
    def unavailable(cls) -> str:
        return environment.missing("onnx", *PACKAGES)

    @classmethod
    def write(cls, held: Held, target: Path) -> str:
        from harness.models import checkpoint
        from harness.traced import onnx_graph

        check_of_torch(held, cls.NAME)
        if library := checkpoint.quantization(held.checkpoint):
            raise ValueError(f"this row is quantized by {library}, which ONNX graphs here do not hold; export it as hf")
        model = checkpoint.load(held.checkpoint)
        onnx_graph.write(model, target / FILE)
        checkpoint.copy_tokenizer(held.checkpoint, target)
        return f"weights in {str(model.dtype).removeprefix('torch.')}"

    @classmethod
    def logits(cls, target: Path, ids: Sequence[int]) -> np.ndarray:
        import numpy as np
        import onnxruntime

        session = onnxruntime.InferenceSession(str(target / FILE), providers=["CPUExecutionProvider"])
        asked: dict[str, Any] = {
            each.name: np.zeros((1, each.shape[1], 0, each.shape[3]), np.float32)
            for each in session.get_inputs()
            if each.name not in INPUTS
        }
        places = np.arange(len(ids))[None]
        asked |= dict(zip(INPUTS, (np.array([ids]), np.ones_like(places), places), strict=True))
        return session.run(["logits"], asked)[0][0]

    @classmethod
    def use(cls, folder: Path, name: str) -> str:
        return EXAMPLE.format(name=name, file=FILE)
