"""Labels of a plot keep off the points and off each other."""

import numpy as np

from reports.page.labels import box, overlap, place


def test_labels_of_separate_points_cover_nothing():
    anchors = np.array([[0.0, 0.0], [12.0, 0.0], [0.0, 12.0], [100.0, 100.0]])
    size = (20.0, 8.0)
    boxes = [box(centre, size) for centre in place(anchors, [size] * 4, radius=4)]
    dots = [box(anchor, (6.0, 6.0)) for anchor in anchors]
    assert all(overlap(label, dot) == 0 for label in boxes for dot in dots)
    assert all(overlap(a, b) == 0 for i, a in enumerate(boxes) for b in boxes[:i])


def test_no_points_need_no_labels():
    assert place(np.empty((0, 2)), [], radius=4).shape == (0, 2)
