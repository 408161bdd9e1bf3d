"""What `harness search` and `harness doctor search` begin with.

A super-network and searches of it, planned as in a run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from harness import config, graph
from harness.command.terminal import console
from harness.config import ConfigErrors, RunConfig
from harness.spec import Node
from harness.storage.store import Store

# who asks for a search need not know that a method does it, nor read a field's name twice
OWN_WORDS = re.compile(r"^method nas: (?:fields: |(\w+): (?=\1\b))")


@dataclass
class Searches(graph.Plan):
    """Searches of one super-network: each variant is the super-network, its one measure a search."""

    def steps(self) -> list[Node]:
        """Return each distinct step once, the super-network before what searches it."""
        nodes = [node for each in self.variants for node in (*each.chain(), *each.measures.values())]
        return list({node.key: node for node in nodes}.values())

    def searches(self) -> list[Node]:
        """Return the searches, in the order asked for."""
        return [each.measures["search"] for each in self.variants if "search" in each.measures]

    def only_network(self) -> Searches:
        """Return the plan that stops before the first search."""
        return replace(self, variants=[replace(each, measures={}) for each in self.variants])


def planned(words: Sequence[str], wanted: Iterable[str]) -> tuple[Searches, Store]:
    """Return the searches by the fields that `wanted` writes, and their store.

    They are as the nas method makes them.

    ValueError says what is not to be had, each reason once.
    """
    with console().status("checking configuration, model and data"):
        run = config.compose([*words, "methods=[dense]"])
        store = Store(run.store)
        store.prepare()
        return build(run, wanted), store


def build(run: RunConfig, wanted: Iterable[str]) -> Searches:
    """Return the plan of one search per entry of `wanted`, fields written as in `nas(...)`."""
    recipes = tuple(f"nas({fields})" for fields in wanted)
    asked = run.model_copy(update={"methods": recipes, "budgets": (1.0,), "quantizers": ("none",)})
    try:
        made = graph.build(asked)
    except ConfigErrors as error:
        lines = [OWN_WORDS.sub("", line) for line in error.lines]
        raise ConfigErrors(list(dict.fromkeys(lines))) from None
    variants = []
    for variant in made.variants[1:]:
        search = variant.checkpoint.parent  # of the step that picks a size
        assert search is not None
        assert search.parent is not None
        assert search.step.KIND == "search"
        seed = search.step.search_seed  # type: ignore[attr-defined]
        variants.append(replace(variant, name=f"of seed {seed}", checkpoint=search.parent, measures={"search": search}))
    return Searches(asked, variants, made.notices, made.metrics)
