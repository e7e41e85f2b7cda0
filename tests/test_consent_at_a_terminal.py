"""Consent is typed at the terminal after the gate was drawn, and by nothing else: all of it against a LinkFlow whose
queue is really paused, so that a mutation would show."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from commands import RUNBOOK, Place, longest_line

from runbook_engine.sandbox import control
from runbook_engine.sandbox.broker import connect_redis
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")

PAUSED = "asynq:{default}:paused"
PROMPT = r"unpause: go on\? \[y/N\] "
RUN = ("run", "queue-backlog")
CTRL_C, CTRL_D = "\x03", "\x04"


def is_paused(state: State) -> bool:
    client = connect_redis(state)
    try:
        return bool(client.exists(PAUSED))
    finally:
        client.close()


@pytest.fixture(scope="module")
def broken(sandbox: State) -> Iterator[State]:
    control.break_(sandbox, "F32", 1)
    yield sandbox
    control.restore(sandbox)


@pytest.fixture
def paused(broken: State, linkflow: Place) -> Iterator[Place]:
    """Every test but the last leaves the queue as it found it."""
    assert is_paused(broken)
    yield linkflow
    assert is_paused(broken)


def test_what_is_no_terminal_consents_to_nothing(paused: Place) -> None:
    lines = ["yes | {}", "printf 'y\\n' | {}", "{} <&-", "{} </dev/null"]
    with ExitStack() as stack:
        shells = [f"{line.format(f'{RUNBOOK} run queue-backlog')}; exit $?" for line in lines]
        screens = [stack.enter_context(paused.at_a_terminal("-c", shell, program="sh")) for shell in shells]
        assert [screen.end() for screen in screens] == [5, 5, 5, 5]
    for screen in screens:
        assert "not confirmed" in screen.shown and "--approve unpause" in screen.shown
        assert "Traceback" not in screen.shown


def test_nobody_at_all_gives_plain_output_of_80_columns(paused: Place) -> None:
    finished = paused.run(*RUN, PYTHONIOENCODING="ascii", LANG="C", LC_ALL="C")
    assert finished.code == 5
    assert "GATE" in finished.stdout and "\x1b" not in finished.said and finished.said.isascii()
    assert longest_line(finished.stdout) <= 80
    assert "Traceback" not in finished.said


def test_only_yes_is_consent(paused: Place) -> None:
    """Enter, almost yes, the end of the input, Ctrl-C; on a terminal that cannot colour or move."""
    typed = {"\r": 1, "n\r": 1, "yep\r": 1, CTRL_D: 5, CTRL_C: 130, "y" + CTRL_C: 130}
    with ExitStack() as stack:
        plain = {"NO_COLOR": "1", "TERM": "dumb"}
        screens = {keys: stack.enter_context(paused.at_a_terminal(*RUN, **plain)) for keys in typed}
        for keys, screen in screens.items():
            screen.see(PROMPT)
            screen.type(keys)
        assert {keys: screen.end() for keys, screen in screens.items()} == typed
    for screen in screens.values():
        assert "\x1b" not in screen.shown and longest_line(screen.shown) <= 80
        assert "Traceback" not in screen.shown


def test_what_is_typed_while_the_diagnosis_runs_consents_to_nothing(broken: State, paused: Place) -> None:
    with ExitStack() as stack:
        early = ("y\r", "\r\r\r", "y\ry\ry\ryes\r", "unpause\r")
        screens = {keys: stack.enter_context(paused.at_a_terminal(*RUN)) for keys in early}
        for keys, screen in screens.items():
            screen.see("queue-backlog")
            screen.type(keys)
        for screen in screens.values():
            screen.see(PROMPT)
        # Whoever had taken the early keys for an answer would have ended, or acted, by now.
        assert is_paused(broken)
        for screen in screens.values():
            screen.type("n\r")
        assert [screen.end() for screen in screens.values()] == [1] * len(early)
    assert all("declined" in screen.shown for screen in screens.values())


def test_who_is_ended_at_the_gate_has_not_consented(paused: Place) -> None:
    with ExitStack() as stack:
        signals = {signal.SIGTERM: 143, signal.SIGHUP: 130}
        screens = {number: stack.enter_context(paused.at_a_terminal(*RUN)) for number in signals}
        for number, screen in screens.items():
            screen.see(PROMPT)
            screen.child.kill(number)
        assert {number: screen.end() for number, screen in screens.items()} == signals
    runs = json.loads(paused.run("runs", "--output", "json").stdout)
    assert [run["outcome"] for run in runs] == ["interrupted", "interrupted"]


def test_ctrl_c_during_the_diagnosis_ends_it(paused: Place) -> None:
    with paused.at_a_terminal(*RUN) as screen:
        screen.see("Jobs wait in a queue")
        screen.type(CTRL_C)
        assert screen.end() == 130
    assert "INTERRUPTED" in screen.shown and "GATE" not in screen.shown


def test_a_y_typed_at_the_gate_is_consent_and_ends_fixed(broken: State, linkflow: Place) -> None:
    control.restore(broken)
    control.break_(broken, "F32", 2)
    with linkflow.at_a_terminal(*RUN) as screen:
        screen.see(PROMPT)
        assert is_paused(broken)
        screen.type("y\r")
        assert screen.end() == 0
    assert "FIXED" in screen.shown and "\x1b[" in screen.shown and longest_line(screen.shown) <= 80
    assert not is_paused(broken)
