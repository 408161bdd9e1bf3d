"""Which choice of a multiple-choice item is the right one, as lm-eval takes it.

And whether there is one.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.data import tasks
from harness.spec import TaskSpec

LOOKED_AT = 1000  # items whose labels a plan looks at; an evaluation sees the others'
SEVERAL = -1  # the place of the right choice where several are right, or where the task judges in its own way


def gold(task: Any, document: dict[str, Any]) -> int:
    """Return the place of the right choice, or SEVERAL; ValueError where the label is none of the choices.

    lm-eval scores such an item as wrong whatever the model says, and says so in its log alone.
    """
    said = task.doc_to_text(document) if task.multiple_input else task.doc_to_target(document)
    choices = list(task.doc_to_choice(document))
    if isinstance(said, list):
        return SEVERAL
    place = (choices.index(said) if said in choices else None) if isinstance(said, str) else int(said)
    if place is not None and 0 <= place < len(choices):
        return place
    if task.config.process_results is not None:
        return SEVERAL
    raise ValueError(
        f"{task.config.task}: the label {said!r} is none of the {len(choices)} choices; doc_to_target must give a place "
        "from 0 on, or a choice's own words (a template such as {{label}} makes a number of digits)"
    )


def check(spec: TaskSpec) -> None:
    """Raise ValueError where lm-eval cannot load a task that a suite's author defined.

    Or where a label is none of the choices.
    """
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        try:
            loaded = tasks.load((spec,), Path(scratch))[spec.name]
        except Exception as error:  # whatever a definition and its functions raise is what its author has to read
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            if isinstance(error, IndexError):
                said = "there is no item to score, or the first one's label is none of its choices"
            raise ValueError(f"{spec.name}: lm-eval cannot load its definition ({said[:200]})") from error
        for task in loaded.values():
            _check_request(spec, task)
            if task.OUTPUT_TYPE == "multiple_choice":
                for _, document in zip(range(LOOKED_AT), task.eval_docs, strict=False):
                    gold(task, document)


def _check_request(spec: TaskSpec, task: Any) -> None:
    """Raise ValueError where the first item makes no request.

    Too few examples for the shots, or a template that fails.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # a progress bar
            task.build_all_requests(samples=[0])
    except Exception as error:  # whatever a definition and its functions raise is what its author has to read
        examples = f" with shots={spec.shots} of {len(list(task.fewshot_docs()))} examples" if spec.shots else ""
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ValueError(f"{spec.name}: its first item makes no request{examples} ({said[:200]})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence what lm-eval and `datasets` tell of loading: a plan prints its own lines."""
    import datasets

    logger, shown = logging.getLogger("lm_eval"), datasets.is_progress_bar_enabled()
    level = logger.level
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if shown:
            datasets.enable_progress_bars()
