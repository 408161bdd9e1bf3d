"""What users may write is described where it is defined.

The reference pages say what the code says now.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import config, registry
from harness.cli import main
from harness.command.all_verbs import verbs
from harness.command.fields import words_of
from harness.command.kind_page import method_words
from harness.command.reference import pages
from harness.command.run_words import run_words
from harness.data.suites import Suite, SuiteTask
from harness.measures.all_measures import measures, table
from harness.nas.searchers.all_searchers import searchers
from harness.nas.spaces import SPACES
from harness.papers import Paper, PaperRow
from harness.quantities import MEANINGS, METRICS
from harness.spec import Method

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "reference"


@pytest.mark.parametrize("name", pages())
def test_a_reference_page_is_current(name):
    """Otherwise: python -m harness.command.reference docs/reference."""
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name]


def test_no_page_is_left_of_what_is_gone():
    assert {path.name for path in FOLDER.iterdir()} == set(pages())


def described():
    yield from (("run", word) for word in run_words())
    yield from ((name, word) for name, kind in verbs().items() for word in kind.own_words())
    yield from ((name, word) for name, kind in registry.methods().items() for word in method_words(kind))
    for kinds in (registry.quantizers(), searchers()):
        yield from ((name, word) for name, kind in kinds.items() for word in words_of(kind.model_fields))
    for model in (Suite, SuiteTask, Paper, PaperRow):
        yield from ((model.__name__, word) for word in words_of(model.model_fields))


def test_every_number_says_what_was_measured():
    assert [each.key for each in table().values() if not each.meaning] == []
    assert list(MEANINGS) == list(METRICS)


def test_everything_that_a_user_may_write_says_what_it_means():
    assert [f"{name} {word.name}" for name, word in described() if not word.meaning] == []


@pytest.mark.parametrize("name", sorted({*registry.methods(), *registry.quantizers(), *searchers()}))
def test_what_has_a_name_says_what_it_is_and_what_its_fields_mean(name, capsys):
    assert main(["methods", name]) == 0
    said = capsys.readouterr().out
    for kinds in (registry.methods(), registry.quantizers(), searchers()):
        if kind := kinds.get(name):
            assert (kind.__doc__ or "").strip().splitlines()[0] in said
            words = method_words(kind) if issubclass(kind, Method) else words_of(kind.model_fields)
            assert all(f"  {word.name}=" in said for word in words)


def test_a_field_that_profiles_set_says_what_to(capsys):
    """Otherwise the default of the class would be taken for what a run does."""
    for word in method_words(registry.methods()["nas"]):
        set_to = [config.defaults(profile)["settings"]["nas"].get(word.name) for profile in config.PROFILES]
        told = [
            f"{profile} {value}" for profile, value in zip(config.PROFILES, set_to, strict=True) if value is not None
        ]
        assert (f"(profiles: {', '.join(told)})" in word.meaning) == bool(told)
    assert "(profiles: quick 6144, standard 122880, paper 16000000)" in " ".join(pages()["methods.md"].split())


def test_what_a_field_may_name_is_named_in_its_meaning(capsys):
    meanings = {word.name: word.meaning for word in method_words(registry.methods()["nas"])}
    assert [name for name in SPACES if name not in meanings["space"]] == []
    assert "of those that `harness methods` lists" in meanings["searcher"]
    assert main(["methods"]) == 0
    listed = capsys.readouterr().out.split("searchers of nas:")[1].replace(",", " ").split()
    assert [name for name in searchers() if name not in listed] == []


def test_a_name_that_is_neither_is_told_the_nearest(capsys):
    assert main(["methods", "wandda"]) == 2
    assert "wandda is no method, no quantizer and no searcher; did you mean wanda" in capsys.readouterr().err


def test_every_method_key_measure_and_verb_has_its_place_in_the_reference():
    text = "".join(pages().values())
    for name in (*registry.methods(), *verbs(), *searchers(), *registry.quantizers()):
        assert f"## {name}\n" in text
    for word in run_words():
        assert f"| `{word.name}=` |" in text
    for measure in measures().values():
        assert all(f"| `{each.key}` |" in text for each in measure.QUANTITIES)
