"""Threads sleep while they wait where others hold cores, but not while they are timed.

Nobody's own choice is changed.
"""

from __future__ import annotations

import os

import psutil
import pytest

from harness.executors.server import Server
from harness.machine import waiting


@pytest.fixture
def machine(monkeypatch):
    """A machine of four cores, two of them ours, on which so many cores are in use."""
    for name in waiting.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setattr(psutil, "cpu_count", lambda: 4)

    def use(*cores):
        looks = iter(cores)
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 100 * next(looks) / 4)

    return use


@pytest.mark.parametrize(
    ("cores", "crowded"), [((1.0,), False), ((2.2,), False), ((2.6, 2.6), True), ((3.9, 0.1), False)]
)
def test_a_machine_is_crowded_where_others_hold_what_our_threads_ask_for(machine, cores, crowded):
    machine(*cores)
    assert waiting.crowded() is crowded


@pytest.mark.parametrize(("name", "value"), [("OMP_NUM_THREADS", "1"), *((name, "1") for name in waiting.CHOSEN)])
def test_one_thread_waits_for_nobody_and_what_a_user_chose_stands(machine, monkeypatch, name, value):
    machine(4.0, 4.0)
    monkeypatch.setenv(name, value)
    assert not waiting.crowded()


def ask(pipe) -> None:
    pipe.send((os.environ.get(waiting.POLICY), os.getppid()))


def asked(server, *, timed, said) -> tuple[str | None, int]:
    with server.context(timed=timed, notice=said.append) as context:
        ours, theirs = context.Pipe()
        process = context.Process(target=ask, args=(theirs,))
        process.start()
    answer = ours.recv()
    process.join()
    return answer


@pytest.mark.timeout(300)
def test_steps_are_forked_from_a_server_that_waits_as_they_should(monkeypatch):
    for name in waiting.CHOSEN:
        monkeypatch.delenv(name, raising=False)
    crowd = iter([False, True])
    monkeypatch.setattr(waiting, "crowded", lambda: next(crowd))
    server, said = Server(preload=()), []
    (first, before), (second, after), (third, same) = (asked(server, timed=False, said=said) for _ in range(3))
    assert (first, second, third) == (None, "passive", "passive")
    assert before != after == same
    assert asked(server, timed=True, said=said)[0] is None
    assert asked(server, timed=False, said=said)[0] == "passive"
    assert len(said) == 1
    assert waiting.POLICY not in os.environ
