"""A gate's checks as a row a variant, a sentence for each that is not right, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from reports import formats
from reports.compare.sentences import p_value, score, signed
from reports.gate.checks import Check, Limits
from reports.gate.judge import FAILURES, JUDGED, NOTHING, PASSED
from reports.gate.measured import Measured
from reports.likeness import unlike
from reports.plain import plain

HEADS = ("variant", "scores", "lost", "gained", "Δ average", "could show", "sizes", "memory", "slowest", "verdict")
SETTINGS = ("model", "suite", "limit", "seed", "scorer", "calibration", "measure", "settings")  # that decide numbers


def rows(checks: Sequence[Check]) -> list[list[str]]:
    """Return a row for each variant, in the baseline's order."""
    checks = [check for check in checks if check.kind != "run"]
    return [_row(name, [check for check in checks if check.variant == name]) for name in _names(checks)]


def _names(checks: Sequence[Check]) -> list[str]:
    return list(dict.fromkeys(check.variant for check in checks))


def _row(name: str, checks: list[Check]) -> list[str]:
    scored = [check for check in checks if check.kind == "scores" and check.score]
    main = next((check for check in checks if check.kind == "average"), scored[0] if len(scored) == 1 else None)
    judged = [check.score for check in scored if check.score and check.score.quantity.kind == "share"]
    flips = [sum(map(len, ways)) for ways in ([score.lost for score in judged], [score.gained for score in judged])]
    same = bool(scored) and all(check.same for check in scored)
    timed = [check.now / check.before for check in checks if check.kind == "speed" and check.now and check.before]
    memory = next(
        (check.now / check.before for check in checks if check.kind == "memory" and check.now and check.before), None
    )
    sizes = [check for check in checks if check.kind == "size"]
    return [
        name,
        str(len(scored)),
        *(map(str, flips) if judged else (formats.MISSING,) * 2),
        "same answers" if same else _change(main),
        _detectable(main),
        formats.MISSING if not sizes else "equal" if all(check.verdict == "ok" for check in sizes) else "differ",
        formats.MISSING if memory is None else f"×{memory:.2f}",
        f"×{min(timed):.2f}" if timed else formats.MISSING,
        verdict(checks),
    ]


def _change(check: Check | None) -> str:
    return signed(check.score, check.score.difference.estimate) if check and check.score else formats.MISSING


def _detectable(check: Check | None) -> str:
    if not (check and check.score) or check.score.difference.detectable is None:
        return formats.MISSING
    return signed(check.score, check.score.difference.detectable).lstrip("+")


def verdict(checks: Sequence[Check]) -> str:
    """Return the worst of the verdicts, with its number where it is more than one."""
    for kind in (*FAILURES, "better", "ok"):
        if count := sum(check.verdict == kind for check in checks):
            return kind if count == 1 or kind == "ok" else f"{count} {kind}"
    return "not judged"


def sentences(checks: Sequence[Check]) -> list[str]:
    """Return what is not right, what got better, and once for each reason what was not judged."""
    told = [_sentence(check) for kind in (*FAILURES, "better") for check in checks if check.verdict == kind]
    aside: dict[str, list[Check]] = {}
    for check in checks:
        if check.verdict == "not judged":
            aside.setdefault(f"{check.kind} of", []).append(check)
    for kind, set_aside in aside.items():
        named = ", ".join(_names(set_aside))
        told.append(f"not judged: {kind} {named}: {'; '.join(dict.fromkeys(check.said for check in set_aside))}")
    return told


def _sentence(check: Check) -> str:
    said = f"; {check.said}" if check.said else ""
    if check.verdict == "unlike":
        return f"unlike: {check.what} of baseline and run: {check.said}"
    if check.verdict == "missing":
        return f"missing: {check.variant}, {check.what}: {check.said}"
    tested = f" (Holm p {p_value(check.p)})" if check.p is not None else ""
    return f"{check.verdict}: {check.variant}, {check.what}: {numbers(check)}{tested}{said}"


def numbers(check: Check) -> str:
    """Return baseline → now, and the change in the unit of the number."""
    before, now = check.before, check.now
    assert before is not None
    assert now is not None
    if check.kind in ("speed", "memory", "measured") or (check.score and check.score.quantity.lossy):
        shown = [
            formats.megabytes(value) + " MB" if check.kind == "memory" else f"{value:.2f}" for value in (before, now)
        ]
        return f"{shown[0]} → {shown[1]} (×{now / before:.3f})"
    if check.kind in ("size", "flips"):
        return f"{before:,.0f} → {now:,.0f}"
    assert check.score is not None
    its_score = check.score
    unit = " points" if its_score.quantity.kind == "share" else ""
    return f"{score(its_score, before)} → {score(its_score, now)} ({signed(its_score, now - before)}{unit})"


def differing(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return what else is not alike in the two runs' settings and versions.

    It does not make numbers unlike by itself.
    """
    failed = unlike(old, new)
    pairs = {name: (old["config"].get(name), new["config"].get(name)) for name in SETTINGS if name not in failed}
    for name in sorted({*old["environment"], *new["environment"]} - {"load", "commit"}):
        pairs[name] = (old["environment"].get(name), new["environment"].get(name))
    return [f"{name}: {one} in the baseline, {two} now" for name, (one, two) in pairs.items() if one != two]


def _counted(word: str, count: int) -> str:
    return word if count == 1 else f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"


def ending(checks: Sequence[Check], code: int) -> str:
    """Return the last line: what was decided, over how much."""
    judged = [check for check in checks if check.verdict in JUDGED]
    kinds = (
        ("scores", "score"),
        ("average", "average"),
        ("flips", "flip count"),
        ("size", "size"),
        ("memory", "peak"),
        ("measured", "other quantity"),
        ("speed", "timing"),
    )
    counts = [(sum(check.kind == kind for check in judged), word) for kind, word in kinds]
    over = ", ".join(f"{count} {_counted(word, count)}" for count, word in counts if count)
    if code == PASSED:
        return f"no regression: {over} of {len(_names(judged))} variants judged"
    if code == NOTHING:
        return (
            "nothing was measured: the run holds the baseline's own measurements; give it a fresh store="
            if judged
            else ("nothing was measured: there is nothing to judge")
        )
    failed = sum(check.verdict in FAILURES for check in checks)
    return f"{failed} of {len(checks)} checks failed; where that is meant, keep this run with update=true"


def json_text(checks: Sequence[Check], code: int, limits: Limits, notes: Sequence[str]) -> str:
    """Return everything, unrounded."""
    content = {
        "code": code,
        "summary": ending(checks, code),
        "limits": vars(limits),
        "notes": list(notes),
        "checks": [_plain(check) for check in checks],
    }
    return json.dumps(plain(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(check: Check) -> dict[str, Any]:
    fields: dict[str, Any] = {
        name: getattr(check, name) for name in ("variant", "kind", "what", "verdict", "said", "before", "now", "p")
    }
    if check.score:
        difference = check.score.difference
        fields |= {name: getattr(difference, name) for name in ("estimate", "low", "high", "detectable", "items")}
        fields |= {"lost": len(check.score.lost), "gained": len(check.score.gained), "same_answers": check.same}
    return fields


def unknown(before: Mapping[str, Measured], now: Mapping[str, Measured]) -> list[str]:
    """Return the variants that only the new run has."""
    return [name for name in now if name not in before]
