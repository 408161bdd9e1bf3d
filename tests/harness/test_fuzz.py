"""Five hundred and more wrong command lines: each is answered in lines that name the wrong word.

None hangs or ends in a traceback.
"""

from __future__ import annotations

import random
import re
import signal
import sys
from collections.abc import Iterator

import pytest

from harness import registry
from harness.cli import main
from harness.config import CalibrationConfig, MeasureConfig, RunConfig

LINES = 560
SECONDS = 30  # of one line, machine busy; then it counts as a hang
GARBAGE = (
    *(
        "",
        "-1",
        "0",
        "nan",
        "inf",
        "-inf",
        "1e400",
        "10^25",
        "99999999999999999999",
        "1.5",
        "true",
        "null",
        "none",
        "None",
    ),
    *(
        "[]",
        "[",
        "]",
        "[[",
        "{",
        "{}",
        "{a}",
        "{a:1}",
        "()",
        "a(b",
        "a(b=1)",
        "a:b",
        "a+b",
        "+",
        "'",
        '"',
        "${HOME}",
        "$(ls)",
    ),
    *(
        "%s",
        "{0}",
        "[red]x[/red]",
        "[/]",
        "é",
        "数据",
        "\udcff",
        "a b",
        "\t",
        "\n",
        "a=b",
        "~",
        "~nobody/x",
        "..",
        "/",
        "/dev/null",
    ),
    *(
        "/proc/x",
        "x" * 300,
        "x/" * 2000,
        "*",
        "?",
        "`",
        "\\",
        "#",
        ":",
        ",",
        "a,b",
        "!function x",
        "0x10",
        "1_000",
        "--",
        "-x",
    ),
)
VALUES = tuple(value for value in GARBAGE if "\x00" not in value)
KEYS = (
    *(key for key in RunConfig.model_fields if key not in ("calibration", "measure")),
    *(f"calibration.{key}" for key in CalibrationConfig.model_fields),
    *(f"measure.{key}" for key in MeasureConfig.model_fields),
)
VERBS = {  # the options of the other verbs, and words without which a line would do real work
    "report": (("store", "report", "run", "format", "paper"), ()),
    "compare": (("store", "run", "task", "metric", "flips", "format", "level"), ("dense", "wanda@0.8")),
    "gate": (("baseline", "store", "run", "baseline_run", "update", "format", "level", "drop", "speed", "flips"), ()),
    "ls": (("store",), ()),
    "methods": ((), ()),
    "search": (("searchers", "seeds", "evaluations", "format", "suite", "model", "settings.nas.batch"), ("seed=-1",)),
    "data": (("suite", "data_dir", "tasks"), ("check",)),
    "env": (("requirements",), ("create", "x/y")),
    "doctor": (("store",), ()),
    "doctor parity": (("suite", "model", "data_dir", "limit", "dtype", "device", "tasks", "format"), ("seed=1",)),
    "doctor scoring": (("suite", "model", "limit", "rounds", "format"), ("seed=1",)),
    "doctor search": (("candidates", "rounds", "evaluations", "suite", "format"), ("seed=-1",)),
    "doctor shapes": (("geometry", "samples", "prompt", "rounds", "dtype", "device", "format"), ("format=x",)),
}


def misspelt(word: str, draw: random.Random) -> str:
    place = draw.randrange(len(word))
    return draw.choice((word[:place] + word[place + 1 :], word[:place] + draw.choice("qxz_.") + word[place:]))


def method_field(draw: random.Random) -> str:
    name = draw.choice(sorted(registry.methods()))
    fields = [*registry.fields(registry.methods()[name]), "budget", "nofield"]
    return f"{name}({draw.choice(fields)}={draw.choice(VALUES)})"


def lines() -> Iterator[list[str]]:
    """Yield command lines, the same every time: of each at least one word is wrong, or it does no work."""
    draw = random.Random(20261126)
    for number in range(LINES):
        kind = number % 8
        if kind == 0:
            yield ["plan", "model=random-llama", f"{misspelt(draw.choice(KEYS), draw)}={draw.choice(VALUES)}"]
        elif kind in (1, 2):
            yield ["plan", "model=random-llama", "methods=[dense]", f"{draw.choice(KEYS)}={draw.choice(VALUES)}"]
        elif kind in (3, 4):
            yield ["plan", "model=random-llama", f"methods=[{method_field(draw)}]"]
        elif kind == 5:
            name = draw.choice(sorted(registry.methods()))
            field = draw.choice([*registry.methods()[name].model_fields, "x"])
            yield ["plan", "model=random-llama", f"methods=[{name}]", f"settings.{name}.{field}={draw.choice(VALUES)}"]
        else:
            verb = draw.choice(sorted(VERBS))
            keys, words = VERBS[verb]
            key = misspelt(draw.choice(keys), draw) if keys and draw.random() < 0.3 else draw.choice(keys or ("x",))
            yield [*verb.split(), *words, f"{key}={draw.choice(VALUES)}"]


class Hang(BaseException):
    """A line took longer than SECONDS."""


def hang(*_: object) -> None:
    raise Hang


def names_the_word(line: list[str], said: str) -> bool:
    """Tell whether the answer names a word of the line: a key, a field, a method, or the value."""
    wanted = {part for word in line for part in re.split(r"[=(),\[\].]", word) if part.strip()}
    named = any(part.encode("utf-8", "backslashreplace").decode() in said for part in wanted)
    values = {word.partition("=")[2] for word in line}  # of which some are signs alone
    return (
        named or bool(values & set(said.split())) or "holds no run" in said
    )  # nothing is stored here, and that comes first


@pytest.mark.timeout(1800)
def test_a_wrong_line_is_answered_by_naming_its_word(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HARNESS_DATA_DIR", raising=False)
    signal.signal(signal.SIGALRM, hang)
    wrong, count = [], 0
    for line in lines():
        count += 1
        signal.alarm(SECONDS)
        try:
            code = main(line)
            said = "".join(capsys.readouterr())
        except Hang:
            wrong.append((line, "hangs"))
            continue
        except Exception as error:  # what would be a traceback
            wrong.append((line, f"{type(error).__name__}: {error}"))
            capsys.readouterr()
            continue
        finally:
            signal.alarm(0)
        if "Traceback" in said or (code == 2 and not names_the_word(line, said)):
            wrong.append((line, said))
        elif code not in (0, 1, 2, 3):
            wrong.append((line, f"exit code {code}"))
    assert count >= 500
    for line, why in wrong:
        print(line, "->", why, file=sys.stderr)
    assert wrong == []
