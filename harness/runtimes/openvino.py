"""OpenVINO: a graph that keeps its keys and values, its weights in 8 or 4 bits by NNCF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.bytes_budget import Outline
from harness.models.described import Description
from harness.runtimes.runtime import Runtime
from harness.spec import Method, Quantizer
from harness.traced.plain_families import INPUTS, refusal

FILE = "openvino_model.xml"
GROUP = 64  # 4-bit weights that share a scale
LAYER = 95_000  # bytes of the text that describes a layer, about
NAMES = (*INPUTS, "beam_idx")  # as OpenVINO GenAI asks for them

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class OpenVino(Runtime):
    """OpenVINO on the processor: any widths, SliceGPT's streams too, and 8 and 4 bits by NNCF.

    It computes in bfloat16 where the processor has it and keeps keys and values in 8 bits, its defaults.
    """

    NAME = "openvino"
    PACKAGE = "openvino"
    BESIDE: ClassVar[tuple[str, ...]] = ("nncf",)
    ROUNDING: ClassVar[float] = 1e-2  # bfloat16

    @classmethod
    def refuses(cls, model: Description, methods: Sequence[Method]) -> str:
        return refusal(model.family, model.activation, model.rotation) if model.family else ""

    @classmethod
    def header(cls, size: Outline) -> float:
        return LAYER * size.layers + 2 * 4 * size.angles

    @classmethod
    def bits(cls, quantizer: Quantizer | None, working: int, size: Outline) -> tuple[float, float]:
        if quantizer and quantizer.NAME == "int8":  # embeddings and head too, which torch leaves as they are
            rows = 8 + 24 / size.hidden  # a scale and a zero for each row
            return rows, rows
        return super().bits(quantizer, working, size)

    @classmethod
    def convert(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
        from harness.traced import openvino_graph

        target.mkdir(parents=True, exist_ok=True)
        openvino_graph.write(model, target)

    @classmethod
    def quantize(cls, source: Path, target: Path, form: str) -> None:
        from harness.traced import openvino_graph

        target.mkdir(parents=True, exist_ok=True)
        openvino_graph.quantize(source, target, form)

    @classmethod
    def restored(cls, folder: Path, model: PreTrainedModel) -> PreTrainedModel:
        from harness.traced import openvino_graph

        return openvino_graph.restored(folder, model)

    @classmethod
    def engine(cls, folder: Path, *, threads: int, batch: int, tokens: int) -> OpenVinoEngine:
        return OpenVinoEngine(folder, threads)


class OpenVinoEngine:
    """A compiled graph with keys and values of the texts that it has read."""

    def __init__(self, folder: Path, threads: int, **settings: Any) -> None:
        self.path = folder / FILE
        self.settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"} | settings
        self.vocabulary, self.continues = self.compiled(last=True)

    def compiled(self, *, last: bool) -> tuple[int, Any]:
        """Return the size of the vocabulary, and what infers; of `last`, the last token's logits alone."""
        import openvino

        from harness.traced import cache_state

        core = openvino.Core()
        graph = core.read_model(self.path)
        if last:
            cache_state.last_only(graph)
        compiled = core.compile_model(graph, "CPU", self.settings)
        return compiled.output(0).get_partial_shape()[2].get_length(), compiled.create_infer_request()

    @cached_property
    def reads(self) -> Any:
        """What infers the logits of every token."""
        return self.compiled(last=False)[1]

    def generate_seconds(self, batch: int, prompt: int, count: int, clock: Callable[[], Any]) -> tuple[Any, Any]:
        import numpy as np

        tokens = np.random.default_rng(0).integers(self.vocabulary, size=(batch, prompt))
        self.continues.reset_state()
        start = clock()
        tokens = self.next_logits(self.continues, tokens, 0)[:, -1:].argmax(-1)
        middle = clock()
        for step in range(count):
            tokens = self.next_logits(self.continues, tokens, prompt + step)[:, -1:].argmax(-1)
        return middle - start, clock() - middle

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        import numpy as np

        self.reads.reset_state()
        return self.next_logits(self.reads, np.array([ids]), 0)[0].copy()

    @staticmethod
    def next_logits(request: Any, tokens: np.ndarray, past: int) -> np.ndarray:
        """Return the logits (batch, new or 1, vocabulary) of tokens (batch, new) behind `past` others."""
        import numpy as np

        batch, new = tokens.shape
        values = (
            tokens.astype(np.int64),
            np.ones((batch, past + new), np.int64),
            np.broadcast_to(np.arange(past, past + new), (batch, new)).copy(),
            np.arange(batch, dtype=np.int32),
        )
        request.infer(dict(zip(NAMES, values, strict=True)))
        return request.get_output_tensor(0).data

    def close(self) -> None:
        vars(self).clear()
