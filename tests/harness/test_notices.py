"""What a plan says of its suite stands in every report of the run: the terminal that said it is gone."""

from __future__ import annotations

from runs import planned
from written_suites import QUIZ, quiz, write_suite

from harness.execution import Summary, record
from reports.run import rows as reading
from reports.run import tables


def test_what_the_plan_told_stands_in_the_report(tmp_path):
    quiz(tmp_path, QUIZ + "fewshot_split: validation\nnum_fewshot: 1\n")
    write_suite(tmp_path, {"task": "quiz"}, calibration="demo_instructions", training="demo_instructions")
    made, store = planned(tmp_path, f"suite={tmp_path / 'mine.yaml'}", "methods=[dense]", "quantizers=[none]")
    [told] = [line for line in made.notices if "an item may be among its own" in line]
    run = record(made, store, 0.0, "harness run", Summary())
    rows, facts = reading.read(run, store)
    assert told in facts["warnings"]
    assert told in tables.markdown(rows, facts).replace("\\", "")
