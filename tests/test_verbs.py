"""The command line finds its verbs, of one word or two, and imports only the one that is called."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from harness import cli
from harness.verbs.words import listed, names_and_options, options


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_verb_exists_and_is_in_the_usage(verb):
    module, name = cli.VERBS[verb].split(":")
    assert callable(getattr(importlib.import_module(module), name))
    assert f"\n  {verb.split()[0]} " in cli.USAGE


def test_a_verb_of_two_words_goes_before_that_of_one(monkeypatch):
    monkeypatch.setitem(cli.VERBS, "doctor parity", "harness.verbs.words:listed")
    assert cli.found(["doctor", "parity", "suite=demo"]) == (listed, ["suite=demo"])
    verb, rest = cli.found(["doctor", "store=x"])
    assert (verb.__name__, rest) == ("doctor", ["store=x"])


def test_half_a_verb_is_told_the_other_half(monkeypatch, capsys):
    monkeypatch.setitem(cli.VERBS, "cache empty", "harness.verbs.words:listed")
    monkeypatch.setitem(cli.VERBS, "cache show", "harness.verbs.words:listed")
    assert cli.main(["cache", "shw"]) == 2
    assert capsys.readouterr().err == "harness: harness cache needs one of the words empty, show behind it\n"
    assert cli.main(["cche"]) == 2
    assert capsys.readouterr().err == "harness: verb cche is unknown; did you mean cache?\n"


def test_wrong_words_are_told_without_loading_torch():
    code = (
        "import sys; from harness.cli import main; main(['report', 'x=1']); main(['compare', 'x=1']); main(['pln']); "
    )
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True, capture_output=True)


def test_names_and_options_may_come_in_any_order():
    known = {"task": "", "flips": "5"}
    words = ["task=piqa", "dense", "shortgpt+wanda(sparsity=0.5)", "flips=1"]
    assert names_and_options(words, known) == (
        ["dense", "shortgpt+wanda(sparsity=0.5)"],
        {"task": "piqa", "flips": "1"},
    )
    assert options([], known) == known


@pytest.mark.parametrize("text", ["[piqa,arc]", "piqa,arc", "piqa, arc"])
def test_lists_are_written_with_or_without_brackets(text):
    assert listed(text) == ["piqa", "arc"]
    assert listed("") == []


def test_a_wrong_word_behind_doctor_is_told_the_nearest(capsys):
    assert cli.main(["doctor", "pariti"]) == 2
    assert capsys.readouterr().err == "harness: harness doctor pariti is unknown; did you mean parity?\n"
