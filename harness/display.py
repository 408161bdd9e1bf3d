"""What a run shows while it works: a live bar on a terminal, a line a step elsewhere."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from harness.execution import Watch
from harness.executors.local import Outcome
from harness.words.durations import duration


class Live(Watch):
    """A context that is told of steps and shows them."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._bar.add_task("starting", total=1.0, note="")
        super().__init__(self._started, self._progress, self._notice, self._finished)

    def __enter__(self) -> Live:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def _started(self, title: str, done: int, total: int, left: float) -> None:
        self._bar.reset(self._task, description=f"[{done + 1}/{total}] {title}", note=f"about {duration(left)} left")

    def _progress(self, fraction: float, text: str) -> None:
        self._bar.update(self._task, completed=fraction, note=text)

    def _notice(self, text: str) -> None:
        self.console.print(Text(f"note: {text}", style="yellow"), soft_wrap=True)

    def _finished(self, title: str, outcome: Outcome, done: int, total: int, left: float) -> None:
        line = Text(f"[{done}/{total}] {title}: ")
        if outcome.reason:
            line.append("failed", style="red").append(f": {outcome.reason}")
        else:
            line.append("stored by another run" if outcome.meanwhile else duration(outcome.seconds))
        rest = f", about {duration(left)} left" if done < total else ""
        self.console.print(line.append(rest), soft_wrap=True)
