"""llama.cpp: GGUF files, quantized by its own quantizer.

The wheel `cyllama` brings the library that runs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from harness.bytes_budget import Outline
from harness.gguf.layout import PER_LAYER
from harness.machine.environment import threads
from harness.models.described import Description
from harness.runtimes.runtime import Runtime
from harness.spec import Method

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

FILE = "model.gguf"
TYPES = {"q8_0": 7, "q6_k": 18, "q5_k_m": 17, "q4_k_m": 15, "q4_0": 2}  # llama.cpp's numbers of file types
ROTATIONS = ("default", "linear", "yarn", "llama3")  # kinds of scaling that are written
ERROR = 4  # of llama.cpp's levels of messages
ERRORS: list[str] = []  # its latest ones


class LlamaCpp(Runtime):
    """GGUF in llama.cpp: widths of their own a layer, and 8 to 4 bits a weight, on processors and GPUs.

    Activations are quantized to 8 bits inside the products of quantized weights, whatever the file's type.
    """

    NAME = "llamacpp"
    PACKAGE = "cyllama"
    TOKEN: ClassVar[float] = 37.0  # bytes of a token, its kind, and the merge that makes it

    @classmethod
    def refuses(cls, model: Description, methods: Sequence[Method]) -> str:
        if model.family and model.family not in PER_LAYER:
            return f"{model.family} models are not written into GGUF files here; it takes {', '.join(PER_LAYER)}"
        if 0 < model.window < (model.positions or math.inf):
            return f"layers that attend to the last {model.window} tokens only are not written into a GGUF file here"
        if model.rotation not in ROTATIONS:
            return f"rotary angles scaled as {model.rotation} are not written into a GGUF file here"
        for method in methods:
            if not method.STANDARD_LAYERS:
                return f"llama.cpp has no architecture for what {method.NAME} makes"
        return ""

    @classmethod
    def header(cls, size: Outline) -> float:
        return cls.TOKEN * size.tokens

    @classmethod
    def convert(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
        from harness.gguf import model_file

        target.mkdir(parents=True, exist_ok=True)
        model_file.write(model, tokenizer, target / FILE)
        check_tokens(target / FILE, tokenizer)

    @classmethod
    def quantize(cls, source: Path, target: Path, form: str) -> None:
        library = quiet_library()
        target.mkdir(parents=True, exist_ok=True)
        how = library.LlamaModelQuantizeParams()
        how.ftype = TYPES[form]
        how.nthread = threads()
        ERRORS.clear()
        try:
            library.model_quantize(str(source / FILE), str(target / FILE), how)
        except RuntimeError as error:
            raise ValueError(f"llama.cpp cannot quantize to {form}: {'; '.join(ERRORS) or error}") from None

    @classmethod
    def restored(cls, folder: Path, model: PreTrainedModel) -> PreTrainedModel:
        from harness.gguf import model_file

        return model_file.restored(folder / FILE, model)

    @classmethod
    def engine(cls, folder: Path, *, threads: int, batch: int, tokens: int) -> LlamaCppEngine:
        return LlamaCppEngine(folder / FILE, threads=threads, batch=batch, tokens=tokens)


def quiet_library() -> Any:
    """Return the wheel's low-level module, which from then on tells `ERRORS` instead of the terminal."""
    import cyllama.llama.llama_cpp as library

    library.set_log_callback(_remember)
    library.llama_backend_init()
    return library


def _remember(level: int, text: str) -> None:
    if level == ERROR:
        ERRORS.append(text.strip())


def loaded(path: Path, **settings: Any) -> Any:
    """Return the wheel's model of a GGUF file."""
    library = quiet_library()

    class Model(library.LlamaModel):  # type: ignore[name-defined]
        """The wheel asks its models for `n_vocab` where it returns logits, and gives them none."""

        @property
        def n_vocab(self) -> int:
            return int(self.get_vocab().n_vocab)

    asked = library.LlamaModelParams()
    for name, value in settings.items():
        setattr(asked, name, value)
    ERRORS.clear()
    try:
        return Model(str(path), asked)
    except Exception as error:  # of whatever kind the wheel raises
        raise ValueError(f"llama.cpp cannot load {path.name}: {'; '.join(ERRORS) or error}") from None


def check_tokens(path: Path, tokenizer: Any) -> None:
    """Raise ValueError where llama.cpp cuts text of many scripts otherwise than the tokenizer."""
    from harness.gguf.vocabulary import same_tokens
    from harness.models.gguf_tokenizer import SAMPLE

    model = loaded(path)
    vocabulary = model.get_vocab()
    for text in (SAMPLE, *SAMPLE.split()):
        if other := same_tokens(tokenizer, lambda each: list(vocabulary.tokenize(each, False, False)), text):
            raise ValueError(f"the GGUF file's tokenizer is another one: {other}")


class LlamaCppEngine:
    """A GGUF file in memory, with keys and values for `batch` texts of `tokens` tokens."""

    def __init__(self, path: Path, *, threads: int, batch: int, tokens: int) -> None:
        self.library = quiet_library()
        self.model = loaded(path, use_mmap=False)
        asked = self.library.LlamaContextParams()
        asked.n_seq_max = batch
        asked.n_ctx = batch * tokens
        asked.n_batch = batch * tokens
        asked.n_threads = asked.n_threads_batch = threads
        self.context = self.library.LlamaContext(self.model, asked)
        self.vocabulary = int(self.model.get_vocab().n_vocab)

    def generate_seconds(self, batch: int, prompt: int, count: int, clock: Callable[[], Any]) -> tuple[Any, Any]:
        import numpy as np

        ids = np.random.default_rng(0).integers(self.vocabulary, size=(batch, prompt)).tolist()
        greedy = self.library.LlamaSampler(self.library.LlamaSamplerChainParams())
        greedy.add_greedy()
        self.context.kv_cache_clear()
        start = clock()
        self._decode([(token, n, row, n == prompt - 1) for row in range(batch) for n, token in enumerate(ids[row])])
        tokens = [greedy.sample(self.context, row) for row in self._outputs(batch, prompt)]
        middle = clock()
        for step in range(count):
            self._decode([(token, prompt + step, row, True) for row, token in enumerate(tokens)])
            tokens = [greedy.sample(self.context, row) for row in range(batch)]
        return middle - start, clock() - middle

    @staticmethod
    def _outputs(batch: int, prompt: int) -> list[int]:
        """Return where in a prefill's batch each text's last token stands."""
        return [(row + 1) * prompt - 1 for row in range(batch)]

    def logits(self, ids: Sequence[int]) -> np.ndarray:
        import numpy as np

        self.context.kv_cache_clear()
        self._decode([(token, place, 0, True) for place, token in enumerate(ids)])
        return np.array([self.context.get_logits_ith(place) for place in range(len(ids))], dtype=np.float32)

    def _decode(self, tokens: list[tuple[int, int, int, bool]]) -> None:
        batch = self.library.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
        for token, place, row, wanted in tokens:
            batch.add(token, place, [row], wanted)
        self.context.decode(batch)
        self.context.synchronize()
        batch.close()

    def close(self) -> None:
        self.context.close()
        self.model.close()
