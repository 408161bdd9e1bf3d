"""The command line: run, plan, report, ls, methods, doctor. Exit codes: 0 done, 1 a step failed, 2 wrong words, 130 interrupted."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

USAGE = """usage: harness VERB [key=value ...]

  run      compare compression methods on a suite: harness run suite=demo
  plan     show the steps of a run, what is stored already, and how long the rest takes
  report   rewrite the tables and plots of a run from the store: [run=ID] [format=html|markdown|csv|json|plot|table]
  ls       list the runs and steps in a store
  methods  list methods and quantizers with their fields
  doctor   check this installation and machine

Keys of run and plan: suite model methods budgets quantizers limit data_dir profile seed store report dtype device scorer
calibration.* measure.* settings.METHOD.FIELD. Lists are written methods=[nas,shortgpt]; a method's own fields
'methods=["wanda(sparsity=0.5)"]'.
"""


def main(words: list[str] | None = None) -> int:
    """Run one verb and return the exit code."""
    warnings.filterwarnings("ignore")
    for name in ("torchao", "torch.utils._pytree"):  # notices about kernels of other machines
        logging.getLogger(name).setLevel(logging.ERROR)
    words = list(sys.argv[1:] if words is None else words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE)
        return 0 if words else 2
    verbs: dict[str, Callable[[list[str]], int]] = {
        "run": _run,
        "plan": _plan,
        "report": _report,
        "ls": _ls,
        "methods": _methods,
        "doctor": _doctor,
    }
    if words[0] not in verbs:
        from harness.data.layout import nearest

        return _wrong([f"verb {words[0]} is unknown; {nearest(words[0], list(verbs))}"])
    try:
        return verbs[words[0]](words[1:])
    except KeyboardInterrupt:
        print("interrupted; finished steps are stored, the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except ValueError as error:
        return _wrong(str(error).splitlines())


def _wrong(lines: list[str]) -> int:
    for line in lines:
        print(f"harness: {line}", file=sys.stderr)
    return 2


def _console():
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=int(os.environ.get("COLUMNS", "120")))


def _planned(words: list[str]):
    from harness import config, plan
    from harness.store import Store

    with _console().status("checking configuration, model and data"):
        run = config.compose(words)
        store = Store(run.store)
        store.prepare()
        return plan.build(run), store


def _run(words: list[str]) -> int:
    started = time.time()
    plan, store = _planned(words)
    from harness.display import Live, duration
    from harness.run import execute, record, relative

    console = _console()
    for notice in plan.notices:
        console.print(f"note: {notice}", style="yellow", highlight=False)
    steps = len(plan.steps())
    console.print(f"{len(plan.variants)} variants, {steps} steps; store {relative(store.root)}", highlight=False)
    with Live(console) as watch:
        summary = execute(plan, store, watch)
    run = record(plan, store, started, " ".join(["harness run", *words]), summary)
    store.save_run(run)
    paths = _show(run, store, plan.run.report, console)
    console.print(
        f"{summary.stored} steps were stored, {len(summary.executed)} executed, {len(summary.failed)} failed, "
        f"{len(summary.skipped)} skipped in {duration(time.time() - started)}",
        highlight=False,
    )
    for key, reason in summary.failed.items():
        console.print(
            f"failed: {reason}\n  log: {relative(store.log(key))}", style="red", highlight=False, soft_wrap=True
        )
    console.print(f"report: {relative(paths['html'][0])}", highlight=False, soft_wrap=True)
    return 1 if summary.failed or summary.skipped else 0


def _show(run, store, folder: Path, console):
    from reports import rows as reading
    from reports import tables
    from reports.write import write

    rows, facts = reading.rows(run, store), reading.facts(run, store)
    console.print(tables.rich_table(rows, facts))
    return write(rows, facts, folder)


def _plan(words: list[str]) -> int:
    plan, store = _planned(words)
    from rich.table import Table

    from harness import plan as planning
    from harness.display import duration
    from harness.run import title

    rate, past, parameters = (
        planning.machine_rate(plan.run.resolved_dtype),
        planning.history(store),
        planning.model_parameters(plan, store),
    )
    table = Table(
        "step",
        "key",
        "state",
        "estimate",
        title=f"suite {plan.run.suite}, model {plan.run.model}, {plan.run.resolved_dtype}",
    )
    left = 0.0
    for node in plan.steps():
        stored = store.has(node.key)
        seconds = planning.estimate(node, parameters, rate, past)
        left += 0.0 if stored else seconds
        failure = store.failure(node.key)
        state = "stored" if stored else f"failed before: {failure['reason']}" if failure else "to do"
        table.add_row(title(node, plan), node.key[:12], state, "" if stored else duration(seconds))
    console = _console()
    for notice in plan.notices:
        console.print(f"note: {notice}", style="yellow", highlight=False)
    console.print(table)
    console.print(
        f"{len(plan.variants)} variants; about {duration(left)} of work left (corrected by this store's past steps where there are any)",
        highlight=False,
    )
    return 0


def _options(words: list[str], known: dict[str, str]) -> dict[str, str]:
    """Return key=value words over their defaults; ValueError naming all unknown ones."""
    from harness.data.layout import nearest

    errors, found = [], dict(known)
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or key not in known:
            errors.append(f"key {key} is unknown; {nearest(key, list(known))}")
        else:
            found[key] = value
    if errors:
        raise ValueError("\n".join(errors))
    return found


def _report(words: list[str]) -> int:
    options = _options(words, {"store": "harness-store", "report": "harness-report", "run": "", "format": "table"})
    from harness.data.layout import nearest
    from harness.run import relative
    from harness.store import Store
    from reports import rows as reading
    from reports.write import FORMATS, write

    if options["format"] not in (*FORMATS, "table"):
        raise ValueError(f"format {options['format']} is unknown; {nearest(options['format'], [*FORMATS, 'table'])}")
    store = Store(Path(options["store"]))
    runs = store.runs()
    if not runs:
        raise ValueError(f"store={options['store']} holds no run; start with harness run suite=demo")
    run = next((run for run in runs if run["id"] == options["run"]), None) if options["run"] else runs[-1]
    if run is None:
        raise ValueError(
            f"run {options['run']} is not in the store; {nearest(options['run'], [run['id'] for run in runs])}"
        )
    if options["format"] == "table":
        paths = _show(run, store, Path(options["report"]), _console())
        print(f"report: {relative(paths['html'][0])}")
    else:
        for path in write(
            reading.rows(run, store), reading.facts(run, store), Path(options["report"]), [options["format"]]
        )[options["format"]]:
            print(relative(path))
    return 0


def _ls(words: list[str]) -> int:
    options = _options(words, {"store": "harness-store"})
    from rich.table import Table

    from harness.measures.speed import folder_bytes
    from harness.store import Store

    store, console = Store(Path(options["store"])), _console()
    runs = Table("run", "command", "variants", title="runs")
    for run in store.runs():
        runs.add_row(run["id"], run["command"], str(len(run["variants"])))
    steps = Table("key", "step", "MB", "seconds", title="steps")
    for key in store.keys():
        record = store.record(key)
        steps.add_row(
            key[:12],
            record["title"],
            f"{folder_bytes(store.folder(key)) / 1e6:.1f}",
            f"{record['cost']['seconds']:.1f}",
        )
    console.print(runs, steps)
    return 0


def _methods(words: list[str]) -> int:
    _options(words, {})
    from rich.table import Table

    from harness import registry

    console = _console()
    table = Table("method", "removes", "needs", "source", "fields", title="methods")
    for name, kind in sorted(registry.methods().items()):
        fields = ", ".join(
            f"{field}={'?' if info.is_required() else info.default}" for field, info in kind.model_fields.items()
        )
        table.add_row(
            name,
            "parameters" if kind.STRUCTURED and kind.model_fields else "zeros" if kind.model_fields else "nothing",
            ", ".join(sorted(kind.NEEDS)),
            kind.SOURCE,
            fields,
        )
    console.print(table)
    console.print(
        "quantizers: none, "
        + ", ".join(f"{name} ({(kind.__doc__ or '').splitlines()[0]})" for name, kind in registry.quantizers().items()),
        highlight=False,
    )
    return 0


def _doctor(words: list[str]) -> int:
    options = _options(words, {"store": "harness-store"})
    from harness import doctor

    return doctor.run(Path(options["store"]), _console())
