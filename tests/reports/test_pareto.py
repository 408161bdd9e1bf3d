"""Which rows are on a front, and that every key has a direction."""

import pytest

from harness.measures.all_measures import quantity
from reports.pareto import front_mask


def row(name, size, average, **more):
    return {"variant": name, "bytes_on_disk": size, "average": average, "status": "ok"} | more


@pytest.mark.parametrize(
    ("key", "larger_is_better"),
    [
        ("decode_ratio", True),
        ("decode_ratio_b8", True),
        ("average", True),
        ("bytes_on_disk", False),
        ("peak_memory_bytes", False),
        ("nonzero_parameters", False),
        ("seconds", False),
    ],
)
def test_every_key_has_a_direction(key, larger_is_better):
    assert quantity(key).better == ("higher" if larger_is_better else "lower")


def test_simulated_failed_and_unmeasured_rows_are_never_on_the_front():
    rows = [
        row("dense", 100, 0.6),
        row("pretend", 10, 0.9, simulated=True),
        row("broken", 10, 0.9, status="failed"),
        row("passed over", 10, 0.9, status="skipped"),
        row("unscored", 10, None),
        row("unsized", float("nan"), 0.9),
        row("small", 50, 0.5),
        row("worse", 60, 0.4),
    ]
    assert front_mask(rows, "bytes_on_disk") == [True, False, False, False, False, False, True, False]


def test_a_ratio_is_better_when_larger():
    values = (("a", 1, 0.6), ("b", 2, 0.5), ("c", 1, 0.5))
    rows = [{"variant": v, "decode_ratio": x, "average": y} for v, x, y in values]
    assert front_mask([row | {"status": "ok"} for row in rows], "decode_ratio") == [True, True, False]
