"""`harness export`: a variant as files to deploy, with a card that says what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness.command.verb import DONE, Verb
from harness.command.words import RUN_MEANS, STORE, STORE_MEANS

if TYPE_CHECKING:
    from pathlib import Path

    from harness.exports.export_format import Export as Format
    from harness.exports.export_format import Held
    from harness.storage.store import Store

SAMPLE = "The museum in the old town opened in 1901, and its collection has grown in every year since then."


class Export(Verb):
    """Write a variant of a stored run into a folder, in a format that others load.

    What was written is loaded again and its logits are compared with those of the stored variant. A README.md beside it says
    how the model was made and what was measured.

    Example: harness export middle@0.8 to=my-model format=hf
    """

    NAME: ClassVar[str] = "export"
    NAMES: ClassVar[str] = "VARIANT"
    to: str = Field(description="folder to write into, which must be new or empty")
    format: str = Field("", description="hf, gguf, openvino or onnx; empty for that of the row's runtime")
    store: str = Field(STORE, description=STORE_MEANS)
    run: str = Field("", description=RUN_MEANS)

    def __call__(self) -> int:
        from harness.command.stored import readable, stored_run
        from harness.exports.all_formats import formats
        from harness.words.home import home
        from harness.words.nearest import nearest, one_of

        if self.format:
            one_of(self.format, list(formats()), what="format")
        if len(self.names) != 1:
            raise ValueError("harness export takes one variant, such as dense or middle@0.8")
        target = home(self.to).resolve()
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise ValueError(f"to={self.to} is there already and not empty; choose a new folder")
        store = readable(self.store)
        run = stored_run(store, self.run, self.store)
        by_name = {each["name"]: each for each in run["variants"]}
        if self.names[0] not in by_name:
            raise ValueError(f"variant {self.names[0]} is not in the run; {nearest(self.names[0], list(by_name))}")
        variant = by_name[self.names[0]]
        kind = formats()[self.format or _format(variant)]
        if why := kind.unavailable():
            raise ValueError(f"format={kind.NAME} {why}")
        _export(variant, run, store, kind, target)
        return DONE


def _format(variant: dict[str, Any]) -> str:
    """Return the format of a variant's own runtime; ValueError where there is none."""
    from harness.exports.all_formats import formats

    own = variant.get("runtime", "torch")
    if name := next((name for name, kind in formats().items() if own == kind.OF), ""):
        return name
    raise ValueError(f"no format holds rows of {own}; export the row in torch, by format={' or '.join(formats())}")


def _export(variant: dict[str, Any], run: dict[str, Any], store: Store, kind: type[Format], target: Path) -> None:
    import shutil

    from harness.command.terminal import console
    from harness.storage.writable import writable
    from harness.words.home import relative
    from harness.words.sizes import storage
    from reports.card.model_card import FILE, card
    from reports.run import rows as reading

    held = _held(variant, store)
    writable(target, "to")
    draft = target.with_name(f".{target.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    try:
        stored = kind.write(held, draft)
        largest = _compared(kind, held, draft)
        rows, facts = reading.read(run, store)
        row = next(each for each in rows if each["variant"] == variant["name"])
        steps = [store.record(key)["title"] for key in variant["chain"]]
        use = kind.use(draft, target.name)
        (draft / FILE).write_text(card(row, rows, facts, steps=steps, stored=stored, use=use))
        if target.exists():  # an empty folder stays the one it is: somebody may stand in it
            for path in draft.iterdir():
                path.rename(target / path.name)
        else:
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    size = storage(sum(path.stat().st_size for path in target.rglob("*") if path.is_file()))
    console().print(
        f"{variant['name']}: {size} in {relative(target)} as {kind.NAME} ({stored}); loaded again, its logits differ from the "
        f"stored variant's by at most {largest:.2g} of the largest",
        highlight=False,
        soft_wrap=True,
    )


def _held(variant: dict[str, Any], store: Store) -> Held:
    from harness.exports.export_format import Held
    from harness.spec import ARTIFACT, CHECKPOINT

    places: dict[str, Path | None] = {}
    for name in (CHECKPOINT, ARTIFACT):
        keys = [key for key in reversed(variant["chain"]) if (store.folder(key) / name).is_dir()]
        if keys and store.released(keys[0]):
            raise ValueError(
                f"the weights of {variant['name']} were let go once it was measured; the same harness run with keep=weights "
                "makes them again"
            )
        if keys:
            store.verify(keys[0])
        places[name] = store.folder(keys[0]) / name if keys else None
    checkpoint = places[CHECKPOINT]
    if checkpoint is None:
        raise ValueError(f"{variant['name']} has no checkpoint in the store: it failed, or was not made yet")
    return Held(checkpoint, places[ARTIFACT], variant.get("runtime", "torch"))


def _compared(kind: type[Format], held: Held, written: Path) -> float:
    """Return by how much the logits of what was written are off, of the largest.

    ValueError beyond the format's tolerance.
    """
    import numpy as np

    from harness.exports.export_format import stored_logits
    from harness.models.checkpoint import load_tokenizer

    ids = load_tokenizer(held.checkpoint)(SAMPLE, add_special_tokens=False).input_ids
    ours, theirs = stored_logits(held, ids), kind.logits(written, ids)
    off = float(np.abs(ours - theirs).max() / np.abs(ours).max())
    if off > kind.TOLERANCE:
        raise ValueError(
            f"what was written as {kind.NAME} computes other logits than the stored variant, by {off:.2g} of the largest; "
            "nothing was kept"
        )
    return off
