"""`harness methods`: what can be run."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from harness.command.verb import DONE, Verb

if TYPE_CHECKING:
    from harness.spec import Method


class Methods(Verb):
    """List methods with their fields, and quantizers."""

    NAME: ClassVar[str] = "methods"

    def __call__(self) -> int:
        from rich.table import Table

        from harness import registry
        from harness.command.terminal import console
        from harness.outside.sparse_recipes import shipped

        terminal = console()
        table = Table("method", "removes", "needs", "source", "fields", title="methods")
        for name, kind in sorted(registry.methods().items()):
            fields = ", ".join(
                f"{field}={'?' if info.is_required() else info.get_default(call_default_factory=True)}"
                for field, info in registry.fields(kind).items()
            )
            table.add_row(
                name,
                _removes(kind),
                ", ".join(sorted(kind.NEEDS)),
                kind.SOURCE,
                fields,
            )
        terminal.print(table)
        terminal.print(f"shipped recipes: {', '.join(f'sparseml:{name}' for name in shipped())}", highlight=False)
        terminal.print(
            "quantizers: none, "
            + ", ".join(
                f"{name} ({(kind.__doc__ or '').splitlines()[0]})" for name, kind in registry.quantizers().items()
            ),
            highlight=False,
        )
        return DONE


def _removes(kind: type[Method]) -> str:
    if kind.FILE:
        return "as its file says"
    if not kind.STRUCTURED:
        return "zeros"
    return "parameters" if "budget" in kind.model_fields else "nothing"
