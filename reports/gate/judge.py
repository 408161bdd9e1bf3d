"""A run against a baseline: accuracy by paired tests, sizes exactly, speed by significance. Pure.

A change of speed must also reach a least effect.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.evaluation import paired
from reports.gate.checks import Check, Limits, checks
from reports.gate.measured import Measured
from reports.likeness import unlike

FAILURES = ("unlike", "worse", "differs", "missing")
JUDGED = ("ok", "better", "worse", "differs")
PASSED, REGRESSED, NOTHING = 0, 1, 3  # exit codes


def judge(before: Mapping[str, Measured], now: Mapping[str, Measured], limits: Limits) -> list[Check]:
    """Return every check of the baseline's variants, in their order.

    What only the new run has is not judged.
    """
    results: list[Check] = []
    for name, old in before.items():
        if (new := now.get(name)) is None:
            results.append(Check(name, "scores", "variant", "missing", "the run has no such variant"))
        else:
            results += checks(old, new, limits)
    for kind in ("scores", "average", "speed"):  # each its own family of tests, as tables and comparisons have it
        results = _decided(results, kind, limits)
    return results


def alike(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Check]:
    """Return a failed check for everything that makes the two runs' numbers unlike.

    That does not depend on what the numbers are.
    """
    return [Check("every variant", "run", what, "unlike", told) for what, told in unlike(old, new).items()]


def outcome(checks: Sequence[Check], *, anew: bool) -> int:
    """Return the exit code; `anew` tells that something was measured after the baseline was."""
    if any(check.verdict in FAILURES for check in checks):
        return REGRESSED
    return PASSED if anew and any(check.verdict in JUDGED for check in checks) else NOTHING


def measured_anew(before: Mapping[str, Measured], now: Mapping[str, Measured]) -> bool:
    """Tell whether any measurement of the run is not the baseline's own.

    The same step, finished at the same moment.
    """
    old = {taken for variant in before.values() for taken in variant.taken.values()}
    new = {taken for name, variant in now.items() if name in before for taken in variant.taken.values()}
    return bool(new - old)


def _decided(checks: Sequence[Check], kind: str, limits: Limits) -> list[Check]:
    """Return the checks with those of the kind that were tested decided by Holm's p and the least effect."""
    tested = [check for check in checks if check.kind == kind and check.p is not None]
    adjusted = iter(paired.holm([check.p for check in tested if check.p is not None]))
    return [
        _verdict(replace(check, p=next(adjusted)), len(tested), limits)
        if check.kind == kind and check.p is not None
        else check
        for check in checks
    ]


def _verdict(check: Check, tests: int, limits: Limits) -> Check:
    assert check.p is not None
    if check.least * tests >= 1 - limits.level:
        return replace(check, verdict="not judged", said=f"too few rounds for {tests} tests: raise measure.rounds")
    if check.p >= 1 - limits.level:
        return check
    loss, least = _loss(check, limits)
    if loss > least:
        return replace(check, verdict="worse")
    return replace(check, verdict="better") if loss < -least else check


def _loss(check: Check, limits: Limits) -> tuple[float, float]:
    """Return by how much the number is worse than the baseline's, and by how much it may be."""
    assert check.before is not None
    assert check.now is not None
    if check.kind == "speed":
        return 1 - check.now / check.before, limits.speed
    assert check.score is not None
    quantity = check.score.quantity
    lost = quantity.sign * (check.before - check.now)
    if quantity.gate == "points":
        return lost, limits.drop
    return (lost / abs(check.before) if check.before else math.copysign(math.inf, lost)), limits.perplexity
