"""A graph for OpenVINO, with the tokenizer beside it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from harness.exports.export_format import ArtifactExport, Held
from harness.runtimes.openvino import FILE, OpenVino

EXAMPLE = """```python
import numpy as np
import openvino
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{name}")
model = openvino.Core().compile_model("{name}/{file}", "CPU").create_infer_request()
ids, past = np.array([tokenizer("The capital of France is").input_ids]), 0
for _ in range(8):
    past += ids.shape[1]
    model.infer({{
        "input_ids": ids,
        "attention_mask": np.ones((1, past), dtype=np.int64),
        "position_ids": np.arange(past - ids.shape[1], past)[None],
        "beam_idx": np.zeros(1, dtype=np.int32),
    }})
    ids = model.get_tensor("logits").data[:, -1:].argmax(-1)
    print(tokenizer.decode(ids[0]), end="", flush=True)
```"""


class OpenVinoGraph(ArtifactExport):
    """The graph of a row in OpenVINO as it was measured, or a row of torch in its own dtype."""

    NAME = "openvino"
    OF, RUNTIME = OpenVino.NAME, OpenVino
    TOLERANCE: ClassVar[float] = 0.15  # bfloat16, keys and values in 8 bits, and activations too where weights are

    @classmethod
    def write(cls, held: Held, target: Path) -> str:
        from harness.models import checkpoint

        stored = super().write(held, target)
        checkpoint.copy_tokenizer(held.checkpoint, target)
        return stored

    @classmethod
    def stored(cls, target: Path) -> str:
        from harness.traced import fewer_bits

        return f"weights in {', '.join(fewer_bits.types(target / FILE))}"

    @classmethod
    def use(cls, folder: Path, name: str) -> str:
        return EXAMPLE.format(name=name, file=FILE)
