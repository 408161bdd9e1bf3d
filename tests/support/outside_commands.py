"""Outside commands that tests write, and the step that runs one on a checkpoint.

Without a run around it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from baselines.external import External
from harness.data import suites
from harness.outside.run_command import RunCommand
from harness.spec import CalibrationSpec, Setup, Work
from harness.storage.store import Store

TEXT = suites.text_source("demo_instructions", None)
CALIBRATION = CalibrationSpec(source=TEXT, samples=4, length=32)
SETUP = Setup(calibration=CALIBRATION, training=TEXT, search_tasks=(), report_tasks=(), seed=7)
HEAD = (
    "import json, pathlib, sys, torch\nfrom transformers import AutoModelForCausalLM\nsource, output = sys.argv[1:3]\n"
)
LOAD = f"{HEAD}model = AutoModelForCausalLM.from_pretrained(source, dtype='auto')\n"
SAVE = "model.save_pretrained(output)\n"
COPY = LOAD + SAVE
BYTES = "import json, pathlib, shutil, sys\nsource, output = sys.argv[1:3]\nshutil.copytree(source, output, dirs_exist_ok=True)\n"
NARROW = f"""{LOAD}
dense = sum(weight.numel() for weight in model.parameters())
gone = round((1 - float(sys.argv[3])) * dense / (3 * model.config.hidden_size * len(model.model.layers)))
for layer in model.model.layers:
    kept = layer.mlp.down_proj.weight.norm(dim=0).topk(model.config.intermediate_size - gone).indices
    for linear, dim in ((layer.mlp.gate_proj, 0), (layer.mlp.up_proj, 0), (layer.mlp.down_proj, 1)):
        linear.weight = torch.nn.Parameter(linear.weight.index_select(dim, kept))
model.config.intermediate_size -= gone
{SAVE}"""


def written(folder: Path, script: str, *more: str, name: str = "mine", **fields) -> Path:
    """Return the YAML file of a command that runs `script` with the two folders and `more`."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(script)
    command = ["{python}", f"{name}.py", "{input}", "{output}", *more]
    (folder / f"{name}.yaml").write_text(json.dumps({"command": command, "files": [f"{name}.py"], **fields}))
    return folder / f"{name}.yaml"


class Fixed(Work):
    """A step's surroundings without a store: the parent's checkpoint is a given folder."""

    source: Path

    def checkpoint(self, keys=()):
        return self.source


def step(file: Path, **fields) -> RunCommand:
    (only,) = External(file=str(file), **fields).stages(SETUP)
    return only


def run(tmp_path: Path, source: Path, made: RunCommand) -> Fixed:
    draft = tmp_path / "draft"
    draft.mkdir()
    work = Fixed(draft, tmp_path, Store(tmp_path), "key", ("parent",), (), "cpu")
    work.source = source
    made.run(work)
    return work


def killed_while_it_runs(file: Path) -> int:
    """Run a file's command in a process of its own, kill that, and return the script's process.

    The script's process is the number that the script wrote into `pid`.
    """
    code = "import sys; from harness.outside.commands import read; from harness.outside.run_command import execute\n"
    code += f"execute([sys.executable, 'mine.py'], read({str(file)!r}))"
    running = subprocess.Popen([sys.executable, "-c", code])
    pid = file.parent / "pid"
    for _ in range(600):
        if pid.is_file() and pid.read_text():
            break
        time.sleep(0.1)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    return int(pid.read_text())


def gone(process: int) -> bool:
    """Tell whether a process ends within ten seconds."""
    for _ in range(100):
        if not psutil.pid_exists(process) or psutil.Process(process).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.1)
    return False
