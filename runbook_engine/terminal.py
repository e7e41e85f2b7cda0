"""Shows a run to the person in front of it, line by line as it happens, and what is being waited for.

Only reads events. A screen that is gone must never stop a run, and no byte from outside may act on the terminal.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import TextIO, assert_never

from .events import (
    ActionFinished,
    ActionProgressed,
    BudgetSpent,
    CallAbandoned,
    CallFinished,
    CallRequested,
    CallStarted,
    CancelRequested,
    CausesRanked,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    Interrupted,
    QuestionAnswered,
    QuestionRequested,
    RunFinished,
    RunResumed,
    RunStarted,
    StepFinished,
    SymptomsJudged,
    VerificationProgressed,
    WaitElapsed,
    WaitRequested,
)
from .screen.drawing import (
    action,
    causes,
    error_in_short,
    gate,
    gate_answer,
    header,
    short,
    step,
    symptoms,
    verdict,
)
from .screen.ink import Ink, row
from .units import format_duration, format_number

WORTH_SAYING = 3.0  # a shorter pause needs no countdown
HEARTBEAT = 10.0  # seconds of silence after which a screen that is not live says what it waits for
NARROWEST, WIDEST = 40, 120
ERASE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Pending:
    """Something that was begun and has not ended."""

    title: str
    since: float


@dataclass(frozen=True, slots=True)
class Countdown:
    """Something that ends at a known time, seconds since the start of the run."""

    says: str
    until: float


class Screen:
    """One stream that a run is shown on. `live` means that its last line may be drawn again."""

    def __init__(
        self,
        stream: TextIO,
        *,
        width: int,
        colour: bool,
        unicode: bool,
        live: bool,
        verbose: bool = False,
        zone: tzinfo | None = None,
    ) -> None:
        self._stream = stream
        self.ink = Ink(width, colour, unicode)
        self._live = live
        self._verbose = verbose
        self._zone = zone
        self._broken = False
        self._drawn = False  # a live line stands at the bottom
        self._held = False  # a person is being asked: nothing may be drawn below the question
        self._now = self._spoke = 0.0
        self._run = ""
        self._asking: dict[str, Pending] = {}  # step -> its title
        self._writing: dict[str, Pending] = {}  # call -> its title
        self._verifying: Countdown | None = None
        self._pause: Countdown | None = None
        self._waited = ""  # the live line as it stands
        self._looked: tuple[str, bool | None] | None = None
        self._gates: dict[str, str] = {}  # gate -> action
        self._measured: dict[str, float | None] = {}  # action -> the impact its gate showed
        self._asked = self._thinking = 0.0  # when a person was asked, and how long they thought in all
        self._failures: dict[str, str] = {}  # step -> the error it ended with

    @property
    def attended(self) -> bool:
        """Whether a person can have seen what was shown here: the stream is a terminal and still there."""
        try:
            return not self._broken and self._stream.isatty()
        except ValueError:
            return False

    def show(self, event: Event) -> None:
        """Draw one event as it happens. Never raises because of the stream."""
        self._now = max(self._now, getattr(event, "at", 0.0))
        self._erase()
        self._lines(self._draw(event))
        self._redraw()

    def tick(self, now: float) -> None:
        """A second passed while waiting: `now` is seconds since the start of the run."""
        self._now = max(self._now, now)
        if self._live:
            if self._waiting() != self._waited:
                self._erase()
                self._redraw()
        elif self._now - self._spoke >= HEARTBEAT and not self._held and (waiting := self._waiting()):
            self._lines([f"  {self.ink.mark('WAITING')} {waiting}"])

    def _draw(self, event: Event) -> list[str]:
        match event:
            case RunStarted():
                self._run = event.run
                self._spoke = self._now
                return header(event, self.ink, self._zone, self._verbose)
            case RunResumed():
                self._forget()
                return row(self.ink, "note", "resumed", f"by {self.ink.safe(event.by)}" if event.by else "")
            case CallRequested() | CallStarted() | CallFinished() | CallAbandoned() | CancelRequested():
                return self._call(event)
            case WaitRequested() | WaitElapsed() | BudgetSpent() | Interrupted():
                return self._wait(event)
            case StepFinished():
                return self._step(event)
            case SymptomsJudged():
                return symptoms(event.symptoms, event.after, self.ink)
            case CausesRanked():
                return causes(event, self.ink)
            case QuestionRequested() | QuestionAnswered() | GateRequested() | GateAnswered():
                return self._person(event)
            case GuardChecked() | VerificationProgressed() | ActionProgressed() | ActionFinished():
                return self._action(event)
            case RunFinished():
                self._forget()
                return verdict(event, self.ink, self._thinking)
            case _:
                assert_never(event)

    def _step(self, event: StepFinished) -> list[str]:
        """A second look is shown only when it fails, and only the first time that it fails so."""
        self._asking.pop(event.step, None)
        failure = str(event.error["message"]) if event.error else ""
        known = self._failures.get(event.step, "")
        self._failures[event.step] = failure
        quiet = event.again and failure in ("", known) and not self._verbose
        return [] if quiet else step(event, self.ink, self._verbose)

    def _call(self, event: CallRequested | CallStarted | CallFinished | CallAbandoned | CancelRequested) -> list[str]:
        ink = self.ink
        if isinstance(event, CallRequested):
            if event.mode == "read":
                self._asking.setdefault(event.step, Pending(event.title, self._now))
                return []
            self._writing[event.id] = Pending(event.title, self._now)
            return row(ink, "doing", event.title, f"on {ink.safe(event.target)}")
        if isinstance(event, CallFinished):
            return self._written(event)
        if isinstance(event, CallAbandoned):
            self._writing.pop(event.id, None)
        return []

    def _written(self, event: CallFinished) -> list[str]:
        write = self._writing.pop(event.id, None)
        if write is None:
            return []
        ink = self.ink
        if event.error is None:
            return row(ink, "ok", write.title, "done", event.seconds)
        became = "nothing was done" if event.happened == "no" else "whether it took place is not known"
        says = f"{became}: {error_in_short(event.error, '', ink)}"
        return row(ink, "FAILED" if event.happened == "no" else "UNKNOWN", write.title, says, event.seconds)

    def _wait(self, event: WaitRequested | WaitElapsed | BudgetSpent | Interrupted) -> list[str]:
        ink = self.ink
        if isinstance(event, WaitRequested):
            asleep = not event.ids and event.seconds and event.seconds >= WORTH_SAYING
            self._pause = Countdown(ink.safe(event.why), self._now + (event.seconds or 0)) if asleep else None
            return []
        self._pause = None
        if isinstance(event, BudgetSpent):
            return row(ink, "note", "the time for the diagnosis is spent", "what has not answered stays unchecked")
        if isinstance(event, Interrupted):
            return row(ink, "STOPPING", _stopping(event.level, bool(self._writing)))
        return []

    def _person(self, event: QuestionRequested | QuestionAnswered | GateRequested | GateAnswered) -> list[str]:
        ink = self.ink
        self._held = isinstance(event, QuestionRequested | GateRequested)
        if self._held:
            self._asked = self._now
        elif isinstance(event, QuestionAnswered | GateAnswered):
            self._thinking += max(0.0, event.at - self._asked)
        if isinstance(event, GateRequested):
            self._forget()
            self._gates[event.id] = event.action
            self._measured[event.action] = event.count
            return gate(event, self._run, ink)
        if isinstance(event, GateAnswered):
            return gate_answer(event, self._gates.get(event.id, event.id), ink)
        if isinstance(event, QuestionAnswered):
            if event.value is None:
                return row(ink, "UNKNOWN", event.id, "nobody answered")
            return row(ink, "ok", event.id, f"{short(event.value, ink)} ({event.how})")
        return []

    def _action(self, event: GuardChecked | VerificationProgressed | ActionProgressed | ActionFinished) -> list[str]:
        ink = self.ink
        if isinstance(event, VerificationProgressed):
            return self._verification(event)
        if isinstance(event, ActionProgressed):
            return row(ink, "note", event.says)
        if isinstance(event, ActionFinished):
            self._forget()
            return action(event, ink)
        if event.refused:
            return row(ink, "REFUSED", event.action, ink.safe(event.refused))
        shown = self._measured.get(event.action)
        changed = event.count is not None and shown is not None and event.count != shown
        now = f"; impact now {format_number(event.count)}" if changed and event.count is not None else ""
        return row(ink, "ok", "checked again", f"{ink.safe(event.because)}{now}") if event.because or now else []

    def _verification(self, event: VerificationProgressed) -> list[str]:
        """Each change is a line; between two changes the countdown tells how long it may still take."""
        ink = self.ink
        because = ink.safe(event.because)
        until = event.phase == "until"
        over = event.holds is until
        says = f"{event.phase} {because}" if because else "to verify"
        self._verifying = None if over else Countdown(says, self._now + event.remaining)
        if (event.phase, event.holds) == self._looked:
            return []
        self._looked = (event.phase, event.holds)
        if over:
            return row(ink, "ok" if until else "FAILED", "took effect" if until else "did not last", because)
        left = f"{format_duration(event.remaining)} left"
        title = "waits for the effect" if until else "watches whether it lasts"
        return row(ink, "WAITING", title, f"{left}; {because}" if because else left)

    def _forget(self) -> None:
        """Nothing that was waited for is waited for any more."""
        self._asking.clear()
        self._writing.clear()
        self._verifying = self._pause = self._looked = None

    def _waiting(self) -> str:
        if self._verifying is not None:
            return f"waiting {self._verifying.says}, {_elapsed(self._verifying.until - self._now)} left"
        for word, pending in (("doing", self._writing), ("asking", self._asking)):
            if pending:
                each = (f"{self.ink.safe(item.title)} {_elapsed(self._now - item.since)}" for item in pending.values())
                return f"{word}: {', '.join(each)}"
        if self._pause is not None:
            left = f"{_elapsed(self._pause.until - self._now)} left"
            return f"waiting, {left}: {self._pause.says}" if self._pause.says else f"waiting, {left}"
        return ""

    def _lines(self, lines: list[str]) -> None:
        if lines:
            self._spoke = self._now
            self._write("".join(f"{line}\n" for line in lines))

    def _erase(self) -> None:
        if self._drawn:
            self._write(ERASE)
            self._drawn = False
            self._waited = ""

    def _redraw(self) -> None:
        if self._live and not self._held and (waiting := self._waiting()):
            # One cell short of the edge: a full line would wrap, and could not be erased any more.
            line = self.ink.cut(f"  {self.ink.mark('WAITING')} {waiting}", self.ink.width - 1)
            self._write(self.ink.paint(line, "dim"))
            self._drawn = True
            self._waited = waiting

    def _write(self, text: str) -> None:
        """The terminal may be gone, the pipe closed: the run goes on, and its journal has everything."""
        if self._broken:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._broken = True


def _stopping(level: int, writing: bool) -> str:
    return {
        1: "stops after this step; Ctrl-C again cancels it" if writing else "stops now; nothing is being changed",
        2: "cancels what is in flight; Ctrl-C again leaves at once",
    }.get(level, "leaves; what was in flight stays unknown")


def _elapsed(seconds: float) -> str:
    return format_duration(float(max(0, round(seconds))))


def screen_for(stream: TextIO, environ: Mapping[str, str], *, verbose: bool = False) -> Screen:
    """A screen that fits a stream: decoration for people at a terminal, plain lines for everything else."""
    terminal = stream.isatty()
    dumb = environ.get("TERM") == "dumb"
    forced = any(environ.get(name, "0") not in ("", "0", "false") for name in ("FORCE_COLOR", "CLICOLOR_FORCE"))
    colour = not environ.get("NO_COLOR") and (forced or (terminal and not dumb))
    encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "").replace("_", "")
    return Screen(
        stream,
        width=_width(stream, environ) if terminal else 80,
        colour=colour,
        unicode=encoding.startswith("utf") and not dumb and _locale(environ) not in ("C", "POSIX"),
        live=terminal and not dumb and not environ.get("CI"),
        verbose=verbose,
    )


def _locale(environ: Mapping[str, str]) -> str:
    """What the user asked for: in the C locale Python says UTF-8 all the same, the terminal may not."""
    return next((value for name in ("LC_ALL", "LC_CTYPE", "LANG") if (value := environ.get(name))), "")


def _width(stream: TextIO, environ: Mapping[str, str]) -> int:
    columns = 0
    with contextlib.suppress(OSError, ValueError):
        columns = os.get_terminal_size(stream.fileno()).columns
    if environ.get("COLUMNS", "").isdigit():
        columns = int(environ["COLUMNS"])
    return min(max(columns or 80, NARROWEST), WIDEST)
