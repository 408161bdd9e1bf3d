"""Numbers as a reader sees them; what was not measured is a dash."""

from harness.words import durations

MISSING = "–"


def count(value: float | None) -> str:
    """494.0M, 1.24B, 12.0k: a count to about four digits."""
    if value is None:
        return MISSING
    for limit, letter, places in ((1e9, "B", 2), (1e6, "M", 1), (1e3, "k", 1)):
        if abs(value) >= limit:
            return f"{value / limit:.{places}f}{letter}"
    return f"{value:.0f}"


def megabytes(value: float | None) -> str:
    """Millions of bytes, with a decimal below one hundred."""
    if value is None:
        return MISSING
    return f"{value / 1e6:,.0f}" if value >= 1e8 else f"{value / 1e6:.1f}"


def decimal(value: float | None) -> str:
    """1.32: two decimals."""
    return MISSING if value is None else f"{value:.2f}"


def significant(value: float | None) -> str:
    """0.01234, 12.34, −3: four significant digits with a true minus, for numbers in a unit of their own."""
    return MISSING if value is None else f"{value:.4g}".replace("-", "−")


def percent(value: float | None) -> str:
    """61.2 for 0.612."""
    return MISSING if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """−2.1 for -0.021: signed percentage points with a true minus."""
    if value is None:
        return MISSING
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", "−")


def share(value: float | None, whole: float | None) -> str:
    """75% for 3 of 4; empty where either is unknown."""
    return f"{100 * value / whole:.0f}%" if value is not None and whole else ""


def duration(seconds: float | None) -> str:
    """12 s, 4 min 5 s or 1 h 20 min."""
    return MISSING if seconds is None else durations.duration(seconds)


def half_width(low: float | None, high: float | None, scale: float, places: int = 1) -> str:
    """±1.3: half of the interval; empty where a bound is unknown."""
    return "" if low is None or high is None else f"±{scale * (high - low) / 2:.{places}f}"


def bounds(low: float | None, high: float | None) -> str:
    """[−3.4, −0.8] in percentage points; empty where a bound is unknown."""
    return "" if low is None or high is None else f"[{points(low)}, {points(high)}]"
