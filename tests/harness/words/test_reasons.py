"""A reason says what to do, or holds the whole chain of causes in one line."""

from __future__ import annotations

import errno

import pytest

from harness.words.reasons import LONGEST, reason


def raised(error: BaseException, cause: BaseException | None = None) -> BaseException:
    try:
        if cause is not None:
            raise error from cause
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("budget must be 1"), "budget must be 1"),
        (
            ValueError("GenerationConfig is invalid: \n- `min_p`: is set\n- so"),
            "GenerationConfig is invalid: - `min_p`: is set - so",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "the disk is full: OSError: [Errno 28] No space left on device",
        ),
        (RuntimeError("[enforce fail] can't allocate memory: 3 GB"), "out of memory: RuntimeError: [enforce fail]"),
        (MemoryError(), "out of memory: MemoryError: without a word (in raised, test_reasons.py line"),
        (StopIteration(), "StopIteration: without a word (in raised, test_reasons.py line"),
        (KeyError("test"), "KeyError: 'test' (in raised, test_reasons.py line"),
        (RuntimeError("lone \udcff"), "RuntimeError: lone \\udcff"),
    ],
)
def test_a_reason_is_one_line_that_helps(error, said):
    actual = reason(raised(error))
    assert actual.startswith(said)
    assert "\n" not in actual
    assert actual.isprintable()


def test_every_cause_is_in_the_line():
    first = raised(KeyError("test"))
    second = raised(RuntimeError("An error occurred while generating the dataset"), first)
    actual = reason(second)
    assert actual.startswith("RuntimeError: An error occurred while generating the dataset; because KeyError: 'test'")


def test_a_cause_that_was_set_aside_on_purpose_is_not_told():
    def fail() -> None:
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("name a folder") from None

    with pytest.raises(ValueError, match="name a folder") as caught:
        fail()
    assert reason(caught.value) == "name a folder"


def test_a_missing_package_is_named_with_what_hid_it():
    missing = raised(ImportError("SentencePiece is not installed: pip install sentencepiece"))
    assert (
        "sentencepiece" in reason(raised(ValueError("tiktoken is required to read a `tiktoken` file"), missing)).lower()
    )


def test_a_long_reason_is_cut_and_says_where_the_rest_is():
    actual = reason(raised(RuntimeError("x" * 5000)))
    assert len(actual) < LONGEST + 40
    assert actual.endswith("(the log has the rest)")


@pytest.mark.parametrize("name", ["min_p", "typical_p", "top_p", "temperature", "epsilon_cutoff"])
def test_settings_of_drawn_answers_do_not_stop_an_import(tiny, tmp_path, name):
    from harness.models import checkpoint
    from harness.models.source import SAMPLING, Import, ModelSource
    from harness.spec import Work
    from harness.storage.store import Store

    model, tokenizer = tiny
    folder = tmp_path / "model"
    model.generation_config.do_sample = True
    setattr(model.generation_config, name, 0.3)
    tokenizer.save_pretrained(folder)
    checkpoint.save(model, folder, folder)
    assert name in SAMPLING
    draft = tmp_path / "draft"
    draft.mkdir()
    step = Import(source=ModelSource(kind="folder", content="x", place=str(folder)), dtype="float32")
    step.run(Work(draft, tmp_path, Store(tmp_path / "store"), "key", (), (), "cpu"))
    loaded = checkpoint.load(draft / "checkpoint")
    assert (loaded.generation_config.do_sample, getattr(loaded.generation_config, name)) in (
        (False, None),
        (False, 1.0),
    )
