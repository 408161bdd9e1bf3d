"""The step that measures a checkpoint's size, memory and FLOPs in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import psutil

from harness.machine.environment import threads
from harness.machine.peak import peak_bytes, reset_peak
from harness.measures.measure import Measure
from harness.quantities import Button, Column, Quantity
from harness.runtimes.runtime import TORCH
from harness.spec import Cost, Work

if TYPE_CHECKING:
    from harness.config import MeasureConfig

FLOP_TOKENS = 128
RESIDENT = "harness.measures.in_runtime"  # the program that a process of a runtime's own runs


class Footprint(Measure):
    """Bytes on disk and resident, peak memory at load and in generation, FLOPs per prefilled token."""

    NAME = KIND = "footprint"
    QUANTITIES: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            *("parameters", "params", "of dense", "lower", "count", 1e-6, "parameters, millions"),
            fronts=True,
            gate="exact",
            column=Column(10, 5, "of dense", 4),
            button=Button(40, "parameters"),
            meaning="parameters, embeddings and head among them, tied ones counted once",
        ),
        Quantity(
            *("nonzero_parameters", "non-zero", "of dense", "lower", "count", 1e-6),
            gate="exact",
            column=Column(20, 2.6, "of dense", 2.4),
            meaning="parameters that are not zero",
        ),
        Quantity(
            *("bytes_on_disk", "disk", "MB", "lower", "megabytes", 1e-6, "size on disk, MB"),
            fronts=True,
            gate="exact",
            column=Column(30, 8),
            button=Button(30, "size"),
            meaning="bytes of the weight files",
        ),
        Quantity(
            *("peak_memory_bytes", "memory", "MB", "lower", "megabytes", 1e-6, "peak memory, MB"),
            fronts=True,
            gate="relative",
            column=Column(60, 4.5),
            button=Button(50, "peak memory"),
            meaning="peak resident set of a fresh process that loads and generates, Python and libraries included",
        ),
        Quantity(
            *("flops_per_token", "compute", "FLOP/token", "lower", "count"),
            gate="exact",
            column=Column(70, 0.8),
            meaning="floating-point operations of the weights' products for a token of a prompt, attention left out",
        ),
    )
    IN_RUNTIMES: ClassVar[bool] = True
    LATER: ClassVar[frozenset[str]] = frozenset({"runtime", "library"})
    fingerprint: str  # memory depends on the machine and its libraries
    prompt_tokens: int = 128
    generate_tokens: int = 8
    runtime: str = TORCH
    library: str = ""

    @classmethod
    def of_run(cls, settings: MeasureConfig, fingerprint: str) -> Footprint:
        return cls(fingerprint=fingerprint)

    def longest(self) -> tuple[str, int]:
        return "prompt and answer of the memory measurement", self.prompt_tokens + self.generate_tokens

    def cost(self) -> Cost:
        return Cost(forward_tokens=2 * self.prompt_tokens, decode_tokens=self.generate_tokens, seconds=3)

    def run(self, work: Work) -> None:
        if self.runtime == TORCH:
            self._in_torch(work)
        else:
            made = work.store.result(work.ancestors[0])
            counts = {name: made[name] for name in ("parameters", "nonzero_parameters")}
            work.result |= {"bytes_on_disk": made["bytes"], **counts, **self._in_runtime(work.artifact())}

    def _in_runtime(self, artifact: Path) -> dict[str, int]:
        """Return the memory of a process that has loaded nothing but the runtime."""
        asked = [self.runtime, str(artifact), str(threads()), str(self.prompt_tokens), str(self.generate_tokens)]
        said = subprocess.run([sys.executable, "-m", RESIDENT, *asked], capture_output=True, text=True, check=False)
        if said.returncode:
            raise ValueError(
                f"{self.runtime} could not load and run what was made for it: {said.stderr.strip()[-500:]}"
            )
        return dict(json.loads(said.stdout.splitlines()[-1]))

    def _in_torch(self, work: Work) -> None:
        import torch

        from harness.models import checkpoint
        from harness.models.anatomy import parameter_count
        from harness.models.size import nonzero_count, resident_bytes

        source = work.checkpoint()
        before = psutil.Process().memory_info().rss
        reset_peak()
        model = checkpoint.load(source, work.device)
        loaded = peak_bytes()
        tokens = torch.arange(self.prompt_tokens)[None] % model.config.vocab_size
        attention = torch.ones_like(tokens)
        model.generate(
            tokens.to(model.device),
            attention_mask=attention.to(model.device),
            max_new_tokens=self.generate_tokens,
            min_new_tokens=self.generate_tokens,
            do_sample=False,
        )
        work.result |= {
            "bytes_on_disk": checkpoint.size_on_disk(source),
            "parameters": parameter_count(model),
            "nonzero_parameters": nonzero_count(model),
            "resident_bytes": resident_bytes(model),
            "process_bytes_before": before,
            "peak_load_bytes": loaded,
            "peak_memory_bytes": peak_bytes(),
            "peak_device_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None,
            "flops_per_token": flops_per_token(model),
            "emulated": checkpoint.dequantized(source),
        }


def flops_per_token(model: object, tokens: int = FLOP_TOKENS) -> float | None:
    """Return FLOPs per token of a prefill of `tokens`, of the weights' products alone.

    The same on every machine.

    None where the kernels of quantized weights are not counted. torch's counter knows attention's kernels on GPUs and not on CPUs,
    and on GPUs it fails where queries share keys: attention, which has no weights, is left out on both.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from harness.models.size import has_quantized

    if has_quantized(model):
        return None
    ids = torch.zeros(1, tokens, dtype=torch.long, device=model.device)  # type: ignore[attr-defined]
    kernels = ("flash_attention", "efficient_attention", "cudnn_attention", "flash_attention_for_cpu")
    none = {getattr(torch.ops.aten, f"_scaled_dot_product_{name}"): _nothing for name in kernels}
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=none) as counter:
        model(input_ids=ids, use_cache=False)  # type: ignore[operator]
    return counter.get_total_flops() / tokens


def _nothing(*_: object, **__: object) -> int:
    return 0
