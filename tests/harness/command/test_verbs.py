"""The command line: verbs are found in their files, and all else comes from their fields.

That is their words, errors, help and completion.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
from typing import ClassVar

import pytest
from pydantic import Field

from harness import cli
from harness.command import all_verbs
from harness.command.all_verbs import find, verbs
from harness.command.verb import DONE, Verb
from harness.command.words import Format, Names, Number, listed, whole


class Greet(Verb):
    """Greet people.

    By name, if they have one.
    """

    NAME: ClassVar[str] = "cache empty"
    NAMES: ClassVar[str] = "[NAME ...]"
    times: whole(0, 9) = Field(5, description="how often")
    level: Number = Field(0.5, description="how loud")
    tasks: Names = Field((), description="where")
    format: Format = Field("table", description="in which form")

    def __call__(self) -> int:
        print(self.names, self.times, self.tasks)
        return DONE


@pytest.fixture
def more(monkeypatch):
    """Two more verbs, of two words each."""
    known = {**verbs(), "cache empty": Greet, "cache show": Greet}
    monkeypatch.setattr(all_verbs, "verbs", lambda: known)
    monkeypatch.setattr(cli, "verbs", lambda: known)


def said(capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(list(words))
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("name", verbs())
def test_every_verb_says_what_it_and_each_of_its_words_means(name, capsys):
    verb = verbs()[name]
    assert verb.summary().endswith((".", "bash)."))
    words = [*verb.own_words(), *verb.run_keys()]
    assert all(word.meaning for word in verb.own_words())
    for asking in (["help", *name.split()], [*name.split(), "--help"], [*name.split(), "-h"]):
        code, out, err = said(capsys, *asking)
        assert (code, err) == (0, "")
        assert out.startswith(f"usage: harness {name}")
        assert all(f"\n  {word.name}=" in out for word in words)
    assert f"  {name}  " in said(capsys, "--help")[1]


def test_a_verb_of_two_words_goes_before_that_of_one(more):
    assert find(["doctor", "parity", "suite=demo"]) == (verbs()["doctor parity"], ["suite=demo"])
    assert find(["doctor", "store=x"]) == (verbs()["doctor"], ["store=x"])


def test_half_a_verb_is_told_the_other_half(more, capsys):
    assert said(capsys, "cache", "shw")[2] == "harness: harness cache shw is unknown; did you mean show?\n"
    assert said(capsys, "cache") == (2, "", "harness: harness cache needs one of the words empty, show behind it\n")
    assert said(capsys, "cche")[2] == "harness: verb cche is unknown; did you mean cache?\n"


def test_names_and_words_may_come_in_any_order(more, capsys):
    words = ("tasks=[piqa,arc]", "dense", "times=1", "shortgpt+wanda(sparsity=0.5)")
    assert said(capsys, "cache", "empty", *words)[1] == "('dense', 'shortgpt+wanda(sparsity=0.5)') 1 ('piqa', 'arc')\n"


def test_all_wrong_words_are_told_at_once_with_what_was_meant(more, capsys):
    code, out, err = said(capsys, "cache", "empty", "tims=1", "times=ten", "level=high", "format=jsn")
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        "harness: key tims is unknown; did you mean times?",
        "harness: times must be a whole number from 0 to 9, not ten",
        "harness: level must be a number, not high",
        "harness: format jsn is unknown; did you mean json?",
    ]


def test_the_version_is_that_of_the_package(capsys):
    assert said(capsys, "--version") == (0, f"harness {importlib.metadata.version('llm-compression-harness')}\n", "")


@pytest.mark.parametrize("text", ["[piqa,arc]", "piqa,arc", "piqa, arc"])
def test_lists_are_written_with_or_without_brackets(text):
    assert listed(text) == ["piqa", "arc"]
    assert listed("") == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("harness comp", {"compare", "completion"}),
        ("harness doctor pa", {"parity"}),
        ("harness data ", {"check", "export", "overlap"}),
        ("harness gate ba", {"baseline=", "baseline_run="}),
        ("harness compare dense format=", {"table", "markdown", "json"}),
        ("harness run dtype=bf", {"bfloat16"}),
        ("harness doctor parity format=j", {"json"}),
    ],
)
def test_bash_completes_verbs_words_and_choices(line, expected, capsys):
    script = said(capsys, "completion", "bash")[1]
    asking = f'{script}\nCOMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; _harness; printf "%s\\n" "${{COMPREPLY[@]}}"'
    told = subprocess.run(["bash", "-c", asking], capture_output=True, text=True, check=True)
    assert set(told.stdout.split()) == expected
