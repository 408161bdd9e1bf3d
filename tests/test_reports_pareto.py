"""The front and its hypervolume, against brute force and by hand."""

import numpy as np
import pytest

from reports.pareto import front, front_mask, front_rows, hypervolume, maximised


def row(name, size, average, **more):
    return {"variant": name, "bytes_on_disk": size, "average": average, "status": "ok"} | more


def test_front_keeps_exactly_the_points_no_other_point_beats():
    points = np.random.default_rng(0).integers(0, 8, (60, 2)).astype(float)
    for maximise in ((False, True), (True, True), (False, False)):
        signs = np.where(maximise, -1, 1)
        expected = [
            not any((q * signs <= p * signs).all() and (q * signs < p * signs).any() for q in points) for p in points
        ]
        assert front(points, maximise).tolist() == expected


def test_equal_points_all_stay():
    assert front(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]])).tolist() == [True, True, False]


def test_nan_is_never_on_the_front_and_beats_nobody():
    assert front(np.array([[np.nan, 9.0], [0.0, np.nan], [1.0, 1.0]])).tolist() == [False, False, True]


def test_no_points_have_an_empty_front_and_no_hypervolume():
    assert front(np.empty((0, 2))).tolist() == []
    assert hypervolume(np.empty((0, 2)), (1.0, 0.0)) == 0.0


def test_hypervolume_of_two_steps_is_the_area_by_hand():
    points = np.array([[1.0, 1.0], [2.0, 3.0]])
    assert hypervolume(points, (4.0, 0.0)) == 3 * 1 + 2 * 2


def test_hypervolume_ignores_dominated_repeated_missing_and_worse_points():
    points = np.array([[1.0, 1.0], [2.0, 3.0]])
    more = np.array([[2.0, 3.0], [3.0, 2.0], [np.nan, 9.0], [5.0, 9.0], [0.0, -1.0]])
    assert hypervolume(np.concatenate([points, more]), (4.0, 0.0)) == hypervolume(points, (4.0, 0.0))


def test_hypervolume_equals_counted_grid_cells():
    points = np.random.default_rng(1).integers(0, 20, (12, 2)).astype(float)
    cells = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 1, 2)
    covered = (points[None] <= cells).all(-1).any(-1).sum()  # cell (i, j) spans [i, i + 1] x [j, j + 1]
    assert hypervolume(points, (20.0, 20.0), (False, False)) == covered


@pytest.mark.parametrize(
    ("key", "larger_is_better"),
    [
        ("decode_ratio", True),
        ("decode_ratio_b8", True),
        ("average", True),
        ("arc.acc_norm", True),
        ("bytes_on_disk", False),
        ("peak_memory_bytes", False),
        ("nonzero_parameters", False),
        ("wikitext.word_perplexity", False),
        ("wikitext.bits_per_byte", False),
        ("seconds", False),
    ],
)
def test_every_key_has_a_direction(key, larger_is_better):
    assert maximised(key) is larger_is_better


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
    assert [r["variant"] for r in front_rows(rows, "bytes_on_disk")] == ["small", "dense"]
    assert front_mask(rows, "bytes_on_disk") == [True, False, False, False, False, False, True, False]


def test_a_ratio_is_better_when_larger():
    values = (("a", 1, 0.6), ("b", 2, 0.5), ("c", 1, 0.5))
    rows = [{"variant": v, "decode_ratio": x, "average": y} for v, x, y in values]
    assert [r["variant"] for r in front_rows(rows, "decode_ratio", "average")] == ["a", "b"]
