"""`harness report paper=NAME`: a published table beside the same rows of a stored run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness import papers
from harness.command.terminal import console, show_table
from harness.words.nearest import one_of

if TYPE_CHECKING:
    from harness.storage.store import Store

FORMATS = ("table", "markdown", "latex", "json")


def paper_report(name: str, run: dict[str, Any], store: Store, form: str) -> int:
    """Print the published table `name` beside what the run measured of its rows."""
    one_of(form, FORMATS, what="format of paper=")
    from reports.compare.sides import scored, stored_side
    from reports.paper import paper_text
    from reports.paper.table import beside
    from reports.run import rows as reading

    paper = papers.read(name)
    keys = scored(run, store)
    sides = {row.name: stored_side(row.name, keys[row.name], run, store) for row in paper.rows if row.name in keys}
    if "dense" not in sides or len(sides) < 2:
        raise ValueError(f"run {run['id']} measured no row of paper={name}; measure them with harness run paper={name}")
    table = beside(paper, reading.read(run, store)[0], sides, run["metrics"])
    model = f"{run['config']['model']}, {run['dtype']}, " + (
        f"the first {run['config']['limit']} items a task" if run["config"]["limit"] else "all items"
    )
    if form in ("latex", "json"):
        print((paper_text.latex if form == "latex" else paper_text.json_text)(table, model), end="")
        return 0
    show_table(
        paper_text.heads(table),
        paper_text.rows(table),
        title=f"{paper.title}: published, and run {run['id']}",
        form=form,
    )
    if len(tasks := paper_text.task_heads(table)) > 1:
        show_table(tasks, paper_text.task_rows(table), title="by task, %", form=form)
    for note in paper_text.notes(table, model):
        console().print(f"- {note}", highlight=False, markup=False, soft_wrap=True)
    return 0
