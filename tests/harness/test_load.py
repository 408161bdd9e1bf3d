"""A large plan costs little.

Every key is worked out once, and nothing that grows without bound is counted one by one.
"""

from __future__ import annotations

import pytest
from runs import planned

from harness.cli import main
from harness.nas.training import Supernet
from harness.spec import CalibrationSpec, DataSource, Node, Spec

METHODS = "methods=[llm_pruner,flap,wanda_sp,shortgpt,inheritune,magnitude]"
BUDGETS = f"budgets={[round(0.5 + 0.04 * step, 2) for step in range(10)]}"


def test_every_key_of_a_large_plan_is_worked_out_once(tmp_path, monkeypatch):
    made = planned(tmp_path, METHODS, BUDGETS, "quantizers=[none,int8]")[0]
    counts = {"fields": 0}
    fields = Spec.fingerprint_fields

    def counted(self):
        counts["fields"] += 1
        return fields(self)

    monkeypatch.setattr(Spec, "fingerprint_fields", counted)
    steps, titles = made.steps(), made.titles()
    first = counts["fields"]
    assert len(titles) == len(steps) == 1 + 60 + 61 + 3 * 122
    made.steps(), made.titles()
    [node.key for variant in made.variants for node in (*variant.chain(), *variant.measures.values())]
    assert counts["fields"] == first, "no key is worked out a second time"


def test_a_plans_titles_are_those_of_the_variants_they_measure(tmp_path):
    made = planned(tmp_path, "methods=[shortgpt]", "budgets=[0.9,0.8]", "quantizers=[none]")[0]
    titles = made.titles()
    assert titles[made.variants[1].measures["evaluate"].key] == "evaluate shortgpt@0.9"
    assert titles[made.variants[2].checkpoint.key] == "shortgpt at 0.8"


@pytest.mark.benchmark(group="plan")
def test_plan_of_hundreds_of_steps(tmp_path, benchmark):
    def plan() -> int:
        made = planned(tmp_path, METHODS, BUDGETS, "quantizers=[none,int8]")[0]
        return len(made.titles())

    assert benchmark(plan) == 488


@pytest.mark.parametrize("tokens", [10**7, 10**18])
def test_the_teachers_tokens_of_any_training_are_told_at_once(tokens):
    source = DataSource(name="demo_instructions")
    step = Supernet(
        calibration=CalibrationSpec(source=source, samples=1, length=8), training=source, tokens=tokens, teacher="dense"
    )
    assert step.teacher_tokens == (step.steps // 2 + 0) * step.batch * step.length


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["search", "seeds=999999999"], "seeds must be a whole number from 1 to 1,000, not 999999999"),
        (["search", "evaluations=" + "9" * 5000], "evaluations must be a whole number from 1 to 1,000,000, not 999"),
        (
            ["doctor", "scoring", "rounds=inf", "model=random-llama"],
            "rounds must be a whole number from 1 to 1,000, not inf",
        ),
        (["compare", "a", "b", "flips=inf"], "flips must be a whole number from 0 to 1,000,000, not inf"),
        (["plan", "device=cuda:99"], "device=cuda:99: this machine has"),
    ],
)
def test_a_number_beyond_all_reason_is_refused_at_once(tmp_path, monkeypatch, capsys, line, said):
    monkeypatch.chdir(tmp_path)
    assert main(line) == 2
    assert said in capsys.readouterr().err


def test_a_nodes_key_survives_the_way_to_another_process():
    import pickle

    from harness.models.source import Import, ModelSource

    node = Node(Import(source=ModelSource(kind="folder", content="x"), dtype="float32"))
    assert pickle.loads(pickle.dumps(node)).key == node.key
