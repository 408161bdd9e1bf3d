"""Names, reasons and messages of others are text.

Brackets are no markup, braces no format, a lone surrogate no end.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.table import Table
from runs import ran

from harness.cli import main
from harness.command.terminal import console
from harness.display import Live
from harness.executors.local import Outcome
from harness.words.reasons import one_line

REASONS = (
    "[/red] and [bold]",
    "[/]",
    "{0} {task} %s",
    ":smile:",
    "\udcff lone",
    "a\x1b[2Jb",
    "two\nlines\r\n",
    "[link=x]y[/link]",
)


@pytest.mark.parametrize("reason", REASONS)
def test_a_reason_is_shown_as_it_is_and_ends_nothing(reason):
    for terminal in (True, False):
        out = io.StringIO()
        shown = Console(
            file=out, force_terminal=terminal, markup=False, emoji=False, highlight=False, width=200, color_system=None
        )
        with Live(shown) as watch:
            watch.started(reason, 0, 2, 5.0)
            watch.progress(0.5, reason)
            watch.notice(one_line(reason))
            watch.finished(one_line(reason), Outcome(1.0, one_line(reason)), 1, 2, 5.0)
        assert f"failed: {one_line(reason)}" in out.getvalue().encode("utf-8", "backslashreplace").decode()


def test_a_consoles_tables_show_brackets(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    table = Table("run", title="[title]")
    table.add_row("harness run quantizers=[none,int8] methods=[/x]")
    console().print(table)
    said = capsys.readouterr().out
    assert "quantizers=[none,int8] methods=[/x]" in said
    assert "[title]" in said


@pytest.mark.parametrize(
    ("columns", "width"), [("", 120), ("0", 120), ("-3", 120), ("7", 120), ("x", 120), ("²", 120), ("90", 90)]
)
def test_any_value_of_columns_gives_a_width(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    assert console().width == width


@pytest.mark.timeout(300)
def test_a_failing_variant_of_a_bracketed_name_is_a_row_in_every_format_and_every_later_run(tmp_path, capsys):
    """The name of a variant is what the user wrote, the reason what a command said."""
    folder = tmp_path / "[red]mine[bold]"
    folder.mkdir()
    (folder / "[x] {0}.yaml").write_text(
        'command: ["{python}", -c, "import sys; sys.exit(\'[/bold] %s \\\\udcff\')", "{input}", "{output}"]\n'
    )
    words = (f"methods=['external:{folder}/[x] {{0}}.yaml']", "quantizers=[none]", "measure.speed=false", "limit=1")
    _, store, summary, rows = ran(tmp_path, *words)
    assert "[/bold] %s" in next(iter(summary.failed.values()))
    assert rows[1]["variant"] == "external:[x] {0}"
    for verb in (
        "ls",
        "report",
        "report format=html",
        "report format=markdown",
        "report format=csv",
        "report format=json",
    ):
        place = [f"report={tmp_path / 'report'}"] if verb.startswith("report") else []
        assert main([*verb.split(), f"store={store.root}", *place]) == 0
    said = capsys.readouterr().out
    assert "external:[x] {0}" in said
    assert "[/bold] %s" in said
