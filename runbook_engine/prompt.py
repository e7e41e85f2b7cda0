"""Asks the person at the controlling terminal, for consent above all.

Only what is typed there after the question was drawn counts: never a pipe, never type-ahead, never silence.
"""

from __future__ import annotations

import contextlib
import os
import select
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TextIO

from .events import GateRequested
from .safe_text import safe_text
from .units import parse_duration

Json = Any
Verdict = Literal["yes", "no", "none", "interrupted"]
End = Literal["closed", "expired", "interrupted"]

EXPIRY = 600.0  # a question that is older was answered by somebody who has forgotten what it said
QUIET = 0.3  # keys already under way, over a slow link for instance, arrive within this
MOST_QUIET = 3.0
INTERRUPT = b"\x03"
DISABLED = b"\x00"


class NoAnswer(Exception):  # noqa: N818 - it is an answer that did not come, and no error
    """The question ended without a line: end of input, expiry, Ctrl-C."""

    def __init__(self, end: End) -> None:
        super().__init__(end)
        self.end = end


class Terminal:
    """The controlling terminal. `interrupted` says that the last question ended with Ctrl-C."""

    def __init__(self, descriptor: int, expiry: float = EXPIRY) -> None:
        self._descriptor = descriptor
        self._expiry = expiry
        self.interrupted = False
        self.output: TextIO = os.fdopen(descriptor, "w", encoding="utf-8", errors="replace", closefd=False)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.output.close()
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def say(self, text: str) -> None:
        """A line of our own; what is from outside must be safe already."""
        with contextlib.suppress(OSError):
            self.output.write(text)
            self.output.flush()

    def ask(self, question: str) -> str:
        """One line, typed after `question` was drawn. Raises NoAnswer."""
        self.interrupted = False
        try:
            before = termios.tcgetattr(self._descriptor)
            try:
                self._settle(before)
                self._listen(before)
                self.output.write(question)
                self.output.flush()
                return self._line(time.monotonic() + self._expiry)
            finally:
                # What was pasted behind the answer must not fall to the shell after us.
                termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, before)
        except (OSError, termios.error) as error:
            raise NoAnswer("closed") from error
        except KeyboardInterrupt as error:
            raise self._ended("interrupted") from error

    def _ended(self, end: End) -> NoAnswer:
        self.interrupted = end == "interrupted"
        return NoAnswer(end)

    def _settle(self, before: list[Any]) -> None:
        """Swallow what was typed before the question could be read, until the keys are still for a moment."""
        mode = _copy(before)
        mode[3] &= ~(termios.ECHO | termios.ICANON)
        mode[6][termios.VMIN] = 0
        mode[6][termios.VTIME] = 0
        mode[6][termios.VINTR] = DISABLED
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, mode)
        limit = time.monotonic() + MOST_QUIET
        while time.monotonic() < limit and self._readable(QUIET):
            swallowed = os.read(self._descriptor, 4096)
            if not swallowed:
                raise NoAnswer("closed")
            if INTERRUPT in swallowed:
                raise self._ended("interrupted")

    def _listen(self, before: list[Any]) -> None:
        """Whole lines with echo. Ctrl-C ends a line instead of raising a signal, so that nothing else hears it."""
        mode = _copy(before)
        mode[0] |= termios.ICRNL
        mode[3] |= termios.ECHO | termios.ICANON | termios.ISIG
        mode[6][termios.VINTR] = DISABLED
        mode[6][termios.VEOL] = INTERRUPT
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, mode)

    def _line(self, limit: float) -> str:
        line = b""
        while (left := limit - time.monotonic()) > 0:
            if not self._readable(left):
                continue
            typed = os.read(self._descriptor, 4096)
            if not typed:
                raise NoAnswer("closed")
            line += typed
            if INTERRUPT in line:
                raise self._ended("interrupted")
            if line.endswith(b"\n"):
                return line.decode("utf-8", "replace").strip()
        raise NoAnswer("expired")

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._descriptor], [], [], seconds)[0])


