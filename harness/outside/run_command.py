"""The step that lets an outside command make the smaller checkpoint, and checks what comes back."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.outside.commands import Command
from harness.spec import CalibrationSpec, Cost, Step, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FACTS = "facts.json"  # the command may leave it beside its checkpoint: how many tokens it looked at or trained on
COUNTED = ("calibration_tokens", "training_tokens", "teacher_tokens")
PR_SET_PDEATHSIG = 1


class RunCommand(Step):
    """Run `command` on the parent's checkpoint; what it leaves is loaded, checked, and stored as our own results are."""

    KIND = "command"
    command: Command
    budget: float | None = None
    calibration: CalibrationSpec | None = None
    seed: int = 0

    def title(self) -> str:
        return self.command.name + (f" at {self.budget}" if self.budget is not None else "")

    def cost(self) -> Cost:
        return Cost(forward_tokens=2 * self.calibration.tokens if self.calibration else 0, seconds=60)

    def checkpoint_share(self) -> float:
        return self.budget or 1.0

    def run(self, work: Work) -> None:
        import shutil

        from harness.compress import check_family, store_model

        source, draft = work.checkpoint().resolve(), work.draft.resolve()  # the command runs elsewhere
        output, drawn = draft / "output", draft / "calibration.jsonl"
        check_family(source, self.command.families, self.command.name)
        facts = {}
        if self.calibration:
            facts["calibration_tokens"] = write_calibration(self.calibration, source, drawn)
        places = {"input": source, "output": output, "calibration": drawn, "python": self.command.interpreter}
        words = {"budget": self.budget, "seed": self.seed, "device": work.device}
        code = execute(
            self.command.filled({name: str(value) for name, value in {**places, **words}.items()}), self.command
        )
        if code:
            raise ValueError(f"{self.command.name} ended with exit code {code}: {last_line(work.store.log(work.key))}")
        model = load_result(output, self.command.name)
        self.check_size(model, source)
        store_model(work, model, **facts | facts_of(output))
        shutil.rmtree(output)
        drawn.unlink(missing_ok=True)

    def check_size(self, model: PreTrainedModel, source: Path) -> None:
        """Raise ValueError where a structured result misses its budget, or another's number of parameters changed."""
        from harness.pruning.anatomy import parameter_count
        from harness.pruning.budget import check_reached

        before, after = parameters_of(source), parameter_count(model)
        if not self.command.structured and after != before:
            raise ValueError(
                f"{self.command.name} says structured: false, but its result has {after:,} parameters, not {before:,}"
            )
        if self.command.structured and self.budget is not None:
            check_reached(after, before, self.budget, self.command.name, self.command.tolerance)


def execute(words: list[str], command: Command) -> int:
    """Run `words` in the command's folder, its output in our log, and return the exit code. It ends when we do."""
    variables = {**os.environ, **command.variables}
    try:
        with subprocess.Popen(
            words, cwd=command.folder, env=variables, stdin=subprocess.DEVNULL, preexec_fn=_end_with_us
        ) as running:
            return running.wait()
    except OSError as error:
        raise ValueError(f"{command.name}: {words[0]}: {error.strerror}") from None


def last_line(log: Path) -> str:
    """Return what the command said last, as far as there is a log."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")


def _end_with_us() -> None:
    """Ask the kernel, where it can, to end the command when this process ends in whatever way."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def write_calibration(spec: CalibrationSpec, source: Path, target: Path) -> int:
    """Write the windows that every method of the table gets, a JSON line of `input_ids` and `text` each; return the tokens."""
    from harness.data.calibration import draw
    from harness.models import checkpoint

    tokenizer = checkpoint.load_tokenizer(source)
    drawn = draw(spec, tokenizer)
    rows = ({"input_ids": ids, "text": tokenizer.decode(ids)} for ids in drawn.tokens.tolist())
    target.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return drawn.count


def load_result(folder: Path, name: str) -> PreTrainedModel:
    """Return the model in `folder`; ValueError where there is none that loads."""
    from harness.models import checkpoint

    if not (folder / "config.json").is_file():
        raise ValueError(f"{name} left no checkpoint: config.json is not in the folder that {{output}} named")
    try:
        return checkpoint.load(folder)
    except Exception as error:  # whatever their files make the loaders raise, it is the command's fault
        raise ValueError(f"what {name} left does not load: {str(error).partition(chr(10))[0]}") from error


def parameters_of(folder: Path) -> int:
    """Return the number of parameters of the checkpoint in `folder`, without reading its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from harness.pruning.anatomy import parameter_count

    with torch.device("meta"):
        return parameter_count(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)))


def facts_of(output: Path) -> dict[str, Any]:
    """Return the counts of tokens that the command left in FACTS; ValueError where they are no counts."""
    if not (output / FACTS).is_file():
        return {}
    try:
        found = json.loads((output / FACTS).read_text())
        return {name: int(count) for name, count in found.items() if name in COUNTED}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{FACTS} must be a mapping of {', '.join(COUNTED)} to numbers: {error}") from None
