"""The command line: finds the verb and gives it its words.

Exit codes: 0 done, 1 a step failed, 2 wrong words, 130 interrupted; `gate` says what its own are.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Callable

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

USAGE = """usage: harness VERB [key=value ...]

  run      compare compression methods on a suite: harness run suite=demo
  plan     show the steps of a run, what is stored already, and how long the rest takes
  report   rewrite the tables and plots of a run from the store: [run=ID] [format=html|markdown|csv|json|plot|table]
           paper=NAME: a published table beside the run's rows, [format=table|markdown|latex|json]; harness run paper=NAME
           measures them
  compare  two or more variants of a run, item by item, the first is the reference: harness compare dense nas@0.75
           [run=ID] [task=NAME] [metric=NAME] [flips=5] [level=0.95] [format=table|markdown|json]
  gate     a run against a kept baseline, for CI: baseline=FOLDER [update=true keeps the run there] [run=ID] [level=0.95]
           [drop=0] [perplexity=0.005] [speed=0.1] [memory=0.1] [flips=N] [format=table|markdown|json]; exit code
           0 no regression, 1 a regression or something missing, 3 nothing was measured
  ls       list the runs and steps in a store
  methods  list methods and quantizers with their fields
  search   compare searchers on one super-network, every one with several seeds: [searchers=[linas,evolution,nsga2,random]]
           [seeds=3] [evaluations=250] [format=table|markdown|json] and the keys of run that a search depends on
  data     export: write a suite's data for machines without network, suite= to=FOLDER [data_dir= tasks=];
           check: what such a folder lacks, suite= data_dir=; overlap: text that asks what is reported, suite= [data_dir=]
  env      create NAME: an environment of its own for a tool that cannot live beside ours (sparseml), or for a command of
           your own, [requirements=FILE]; ls: list them
  doctor   check this installation and machine
  doctor parity   compare our scorer with lm-eval's HFLM on every item: suite= [tasks= limit= dtype= model= data_dir=]
  doctor scoring  FLOPs, CPU time and memory of both, by turns, beside the least possible: [rounds=2] and the same keys
  doctor search   cost of a search's candidates beside lm-eval on a copy of each, by turns: [candidates=8] [rounds=2] and
           the keys of search
  doctor shapes   speed of a super-network's members beside the whole, by turns, random weights: [geometry=llama-2-7b]
           [samples=1] [prompt=128] [generate=8] [rounds=5] [dtype=bfloat16] [device=auto] [seed=0] [format=]

Keys of run and plan: suite paper model methods budgets quantizers limit data_dir profile seed store report dtype device scorer
calibration.* measure.* settings.METHOD.FIELD. Lists are written methods=[nas,shortgpt]; a method's own fields
'methods=["wanda(sparsity=0.5)"]'.
"""
# a verb of one word or two ("doctor parity" would go before "doctor") -> where its function is; imported when it is called
VERBS: dict[str, str] = {
    "run": "harness.verbs.run:run",
    "plan": "harness.verbs.run:show_plan",
    "report": "harness.verbs.report:report",
    "compare": "harness.verbs.compare:compare",
    "gate": "harness.verbs.gate:gate",
    "ls": "harness.verbs.listing:ls",
    "methods": "harness.verbs.listing:methods",
    "search": "harness.verbs.search:search",
    "data": "harness.verbs.data:data",
    "env": "harness.verbs.env:env",
    "doctor": "harness.verbs.doctor:doctor",
    "doctor parity": "harness.verbs.parity:parity",
    "doctor scoring": "harness.verbs.scoring:scoring",
    "doctor search": "harness.nas.doctor_search:doctor_search",
    "doctor shapes": "harness.nas.doctor_shapes:doctor_shapes",
}


def main(words: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    warnings.filterwarnings("ignore")
    for name in ("torchao", "torch.utils._pytree"):  # notices about kernels of other machines
        logging.getLogger(name).setLevel(logging.ERROR)
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if words else 2
    try:
        verb, rest = found(words)
        return verb(rest)
    except KeyboardInterrupt:
        print("interrupted; finished steps are stored, the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except ValueError as error:
        return _wrong(str(error).splitlines())


def found(words: list[str]) -> tuple[Callable[[list[str]], int], list[str]]:
    """Return the verb's function, of two words where there is one, and the words left to it; ValueError for no verb."""
    second = [verb.split()[1] for verb in VERBS if verb.startswith(f"{words[0]} ")]
    length = 2 if second and len(words) > 1 and "=" not in words[1] else 1
    place = VERBS.get(" ".join(words[:length]))
    if place:
        module, name = place.split(":")
        return getattr(importlib.import_module(module), name), words[length:]
    from harness.data.layout import nearest

    if length == 2 and words[0] in VERBS:
        raise ValueError(f"harness {words[0]} {words[1]} is unknown; {nearest(words[1], second)}")
    if second:
        raise ValueError(f"harness {words[0]} needs one of the words {', '.join(second)} behind it")
    raise ValueError(
        f"verb {words[0]} is unknown; {nearest(words[0], list(dict.fromkeys(verb.split()[0] for verb in VERBS)))}"
    )


def _wrong(lines: list[str]) -> int:
    for line in lines:
        print(f"harness: {line}", file=sys.stderr)
    return 2
