"""`harness gate`: a run against a kept baseline, with an exit code for CI."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from harness.command.verb import DONE, INTERRUPTED, WRONG, Verb
from harness.command.words import FORMAT_MEANS, RUN_MEANS, STORE, STORE_MEANS, Flag, Format, Number

if TYPE_CHECKING:
    from harness.storage.store import Store
    from reports.gate.checks import Limits

LIMITS = ("level", "drop", "perplexity", "speed", "memory", "measured", "flips")


class Gate(Verb):
    """Judge a run by a kept baseline, for CI; with update=true, keep the run as the baseline.

    Sizes must be equal, accuracies and speeds not worse beyond chance and the limits given here.
    """

    NAME: ClassVar[str] = "gate"
    EXITS: ClassVar[dict[int, str]] = {
        DONE: "no regression",
        1: "a regression, or something of the baseline is missing",
        WRONG: "wrong words",
        3: "nothing was measured",
        INTERRUPTED: "interrupted",
    }
    baseline: str = Field(description="folder where a run was kept with update=true, or any store")
    store: str = Field(STORE, description=STORE_MEANS)
    run: str = Field("", description=RUN_MEANS)
    baseline_run: str = Field("", description="a run of the baseline by its id; its newest where empty")
    update: Flag = Field(False, description="keep the run at the baseline's place instead of judging it")
    format: Format = Field("table", description=FORMAT_MEANS)
    level: Number = Field(0.95, description="of the tests, over all of them together")
    drop: Number = Field(0.0, description="accuracy that may be lost, as a share: 0.01 is one point")
    perplexity: Number = Field(0.005, description="share by which a perplexity may rise")
    speed: Number = Field(0.1, description="share of speed that may be lost")
    memory: Number = Field(0.1, description="share by which peak memory may rise")
    measured: Number = Field(0.1, description="share by which another measured quantity, such as energy, may get worse")
    flips: Number = Field(float("inf"), description="items of a variant, over all tasks, that may turn right or wrong")

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.baseline:
            raise ValueError("gate needs baseline=FOLDER: where a run was kept with update=true, or any store")
        if not (0 < self.level < 1 and all(getattr(self, name) >= 0 for name in LIMITS)):
            raise ValueError(
                "level must lie in (0, 1), and drop, perplexity, speed, memory, measured and flips at 0 or above"
            )
        return self

    def __call__(self) -> int:
        from harness.command.stored import readable, stored_run
        from harness.words.home import home
        from reports.gate import baseline as keeping
        from reports.gate.checks import Limits

        store, place = readable(self.store), home(self.baseline)
        run = stored_run(store, self.run, self.store)
        if self.update:
            size = keeping.keep(run, store, place)
            print(
                f"baseline: run {run['id']} with {len(run['variants'])} variants kept in {place}, {size / 1e6:.1f} MB"
            )
            return DONE
        old, baseline_store = keeping.opened(place, self.baseline_run)
        limits = Limits(**{name: getattr(self, name) for name in LIMITS})
        return _judged(run, store, old, baseline_store, limits, self.format)


def _judged(
    run: dict[str, Any], store: Store, old: dict[str, Any], baseline_store: Store, limits: Limits, form: str
) -> int:
    from harness.command.terminal import console, show_table
    from harness.storage.store import Corrupt
    from reports.gate import gate_text
    from reports.gate import judge as judging
    from reports.gate.measured import measured

    try:
        before = measured(old, baseline_store)
    except Corrupt as error:
        raise ValueError(
            f"baseline={baseline_store.root}: {error.key[:12]}: {error.damage}; restore the folder, "
            "or keep a run there anew with update=true"
        ) from None
    now = measured(run, store)
    checks = [*judging.alike(old, run), *judging.judge(before, now, limits)]
    code = judging.outcome(checks, anew=judging.measured_anew(before, now))
    notes = gate_text.differing(old, run)
    if extra := gate_text.unknown(before, now):
        notes.append(f"not in the baseline: {', '.join(extra)}")
    if form == "json":
        print(gate_text.json_text(checks, code, limits, notes), end="")
        return code
    title = f"run {run['id']} against baseline {old['id']}"
    show_table(gate_text.HEADS, gate_text.rows(checks), title=title, form=form, last=["verdict"])
    lead = "- " if form == "markdown" else ""
    terminal = console()
    for line in [*gate_text.sentences(checks), *(f"note: {note}" for note in notes)]:
        terminal.print(f"{lead}{line}", highlight=False, markup=False, soft_wrap=True)
    terminal.print(f"\n{gate_text.ending(checks, code)}", highlight=False, markup=False, soft_wrap=True)
    return code
