"""In which runtimes a variant is deployed, and the steps that bring it there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness import bytes_budget, registry
from harness.config import RunConfig
from harness.deploy import Convert, Requantize
from harness.models.described import Description
from harness.models.outlines import outline
from harness.models.source import ModelSource
from harness.quantize import Quantize
from harness.runtimes.all_runtimes import runtime
from harness.runtimes.runtime import TORCH, Runtime
from harness.spec import Method, Node, Quantizer, Setup

NONE = "none"


@dataclass(frozen=True)
class Place:
    """A variant in a runtime, and the dense model there.

    The step that made what is loaded, what is scored and how.
    """

    runtime: str
    final: Node
    scored: Node
    computes: str  # the runtime whose artifact holds the weights that are scored; torch: the checkpoint
    references: tuple[Node, ...]  # the dense checkpoint; of another runtime than torch, the dense artifact too
    version: str = ""


def unusable(run: RunConfig) -> list[str]:
    """Return a line for each runtime that is unknown or not installed.

    And for quantizers that live in none of the run's.
    """
    lines = []
    for name in dict.fromkeys(run.runtimes):
        try:
            if name != TORCH and (why := runtime(name).unavailable()):
                lines.append(f"runtimes: {name}: {why}; or leave {name} out")
        except ValueError as error:
            lines.append(str(error))
    for name in run.quantizers:
        homes = _homes(name)
        if homes is not None and not homes & set(run.runtimes):
            lines.append(
                f"quantizer {name} lives in {', '.join(sorted(homes))}, and runtimes={','.join(run.runtimes)}; add it"
            )
        elif homes and TORCH in homes & set(run.runtimes) and (why := registry.quantizers()[name].unavailable()):
            lines.append(f"quantizer {name}: {why}; or leave {name} out")
    return lines


def pairs(
    run: RunConfig, recipe: str, methods: Sequence[Method], model: Description, notices: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield the pairs of runtime and quantizer that make sense for a recipe.

    With a line in `notices` on the others.
    """
    for where in dict.fromkeys(run.runtimes):
        why = "" if where == TORCH else runtime(where).refuses(model, methods) or _emulated(methods)
        if why:
            notices.append(f"{recipe} has no row in {where}: {why}")
            continue
        away = [
            name for name in dict.fromkeys(run.quantizers) if (homes := _homes(name)) is not None and where not in homes
        ]
        if away:
            notices.append(f"no rows in {where} for {', '.join(away)}: {_other_homes(away)}")
        for name in dict.fromkeys(run.quantizers):
            if name not in away:
                yield where, name


def budget(
    run: RunConfig,
    source: ModelSource,
    recipe: str,
    methods: Sequence[Method],
    share: float,
    pair: tuple[str, str],
    notices: list[str],
) -> float | None:
    """Return the share of the parameters with which a recipe takes `share` of the dense bytes.

    At a pair of runtime and quantizer.

    None, with a line in `notices`, where there is none: zeros save no bytes, the dense model takes no more, or its embeddings do.
    """
    where, name = pair
    size = outline(source)
    quantizer, working = registry.quantizer(name), bytes_budget.BITS[run.resolved_dtype]
    kind = Runtime if where == TORCH else runtime(where)
    reached = bytes_budget.budget(share, size, kind.bits(quantizer, working, size), header=kind.header(size))
    shown = f"{name} in {where}"
    if any(method.simulated for method in methods):
        notices.append(f"{recipe} has no rows at bytes: it writes zeros, which take as many")
    elif reached is None:
        notices.append(f"no rows at bytes={share:g} with {shown}: embeddings alone take more")
    elif reached >= 1:
        notices.append(f"no pruned rows at bytes={share:g} with {shown}: the whole model takes less")
    else:
        return reached
    return None


def place(where: str, quantizer: Quantizer | None, checkpoint: Node, dense: Node, setup: Setup) -> Place:
    """Return the steps of a variant in a runtime; a pair that `pairs` yields."""
    if where == TORCH:
        final = checkpoint
        if quantizer:
            final = Node(Quantize.of_run(quantizer, setup.calibration, setup.seed), checkpoint)
        return Place(TORCH, final, scored=final, computes=TORCH, references=(dense,))
    version = runtime(where).version()
    whole = Node(Convert(runtime=where), checkpoint)
    references = (dense, Node(Convert(runtime=where), dense))
    if quantizer is None:  # the same weights as the checkpoint's: scored once
        return Place(where, whole, scored=checkpoint, computes=TORCH, references=references, version=version)
    final = Node(Requantize(runtime=where, form=quantizer.NAME, library=version), whole)
    return Place(where, final, scored=final, computes=where, references=references, version=version)


def _homes(name: str) -> frozenset[str] | None:
    """Return the runtimes that a quantizer lives in; None: it asks nothing of them."""
    return None if name == NONE else registry.quantizers()[name].RUNTIMES


def _other_homes(names: Sequence[str]) -> str:
    homes = sorted({home for name in names for home in _homes(name) or ()})
    return f"{'they live' if len(names) > 1 else 'it lives'} in {', '.join(homes)}"


def _emulated(methods: Sequence[Method]) -> str:
    emulated = [method.NAME for method in methods if method.emulated]
    return f"{emulated[0]} has quantized the weights already" if emulated else ""
