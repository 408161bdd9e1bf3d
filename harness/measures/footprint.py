"""The step that measures a checkpoint's size, memory and FLOPs in a fresh process."""

from __future__ import annotations

from pathlib import Path

import psutil

from harness.spec import Cost, Step, Work

FLOP_TOKENS = 128


class Footprint(Step):
    """Bytes on disk and resident, peak memory at load and in generation, FLOPs per prefilled token."""

    KIND = "footprint"
    fingerprint: str  # memory depends on the machine and its libraries
    prompt_tokens: int = 128
    generate_tokens: int = 8

    def cost(self) -> Cost:
        return Cost(forward_tokens=2 * self.prompt_tokens, decode_tokens=self.generate_tokens, seconds=3)

    def run(self, work: Work) -> None:
        import torch

        from harness.measures.size import nonzero_count, resident_bytes
        from harness.models import checkpoint
        from harness.pruning.anatomy import parameter_count

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
        }


def reset_peak() -> None:
    """Start a new peak of this process's resident set, where the kernel allows it."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_bytes() -> int:
    """Return the peak resident set of this process in bytes since `reset_peak`."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def flops_per_token(model: object, tokens: int = FLOP_TOKENS) -> float | None:
    """Return FLOPs per token of a prefill of `tokens`; None where the kernels of quantized weights are not counted."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    if any(type(weight.data).__name__ not in ("Tensor", "Parameter") for weight in model.parameters()):  # type: ignore[attr-defined]
        return None
    ids = torch.zeros(1, tokens, dtype=torch.long, device=model.device)  # type: ignore[attr-defined]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(input_ids=ids, use_cache=False)  # type: ignore[operator]
    return counter.get_total_flops() / tokens
