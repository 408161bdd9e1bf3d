"""(1 + lambda) evolution at a few sizes, with staged evaluation.

Many children on few items, one on all of them.
"""

from __future__ import annotations

from itertools import count
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from harness.nas.searchers.archive import Archive
from harness.nas.searchers.base import Ask, Exploration, Landscape, Searcher
from harness.nas.searchers.levels import at_level, best_near, nearest
from harness.nas.searchers.variation import switched

Share = Annotated[float, Field(gt=0, lt=1)]
Stage = tuple[Share, Annotated[int, Field(ge=1)]]  # share of the items, survivors


class Evolution(Searcher):
    """Improve one parent per level, one generation each in turn (EvoPress).

    By level switches that keep its size.

    The first generation of a level is its seeds and a sample, brought to the level.
    """

    NAME: ClassVar[str] = "evolution"
    SOURCE: ClassVar[str] = "arXiv 2410.14649"
    levels: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = Field(
        (0.9, 0.8, 0.7), description="sizes that are searched, as shares of the dense parameters"
    )
    offspring: Annotated[int, Field(ge=1)] = Field(16, description="children of a generation")
    switches: Annotated[int, Field(ge=1)] = Field(3, description="level switches in one child, at most")
    stages: tuple[Stage, ...] = Field(
        ((0.05, 4), (0.25, 1)),
        description="(share of the items, survivors) of the selections before all items are scored",
    )

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        archive, seeds = Archive(landscape), landscape.seeds()
        archive.add(seeds, (yield Ask(seeds, 1.0, seeded=True)))
        for generation in count():
            for level in self.levels:
                parent = best_near(archive, level)
                if generation:
                    drawn = switched(parent, landscape.upper(), 2 * self.offspring, self.switches, generator)
                else:
                    near = nearest(landscape, seeds, level)[: self.offspring // 2]
                    drawn = np.concatenate([near, landscape.sample(self.offspring - len(near), generator)])
                children = at_level(archive, drawn, level, generator)[: self.offspring]
                for share, survivors in self.stages:
                    if len(children) > survivors:
                        told = yield Ask(children, share)
                        children = children[np.argsort(told[:, 0], kind="stable")[:survivors]]
                asked = np.concatenate([children, parent[None]])
                archive.add(asked, (yield Ask(asked, 1.0)))
