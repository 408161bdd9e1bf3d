"""The command line: finds the verb, gives it its words, and says what went wrong in one line.

Exit codes: 0 done, 1 a step failed, 2 wrong words, 130 interrupted; `harness help VERB` says a verb's own.
"""

from __future__ import annotations

import importlib.metadata
import io
import logging
import os
import sys
import warnings

from harness.command import help as helping
from harness.command.all_verbs import find, verbs
from harness.command.verb import DONE, FAILED, INTERRUPTED, WRONG
from harness.machine import caches
from harness.words.reasons import reason

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
for _name in ("HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "NM_DISABLE_ANALYTICS"):
    os.environ.setdefault(_name, "1")  # no library tells anyone what is run here
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # else asking for CUDA spoils it for what is forked later
os.environ.setdefault("HF_UPDATE_DOWNLOAD_COUNTS", "0")  # datasets would count each local file at its makers' bucket
FLAGS = {"-h", "--help"}


def main(words: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    warnings.filterwarnings("ignore")
    for name in ("torchao", "torch.utils._pytree"):  # notices about kernels of other machines
        logging.getLogger(name).setLevel(logging.ERROR)
    words = list(sys.argv[1:] if words is None else words)
    for stream in (sys.stdout, sys.stderr):  # a name or message of others may hold what the terminal cannot say
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if words == ["--version"]:
            print(f"harness {importlib.metadata.version('llm-compression-harness')}")
            return DONE
        if not words or FLAGS & {*words} or "help" in (words[0], words[-1]):
            return _help([word for word in words if word not in {*FLAGS, "help"}], asked=bool(words))
        caches.settle()
        kind, rest = find(words)
        return kind.parse(rest)()
    except KeyboardInterrupt:
        print("interrupted; finished steps are stored, the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except ValueError as error:
        return _wrong(str(error).splitlines())
    except OSError as error:  # of the machine: a place that cannot be read or written, a disk that is full
        _wrong([reason(error)])
        return FAILED


def _help(words: list[str], *, asked: bool) -> int:
    """Print the help of the verb that words begin with, or the list of all."""
    halves = {name.split()[0] for name in verbs()} - set(verbs())
    if not words or (len(words) == 1 and words[0] in halves):
        shown = {name: verb for name, verb in verbs().items() if not words or name.startswith(f"{words[0]} ")}
        print(helping.overview(shown))
    else:
        print(helping.page(find(words)[0]))
    return DONE if asked else WRONG


def _wrong(lines: list[str]) -> int:
    for line in lines:
        print(f"harness: {line}", file=sys.stderr)
    return WRONG
