"""With every socket refused, run, plan, report, ls, compare, gate and doctor do all their work.

No library tells anyone anything.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from runs import words

GUARD = '''"""Loaded by every Python process of the test: no socket leaves the machine, and who tried is written down."""
import os, socket, traceback

def refuse(kind):
    def refused(self, address, *rest):
        if self.family == socket.AF_UNIX:
            return kind(self, address, *rest)
        with open(os.environ["SOCKETS_TRIED"], "a") as file:
            file.write(f"{address} " + "".join(traceback.format_stack()[-4:-1]))
        raise OSError(101, "Network is unreachable")
    return refused

socket.socket.connect = refuse(socket.socket.connect)
socket.socket.connect_ex = refuse(socket.socket.connect_ex)
asked = socket.getaddrinfo

def names(host, *rest, **more):
    with open(os.environ["SOCKETS_TRIED"], "a") as file:
        file.write(f"name {host}")
    raise socket.gaierror(-3, "Temporary failure in name resolution")

socket.getaddrinfo = names
'''
VERBS = (
    *(["doctor"], ["methods"], ["ls"], ["report"], ["report", "format=json"], ["compare", "dense", "shortgpt@0.8"]),
    ["gate", "baseline={store}"],
)
ONE_BY_ONE = """\
import json, sys
from harness.cli import main
for line in json.loads(sys.argv[1]):
    print("ended", line[0], main(line))
"""


@pytest.mark.timeout(600)
def test_nothing_of_a_run_asks_the_network(tmp_path):
    guard = tmp_path / "guard"
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    tried = tmp_path / "tried"
    here = str(Path(__file__).resolve().parents[2])
    online = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    bare = {**online, "PYTHONPATH": os.pathsep.join([str(guard), here]), "SOCKETS_TRIED": str(tried)}
    check = [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"]
    assert subprocess.run(check, env=bare, capture_output=True, check=False).returncode == 1
    assert "127.0.0.1" in tried.read_text(), "the guard stands in every process"
    tried.unlink()
    store, report = f"store={tmp_path / 'store'}", f"report={tmp_path / 'report'}"
    run = words(tmp_path, "methods=[shortgpt,wanda]", "budgets=[0.8]", "limit=1", "measure.speed=false")
    lines = [["plan", *run], ["run", *run]]
    for verb in VERBS:
        places = [store] * (verb[0] != "methods") + [report] * (verb[0] == "report")
        lines.append([*(word.format(store=tmp_path / "store") for word in verb), *places])
    command = [sys.executable, "-c", ONE_BY_ONE, json.dumps(lines)]
    done = subprocess.run(command, env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    codes = [line.split() for line in done.stdout.splitlines() if line.startswith("ended ")]
    assert [verb for _, verb, _ in codes] == [line[0] for line in lines]
    assert all(code in ("0", "3") for *_, code in codes), done.stdout + done.stderr
    assert "0 failed, 0 skipped" in done.stdout
    assert not tried.exists(), tried.read_text()
