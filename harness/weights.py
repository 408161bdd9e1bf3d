"""Which weights a run still needs.

What was let go is made again where a step reads it, and goes when all are measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from harness.spec import ARTIFACT, CHECKPOINT, Node
from harness.storage.store import Store


def read_by(node: Node, store: Store) -> Iterator[Node]:
    """Yield the stored steps whose weights a step reads.

    The nearest before it that has a checkpoint or an artifact, those it needs, the dense model.
    """
    nodes = [*node.needs, *node.ancestors()[-1:]]
    for name in (CHECKPOINT, ARTIFACT):
        before = (
            each for each in node.ancestors() if not store.has(each.key) or (store.folder(each.key) / name).is_dir()
        )
        nodes += [nearest] if (nearest := next(before, None)) else []
    yield from (each for each in {each.key: each for each in nodes}.values() if store.has(each.key))


def again(nodes: Sequence[Node], undone: Collection[str], store: Store) -> set[str]:
    """Return the keys of steps whose weights were let go and that one of the `undone` reads.

    It may read them directly or through another such step.
    """
    wanted: set[str] = set()
    for node in reversed(nodes):  # what a step is made from comes before it
        if node.key in undone or node.key in wanted:
            wanted |= {each.key for each in read_by(node, store) if store.released(each.key)}
    return wanted


def undone(nodes: Sequence[Node], store: Store) -> set[str]:
    """Return the keys of steps that a run has to do.

    Those that are not stored, and those whose weights it needs again.
    """
    missing = {node.key for node in nodes if not store.has(node.key)}
    return missing | again(nodes, missing, store)


def to_let_go(nodes: Sequence[Node], unmeasured: Collection[str], store: Store) -> list[str]:
    """Return the keys of stored steps whose weights nothing needs.

    Not shared, and behind none of the `unmeasured` steps.
    """
    needed = {each.key for node in nodes if node.key in unmeasured for each in (*node.ancestors(), *node.needs)}
    return [
        node.key
        for node in nodes
        if not node.step.SHARED
        and node.key not in needed
        and store.has(node.key)
        and _holds(node, store)
        and not store.released(node.key)
    ]


def _holds(node: Node, store: Store) -> bool:
    """Tell whether a stored step made a checkpoint or an artifact.

    Whether or not its weights are still there.
    """
    return any((store.folder(node.key) / name).is_dir() for name in (CHECKPOINT, ARTIFACT))
