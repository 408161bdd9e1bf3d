"""The front of two costs and the area that it dominates, against brute force and moocore.

Cases worked out by hand are tested too.
"""

from __future__ import annotations

import moocore
import numpy as np
import pytest

from harness.evaluation.fronts import areas, front, hypervolume

CORNER = np.array([4.0, 0.0])
STEPS = np.array([[1.0, -1.0], [2.0, -3.0]])


@pytest.mark.parametrize("seed", range(8))
def test_front_keeps_exactly_the_points_no_other_point_beats(seed):
    points = np.random.default_rng(seed).integers(0, 8, (60, 2)).astype(float)
    expected = [not any((q <= p).all() and (q < p).any() for q in points) for p in points]
    assert front(points).tolist() == expected
    assert front(points).tolist() == (moocore.pareto_rank(points) == 0).tolist()


def test_equal_points_all_stay():
    assert front(np.array([[1.0, 1.0], [1.0, 1.0], [2.0, 2.0]])).tolist() == [True, True, False]


def test_nan_and_infinity_are_never_on_the_front_and_beat_nobody():
    assert front(np.array([[np.nan, -9.0], [0.0, np.nan], [0.0, np.inf], [1.0, 1.0]])).tolist() == [False] * 3 + [True]


def test_no_points_have_an_empty_front_and_no_hypervolume():
    assert front(np.empty((0, 2))).tolist() == []
    assert hypervolume(np.empty((0, 2)), CORNER) == 0.0


def test_hypervolume_of_two_steps_is_the_area_by_hand():
    assert hypervolume(STEPS, CORNER) == 3 * 1 + 2 * 2


def test_hypervolume_ignores_dominated_repeated_missing_and_worse_points():
    more = np.array([[2.0, -3.0], [3.0, -2.0], [np.nan, -9.0], [5.0, -9.0], [0.0, 1.0]])
    assert hypervolume(np.concatenate([STEPS, more]), CORNER) == hypervolume(STEPS, CORNER)


@pytest.mark.parametrize("seed", range(4))
def test_hypervolume_equals_counted_grid_cells_and_moocores(seed):
    points = np.random.default_rng(seed).integers(0, 20, (12, 2)).astype(float)
    cells = np.stack(np.meshgrid(np.arange(20), np.arange(20)), -1).reshape(-1, 1, 2)
    covered = (points[None] <= cells).all(-1).any(-1).sum()  # cell (i, j) spans [i, i + 1] x [j, j + 1]
    assert hypervolume(points, np.array([20.0, 20.0])) == covered
    assert hypervolume(points, np.array([20.0, 20.0])) == moocore.hypervolume(points, ref=[20.0, 20.0])


def test_areas_of_shares_are_the_hypervolume_of_the_front():
    sizes, qualities = np.random.default_rng(3).uniform(0.2, 1.1, 9), np.random.default_rng(4).uniform(0, 1, (5, 9))
    for actual, each in zip(areas(sizes, qualities), qualities, strict=True):
        assert actual == pytest.approx(hypervolume(np.stack([sizes, -each], axis=1), np.array([1.0, 0.0])))
