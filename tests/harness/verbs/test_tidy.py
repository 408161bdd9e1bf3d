"""`harness tidy` gives disk back and takes no number away."""

from __future__ import annotations

from pathlib import Path

import pytest
from runs import ran, words

from harness.cli import main
from harness.spec import CHECKPOINT, Step
from harness.storage.leavings import SHARED
from reports.run import rows as reading

SUITE = Path(__file__).parents[1] / "one_task.yaml"
RUN = (f"suite={SUITE}", "methods=[middle]", "budgets=[0.8]", "quantizers=[none]", "measure.speed=false")


@pytest.fixture
def store(tmp_path):
    return ran(tmp_path, *RUN)[1]


def held(store) -> set[str]:
    return {
        store.record(path.parents[1].name)["kind"] for path in store.root.glob(f"steps/*/{CHECKPOINT}/*.safetensors")
    }


def test_weights_of_measured_variants_and_what_was_set_aside_go(store, capsys):
    (store.root / "corrupt" / "old").mkdir(parents=True)
    (store.root / "corrupt" / "old" / "file").write_bytes(b"x" * 2_000_000)
    run = store.runs()[-1]
    before = reading.read(run, store)[0]
    assert main(["tidy", f"store={store.root}", "show=true"]) == 0
    shown = capsys.readouterr().out
    assert held(store) == {"import", "compress"}
    assert main(["tidy", f"store={store.root}"]) == 0
    assert capsys.readouterr().out == shown.replace("would go", "went")
    assert held(store) == {"import"}
    assert not (store.root / "corrupt").exists()
    after = reading.read(run, store)[0]
    assert [row | {"checkpoint": None} for row in before][1:] == after[1:]
    assert main(["tidy", f"store={store.root}"]) == 0
    assert "0.0 MB went: weights of 0 steps" in capsys.readouterr().out


def test_a_variant_with_a_measure_that_is_missing_keeps_its_weights(store):
    lost = next(
        key for key in store.keys() if store.record(key)["kind"] == "footprint" and _of(store, key) == "compress"
    )
    store.set_aside(lost)
    assert main(["tidy", f"store={store.root}"]) == 0
    assert held(store) == {"import", "compress"}


def test_a_run_goes_on_from_a_tidied_store(store, tmp_path):
    assert main(["tidy", f"store={store.root}"]) == 0
    assert main(["run", *words(tmp_path, *RUN, "quantizers=[none,int8]")]) == 0
    assert "quantize" in held(store)


def _of(store, key) -> str:
    return store.record(store.record(key)["parent"])["kind"]


def test_what_stays_is_what_steps_say_is_shared():
    def below(kind):
        return {kind, *(each for one in kind.__subclasses__() for each in below(one))}

    import harness.nas.training  # noqa: F401  (a step that is shared)

    assert {kind.KIND for kind in below(Step) if kind.SHARED} == set(SHARED)
