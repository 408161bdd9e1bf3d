"""The step that lets an outside command make the smaller checkpoint, and checks what comes back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.compress import check_family, store_model
from harness.outside import leash as leashing
from harness.outside.commands import Command
from harness.pruning.budget import check_reached
from harness.spec import CalibrationSpec, Cost, Step, Work

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FACTS = "facts.json"  # the command may leave it beside its checkpoint: how many tokens it looked at or trained on
COUNTED = ("calibration_tokens", "training_tokens", "teacher_tokens")


class RunCommand(Step):
    """Run `command` on the parent's checkpoint.

    What it leaves is loaded, checked, and stored as our own results are.
    """

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
        from harness.models import checkpoint
        from harness.models.imported import check_vocabulary

        source, draft = work.checkpoint().resolve(), work.draft.resolve()  # the command runs elsewhere
        copied, output, drawn = draft / "input", draft / "output", draft / "calibration.jsonl"
        check_family(source, self.command.families, self.command.name)
        facts = {}
        if self.calibration:
            facts["calibration_tokens"] = write_calibration(self.calibration, source, drawn)
        shutil.copytree(source, copied)  # a copy: what a command writes into its input must not be everyone's model
        places = {"input": copied, "output": output, "calibration": drawn, "python": self.command.interpreter}
        words = {"budget": self.budget, "seed": self.seed, "device": work.device}
        code = execute(
            self.command.filled({name: str(value) for name, value in {**places, **words}.items()}), self.command
        )
        if code:
            raise ValueError(f"{self.command.name} ended with exit code {code}: {last_line(work.store.log(work.key))}")
        model = load_result(output, self.command.name)
        check_vocabulary(model, checkpoint.load_tokenizer(source))
        self.check_size(model, source)
        emulated = bool(checkpoint.quantization(output))  # stored, and computed with, as what its values stand for
        store_model(work, model, **facts | facts_of(output), emulated=emulated)
        for folder in (copied, output):
            remove(folder)
        drawn.unlink(missing_ok=True)

    def check_size(self, model: PreTrainedModel, source: Path) -> None:
        """Raise ValueError where a structured result misses its budget.

        Or where another's number of parameters changed.
        """
        from harness.models.anatomy import parameter_count

        before, after = parameters_of(source), parameter_count(model)
        if not self.command.structured and after != before:
            raise ValueError(
                f"{self.command.name} says structured: false, but its result has {after:,} parameters, not {before:,}"
            )
        if self.command.structured and self.budget is not None:
            check_reached(after, before, self.budget, self.command.name, self.command.tolerance)


def execute(words: list[str], command: Command) -> int:
    """Run `words` in the command's folder and return the exit code.

    Output goes to our log. Negative: a signal's number.

    It ends when we do, in whatever way, and what it started ends with it (`leash`).
    """
    leash = [sys.executable, "-I", "-S", leashing.__file__, *words]
    variables = {**os.environ, **command.variables}
    with subprocess.Popen(leash, cwd=command.folder, env=variables, stdin=subprocess.PIPE) as running:
        return running.wait()  # the pipe stays open meanwhile: its end would tell that we are gone


def remove(folder: Path) -> None:
    """Take a folder away, or the link that a command left in its place: what that points to is not ours."""
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder)


def last_line(log: Path) -> str:
    """Return what the command said last, as far as there is a log."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "without a word")


def write_calibration(spec: CalibrationSpec, source: Path, target: Path) -> int:
    """Write the windows that every method of the table gets, a JSON line of `input_ids` and `text` each.

    Return the tokens.
    """
    from harness.data.calibration import draw
    from harness.models import checkpoint

    tokenizer = checkpoint.load_tokenizer(source)
    drawn = draw(spec, tokenizer)
    rows = ({"input_ids": ids, "text": tokenizer.decode(ids)} for ids in drawn.tokens.tolist())
    target.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return drawn.count


def load_result(folder: Path, name: str) -> PreTrainedModel:
    """Return the model in `folder`; ValueError where there is none that loads."""
    from harness.models import accepted, checkpoint

    if not (folder / "config.json").is_file():
        raise ValueError(f"{name} left no checkpoint: config.json is not in the folder that {{output}} named")
    accepted.check_names(f"what {name} left", {path.name for path in folder.iterdir()})
    try:
        return checkpoint.load(folder)
    except Exception as error:  # whatever their files make the loaders raise, it is the command's fault
        raise ValueError(f"what {name} left does not load: {str(error).partition(chr(10))[0]}") from error


def parameters_of(folder: Path) -> int:
    """Return the number of parameters of the checkpoint in `folder`, without reading its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from harness.models.anatomy import parameter_count

    with torch.device("meta"):
        return parameter_count(AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder)))


def facts_of(output: Path) -> dict[str, Any]:
    """Return the counts of tokens that the command left in FACTS; ValueError where they are no counts."""
    if not (output / FACTS).is_file():
        return {}
    try:
        facts = json.loads((output / FACTS).read_text())
        return {name: int(count) for name, count in facts.items() if name in COUNTED}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{FACTS} must be a mapping of {', '.join(COUNTED)} to numbers: {error}") from None
