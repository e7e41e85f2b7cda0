"""Consent over a real pseudo-terminal: what counts, what does not, and how it ends without an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pexpect
import pytest
from scripted_run import GATE

from runbook_engine.prompt import value_of

DESTRUCTIVE = replace(GATE, action="clear", effect="destructive", word="5003")
PROLOGUE = """
import signal, sys, termios, time
sys.path.insert(0, {tests!r})
from scripted_run import GATE
from test_prompt import DESTRUCTIVE
from runbook_engine import prompt
"""
ASK_GATE = """
before = termios.tcgetattr(0)
tty = prompt.open_tty()
print("WORKING", flush=True)
time.sleep({pause})
print("ANSWER", *prompt.ask_gate({gate}, tty), termios.tcgetattr(0) == before, tty.interrupted, flush=True)
tty.close()
"""
FOR_EVER = """
tty = prompt.open_tty()
while True:
    print("ANSWER", *prompt.ask_gate({}, tty), flush=True)
"""


def script(body: str) -> list[str]:
    prologue = PROLOGUE.format(tests=os.path.dirname(__file__))
    return [sys.executable, "-c", prologue + textwrap.dedent(body)]


class Children(list[Any]):
    def __call__(self, body: str) -> Any:
        command, *arguments = script(body)
        child: Any = pexpect.spawn(command, arguments, timeout=20, encoding="utf-8", dimensions=(24, 200))
        child.delayafterclose = child.delayafterterminate = 0.02
        self.append(child)
        return child

    def gate(self, gate: str = "GATE", pause: float = 0) -> Any:
        return self(ASK_GATE.format(gate=gate, pause=pause))


@pytest.fixture
def spawn() -> Iterator[Children]:
    children = Children()
    yield children
    for child in children:
        child.close(force=True)


def answer(child: Any) -> str:
    child.expect(r"ANSWER ([^\r\n]*)\r\n")
    return str(child.match[1])


def test_only_yes_is_yes(spawn: Children) -> None:
    answers = {"y": "yes", "YES": "yes", "": "no", "n": "no", "yy": "no", "yes please": "no", "5003": "no"}
    child = spawn(FOR_EVER.format("GATE"))
    for typed, verdict in answers.items():
        child.expect_exact("unpause: go on? [y/N] ")
        child.sendline(typed)
        assert answer(child) == f"{verdict} typed"


def test_a_destructive_gate_takes_its_word_and_nothing_else(spawn: Children) -> None:
    answers = {"5003": "yes", " 5003 ": "yes", "y": "no", "yes": "no", "": "no", "5 003": "no", "5003x": "no"}
    child = spawn(FOR_EVER.format("DESTRUCTIVE"))
    for typed, verdict in answers.items():
        child.expect_exact("clear: type 5003 to go on; anything else is no: ")
        child.sendline(typed)
        assert answer(child) == f"{verdict} typed"


def test_what_was_typed_before_the_question_does_not_count(spawn: Children) -> None:
    child = spawn.gate(pause=0.5)
    child.expect_exact("WORKING")
    child.send("y\ry\ryes\r")
    child.expect_exact("[y/N] ")
    child.sendline("")
    assert answer(child).startswith("no typed")


def test_keys_under_way_while_the_question_is_prepared_do_not_count(spawn: Children) -> None:
    child = spawn.gate()
    child.expect_exact("WORKING")
    for _ in range(8):
        child.send("y\r")
    child.expect_exact("[y/N] ")
    child.sendline("n")
    assert answer(child).startswith("no typed")


def test_what_is_pasted_behind_the_answer_does_not_fall_to_the_next_reader(spawn: Children) -> None:
    child = spawn(ASK_GATE.format(gate="GATE", pause=0) + "print('NEXT', repr(sys.stdin.readline()))")
    child.expect_exact("[y/N] ")
    child.send("n\rrm -rf /\r")
    assert answer(child).startswith("no typed")
    child.sendline("fine")
    child.expect_exact("NEXT 'fine\\n'")


def test_an_answer_may_be_corrected_before_enter(spawn: Children) -> None:
    child = spawn.gate()
    child.expect_exact("[y/N] ")
    child.send("n\x7fy\r")
    assert answer(child).startswith("yes typed")


def test_end_of_input_is_no_answer(spawn: Children) -> None:
    child = spawn.gate()
    child.expect_exact("[y/N] ")
    child.sendeof()
    assert answer(child) == "none closed True False"


def test_a_line_without_enter_is_no_consent(spawn: Children) -> None:
    child = spawn.gate()
    child.expect_exact("[y/N] ")
    child.send("y")
    child.sendeof()
    child.sendeof()
    assert answer(child).startswith("none closed")


@pytest.mark.parametrize("typed", ["", "y"])
def test_ctrl_c_at_the_question_is_an_interruption(spawn: Children, typed: str) -> None:
    child = spawn.gate()
    child.expect_exact("[y/N] ")
    child.send(typed)
    child.sendcontrol("c")
    assert answer(child) == "interrupted typed True True"


def test_a_signal_whose_handler_raises_ends_the_question(spawn: Children) -> None:
    child = spawn(
        "def stop(*_): raise KeyboardInterrupt\nsignal.signal(signal.SIGTERM, stop)\n"
        + ASK_GATE.format(gate="GATE", pause=0)
    )
    child.expect_exact("[y/N] ")
    child.kill(signal.SIGTERM)
    assert answer(child) == "interrupted typed True True"


def test_a_question_expires(spawn: Children) -> None:
    child = spawn("print('ANSWER', *prompt.ask_gate(GATE, prompt.open_tty(expiry=0.2)))")
    assert answer(child) == "none expired"


def test_a_terminal_that_hangs_up_is_no_consent(spawn: Children, tmp_path: os.PathLike[str]) -> None:
    told = os.path.join(tmp_path, "told")
    child = spawn(
        f"signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        f"verdict = prompt.ask_gate(GATE, prompt.open_tty())\nopen({told!r}, 'w').write(repr(verdict))"
    )
    child.expect_exact("[y/N] ")
    child.ptyproc.fileobj.close()
    child.ptyproc.closed = child.closed = True
    child.ptyproc.wait()
    with open(told) as file:
        assert file.read() == "('none', 'closed')"


def test_a_piped_yes_finds_no_terminal(spawn: Children) -> None:
    # `yes` in a shell: its own terminal exists, and /dev/tty can be opened.
    inner = script("print('ANSWER', prompt.open_tty())")
    child: Any = pexpect.spawn("sh", ["-c", 'yes | "$0" -c "$1"', inner[0], inner[2]], timeout=20, encoding="utf-8")
    spawn.append(child)
    assert answer(child) == "None"


def test_a_process_without_a_controlling_terminal_has_nobody_to_ask() -> None:
    ours, theirs = os.openpty()
    try:
        done = subprocess.run(
            script("print(sys.stdin.isatty(), prompt.open_tty())"),
            stdin=theirs,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=20,
            check=True,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout == "True None\n"


def test_a_background_job_has_nobody_to_ask(spawn: Children) -> None:
    inner = script("import os\nos.setpgid(0, 0)\nprint('ANSWER', prompt.open_tty())")
    child: Any = pexpect.spawn("sh", ["-c", '"$0" -c "$1"', inner[0], inner[2]], timeout=20, encoding="utf-8")
    spawn.append(child)
    assert answer(child) == "None"


def test_a_hostile_question_does_not_act_on_the_terminal(spawn: Children) -> None:
    child = spawn("print('ANSWER', prompt.ask_question('\\x1b[2Jhow\\nmany', 'integer', None, prompt.open_tty()))")
    child.expect_exact("how␊many (integer): ")
    assert "\x1b" not in str(child.before)
    child.sendline("7")
    assert answer(child) == "7"


def test_a_question_is_asked_again_until_the_answer_fits(spawn: Children) -> None:
    child = spawn("print('ANSWER', prompt.ask_question('which', 'string', ('eu', 'us'), prompt.open_tty()))")
    child.expect_exact("which [eu/us]: ")
    child.sendline("asia")
    child.expect_exact("'asia' is none of eu, us")
    child.expect_exact("which [eu/us]: ")
    child.sendline("us")
    assert answer(child) == "us"


def test_ctrl_c_at_a_question_gives_no_value_and_is_told(spawn: Children) -> None:
    child = spawn(
        "tty = prompt.open_tty()\nprint('ANSWER', prompt.ask_question('x', 'string', None, tty), tty.interrupted)"
    )
    child.expect_exact("x: ")
    child.sendcontrol("c")
    assert answer(child) == "None True"


CHOICE = (
    "print('ANSWER', prompt.ask_choice('it is unknown', {'p': 'probe again', 'h': 'it happened'}, prompt.open_tty()))"
)


def test_a_choice_has_no_default(spawn: Children) -> None:
    child = spawn(CHOICE)
    child.expect_exact("[p] probe again   [h] it happened: ")
    child.sendline("")
    child.expect_exact("type one of: p, h")
    child.expect_exact("it happened: ")
    child.sendline("H")
    assert answer(child) == "h"


def test_a_choice_ends_without_an_answer_at_end_of_input(spawn: Children) -> None:
    child = spawn(CHOICE)
    child.expect_exact("it happened: ")
    child.sendeof()
    assert answer(child) == "None"


@pytest.mark.parametrize(
    ("typed", "kind", "value"),
    [
        ("5", "integer", 5),
        ("5.5", "number", 5.5),
        ("5m", "duration", 300.0),
        ("No", "boolean", False),
        ("a b", "string", "a b"),
    ],
)
def test_an_answer_has_the_type_of_its_question(typed: str, kind: str, value: object) -> None:
    assert value_of(typed, kind, None) == value


@pytest.mark.parametrize(
    ("typed", "kind"),
    [("", "string"), ("5x", "integer"), ("nan", "number"), ("soon", "duration"), ("maybe", "boolean")],
)
def test_an_answer_of_another_type_is_refused_with_a_reason(typed: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        value_of(typed, kind, None)
