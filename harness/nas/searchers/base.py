"""The interface between a searcher and what it searches: genomes asked, objectives told.

Knows no model.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from harness.spec import Spec


class Landscape(Protocol):
    """What a searcher sees of a search space.

    Genomes are integer arrays (n, genes), gene i from 0 to upper()[i].
    """

    @property
    def genes(self) -> int: ...

    def upper(self) -> np.ndarray:
        """Return the largest value of each gene (genes,)."""
        ...

    def canonical(self, genomes: np.ndarray) -> np.ndarray:
        """Return the genomes (n, genes) with genes that mean nothing set to 0.

        Equal rows are equal sub-networks.
        """
        ...

    def costs(self, genomes: np.ndarray) -> np.ndarray | None:
        """Return the exact second objective (n,) as a share of the dense model's.

        None where it must be measured.
        """
        ...

    def sizes(self, genomes: np.ndarray) -> np.ndarray:
        """Return the parameters (n,) as a share of the dense model's: always exact, without a model."""
        ...

    def seeds(self) -> np.ndarray:
        """Return the genomes (n, genes) that every search starts from.

        Corners, `uniform` and `middle` at several sizes.
        """
        ...

    def sample(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return genomes (count, genes) spread evenly over parameters within the allowed range."""
        ...

    def uniform(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Return genomes (count, genes) with every gene drawn uniformly; sizes cluster in the middle."""
        ...

    def repair(self, genomes: np.ndarray, size: float, generator: np.random.Generator) -> np.ndarray:
        """Return genomes (n, genes) with randomly chosen genes moved until each has about `size`.

        A share of the dense parameters.
        """
        ...


@dataclass(frozen=True)
class Ask:
    """Genomes (n, genes) to be scored, on `share` of the search items; None leaves that to the search.

    `notes` are facts for the records; its `predicted` is a list of one fitness per genome, from before it was told.
    """

    genomes: np.ndarray
    share: float | None = None
    seeded: bool = False
    notes: dict[str, Any] | None = None


Told = np.ndarray  # (n, 2): fitness and cost of each asked genome, both to be minimised; a row of inf is a refused one
Exploration = Generator[Ask, Told, None]


class Searcher(Spec):
    """Explores a landscape: a generator that yields `Ask` and is sent back `Told`.

    Until it ends or is closed.

    The same generator seed and the same answers ask for the same genomes, which is how a killed search goes on.
    Genomes that were asked before cost nothing when asked again.
    """

    NAME: ClassVar[str]
    SOURCE: ClassVar[str] = ""

    def explore(self, landscape: Landscape, generator: np.random.Generator) -> Exploration:
        raise NotImplementedError(f"{type(self).__name__} must implement explore")