def _copy(mode: list[Any]) -> list[Any]:
    return [*mode[:6], list(mode[6])]


def open_tty(expiry: float = EXPIRY) -> Terminal | None:
    """The terminal of the person who started us; None when nobody can answer there.

    A standard input that is no terminal (`yes |`, cron, CI) says that nobody is meant to answer, even where /dev/tty
    exists; neither can somebody whose terminal belongs to another job.
    """
    if not os.isatty(0):
        return None
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        ours = os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        ours = False
    if not ours:
        os.close(descriptor)
        return None
    return Terminal(descriptor, expiry)


def ask_gate(gate: GateRequested, tty: Terminal) -> tuple[Verdict, str]:
    """The answer to a gate that was drawn already, and how it came. Everything but the exact word is no."""
    word = safe_text(gate.word)
    wanted = f"type {word} to go on; anything else is no:" if word else "go on? [y/N]"
    try:
        answer = tty.ask(f"\n  {safe_text(gate.action)}: {wanted} ")
    except NoAnswer as none:
        tty.say("\n")
        return ("interrupted", "typed") if none.end == "interrupted" else ("none", none.end)
    consented = answer == gate.word if gate.word else answer.lower() in ("y", "yes")
    return "yes" if consented else "no", "typed"


def ask_question(question: str, kind: str, enum: Sequence[str] | None, tty: Terminal) -> Json | None:
    """A typed value; asks again until it fits. None when no answer came (`tty.interrupted` says whether by Ctrl-C)."""
    options = f" [{'/'.join(map(safe_text, enum))}]" if enum else "" if kind == "string" else f" ({kind})"
    while True:
        try:
            answer = tty.ask(f"\n  {safe_text(question)}{options}: ")
        except NoAnswer:
            tty.say("\n")
            return None
        try:
            return value_of(answer, kind, enum)
        except ValueError as error:
            tty.say(f"  {safe_text(str(error))}\n")


def value_of(answer: str, kind: str, enum: Sequence[str] | None) -> Json:
    """What was typed as a value of the question's type. Raises ValueError that says what would fit."""
    if enum is not None and answer not in enum:
        raise ValueError(f"{answer!r} is none of {', '.join(enum)}")
    if kind == "boolean":
        return _boolean(answer)
    readers: Mapping[str, Callable[[str], Json]] = {"integer": int, "number": _number, "duration": parse_duration}
    if kind in readers:
        try:
            return readers[kind](answer)
        except ValueError as error:
            raise ValueError(str(error) if kind == "duration" else f"{answer!r} is not a plain {kind}") from error
    if not answer:
        raise ValueError("an empty answer says nothing; Ctrl-D gives no answer")
    return answer


def _boolean(answer: str) -> bool:
    words = {"y": True, "yes": True, "true": True, "n": False, "no": False, "false": False}
    if answer.lower() not in words:
        raise ValueError(f"{answer!r} is neither yes nor no")
    return words[answer.lower()]


def _number(answer: str) -> float:
    value = float(answer)
    if value - value != 0:
        raise ValueError("neither infinite nor not-a-number is a value")
    return value


def ask_choice(prompt: str, choices: Mapping[str, str], tty: Terminal) -> str | None:
    """The key of one choice, asked again until one is typed: there is no default. None when no answer came."""
    offered = "   ".join(f"[{safe_text(key)}] {safe_text(label)}" for key, label in choices.items())
    while True:
        try:
            answer = tty.ask(f"\n  {safe_text(prompt)}\n  {offered}: ").lower()
        except NoAnswer:
            tty.say("\n")
            return None
        for key, label in choices.items():
            if answer in (key.lower(), label.lower()):
                return key
        tty.say(f"  type one of: {', '.join(map(safe_text, choices))}\n")
