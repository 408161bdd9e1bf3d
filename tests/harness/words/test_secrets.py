"""Tokens and passwords are recorded nowhere; what only looks alike stays as it is."""

from __future__ import annotations

import json

import pytest
from runs import ran

from harness.words.redaction import redacted

TOKEN = "hf_" + "AbCd" * 8


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (f"harness run model={TOKEN}", "harness run model=***"),
        ("model=https://me:hunter2@host/x", "model=https://***@host/x"),
        ("HF_TOKEN=abc123 harness", "HF_TOKEN=*** harness"),
        ("api_key: 'xyz'", "api_key: '***'"),
        ("password=hunter2&x=1", "password=***&x=1"),
        ("settings.nas.search_tokens=4096", "settings.nas.search_tokens=4096"),
        (
            "methods=[nas(training_tokens=256),recover(tokens=1e5)]",
            "methods=[nas(training_tokens=256),recover(tokens=1e5)]",
        ),
        ("token_perplexity: 23.5", "token_perplexity: 23.5"),
        ("me@host.org", "me@host.org"),
    ],
)
def test_a_secret_becomes_stars_and_nothing_else_does(said, kept):
    assert redacted(said) == kept


def test_settings_of_a_secrets_name_are_hidden_wherever_they_lie():
    actual = redacted(
        {"variables": {"HF_TOKEN": "abc", "DEPTH": "3"}, "tokens": "a", "list": [{"api_key": "k"}], "n": 3}
    )
    assert actual == {
        "variables": {"HF_TOKEN": "***", "DEPTH": "3"},
        "tokens": "a",
        "list": [{"api_key": "***"}],
        "n": 3,
    }


@pytest.mark.timeout(300)
def test_no_file_of_a_run_holds_the_token_that_a_command_was_given(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    command = [
        "{python}",
        "-c",
        "import os, sys; sys.exit('denied for ' + os.environ['THE_TOKEN'])",
        "{input}",
        "{output}",
    ]
    (folder / "mine.yaml").write_text(json.dumps({"command": command, "variables": {"THE_TOKEN": TOKEN}}))
    words = (f"methods=[external:{folder}/mine.yaml]", "quantizers=[none]", "measure.speed=false", "limit=1")
    _, store, summary, _ = ran(tmp_path, *words)
    assert "denied for ***" in next(iter(summary.failed.values()))
    holding = [path for path in store.root.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert [path.suffix for path in holding] == [".log"], "but for the command's own output"
