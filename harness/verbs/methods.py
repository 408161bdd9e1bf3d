"""`harness methods`: what can be run, and what each of it means."""

from __future__ import annotations

from typing import ClassVar

from harness.command.verb import DONE, Verb


class Methods(Verb):
    """List methods, quantizers and searchers; of a NAME say what it does and what each field means.

    Example: harness methods wanda
    """

    NAME: ClassVar[str] = "methods"
    NAMES: ClassVar[str] = "[NAME ...]"

    def __call__(self) -> int:
        from harness.command.kind_page import kind_page
        from harness.command.terminal import console

        if not self.names:
            return self._all()
        pages = [kind_page(name) for name in self.names]
        console().print("\n\n".join(pages), highlight=False, markup=False, soft_wrap=True)
        return DONE

    def _all(self) -> int:
        from rich.table import Table

        from harness import registry
        from harness.command.kind_page import method_words, removes
        from harness.command.terminal import console
        from harness.nas.searchers.all_searchers import searchers
        from harness.outside.sparse_recipes import shipped

        terminal = console()
        table = Table("method", "removes", "needs", "source", "fields", title="methods")
        for name, kind in sorted(registry.methods().items()):
            words = method_words(kind)
            fields = ", ".join(f"{word.name}={'?' if word.default is None else word.default}" for word in words)
            table.add_row(name, removes(kind), ", ".join(sorted(kind.NEEDS)), kind.SOURCE, fields)
        terminal.print(table)
        terminal.print(f"shipped recipes: {', '.join(f'sparseml:{name}' for name in shipped())}", highlight=False)
        quantizers = Table("quantizer", "runtimes", "weights", title="quantizers, beside none")
        for name, quantizer in sorted(registry.quantizers().items()):
            quantizers.add_row(name, ", ".join(sorted(quantizer.RUNTIMES)), (quantizer.__doc__ or "").splitlines()[0])
        terminal.print(quantizers)
        terminal.print(f"searchers of nas: {', '.join(searchers())}", highlight=False)
        terminal.print("harness methods NAME says what each field means", highlight=False)
        return DONE
