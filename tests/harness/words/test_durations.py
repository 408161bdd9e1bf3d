"""Times are said in at most two units, and never as sixty of one."""

from __future__ import annotations

import pytest

from harness.words.durations import duration

SAID = {
    **{0.04: "0.0 s", 9.94: "9.9 s", 9.96: "10 s", 59.4: "59 s", 59.6: "1 min 0 s", 125: "2 min 5 s"},
    **{3599.4: "59 min 59 s", 3599.6: "1 h 0 min", 4320: "1 h 12 min", 90_000: "25 h 0 min"},
}


@pytest.mark.parametrize("seconds", SAID)
def test_a_time_is_said_in_two_units_at_most(seconds):
    assert duration(seconds) == SAID[seconds]
