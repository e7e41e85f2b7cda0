"""Performs what the interpreter asks for, and writes every event to the journal before acting on it.

The only writer of the journal, the only place where threads meet. It must never act without a durable intent, never
retry, and never wait for a session that hangs. What it goes on with after a resume writes nothing until a gate was
answered with yes in this very process.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import FrameType
from typing import Any, Literal, Protocol

from .acting import RESUMED
from .events import (
    BudgetSpent,
    CallAbandoned,
    CallFinished,
    CallRequested,
    CallStarted,
    CancelRequested,
    Event,
    GateAnswered,
    GateRequested,
    Interrupted,
    QuestionAnswered,
    QuestionRequested,
    Reply,
    RunFinished,
    RunStarted,
    WaitElapsed,
    WaitRequested,
    decode,
    encode,
    kind_of,
)
from .inbox import Inbox
from .journal import Journal
from .redaction import Redactor
from .replay import Replayed, reads_in_flight
from .sessions import Sessions
from .state import Run

Json = Any
TICK = 0.25  # how often a wait looks up: for the screen's countdown and for deadlines
GRACE = 2.0  # beyond its deadline a call gets this long before its session is cancelled


class Person(Protocol):
    """Whoever answers gates and questions: a terminal, the command line's approvals, or nobody."""

    def consent(self, gate: GateRequested) -> tuple[Literal["yes", "no", "none", "plan", "interrupted"], str, str]:
        """The verdict, who gave it, and how. Asked after the gate was drawn."""

    def answer(
        self, question: QuestionRequested
    ) -> tuple[Json, Literal["typed", "given", "nobody", "interrupted"], str]:
        """A value or None, how it came, and from whom."""


@dataclass(slots=True)
class InFlight:
    """A call that has begun and whose result nobody has seen yet."""

    request: CallRequested
    since: float
    cancelled_at: float | None = None


@dataclass(slots=True)
class Driver:
    """One run. `listeners` see each event after it is in the journal; `tick` is called while nothing happens."""

    run: str
    journal: Journal
    sessions: Sessions
    person: Person
    redactor: Redactor
    listeners: tuple[Callable[[Event], None], ...] = ()
    tick: Callable[[float], None] = lambda now: None
    origin: float = field(default_factory=time.monotonic)
    inbox: Inbox[CallFinished | Interrupted] = field(default_factory=Inbox)
    calls: dict[str, InFlight] = field(default_factory=dict)
    early: dict[str, CallFinished] = field(default_factory=dict)  # ended while something else was waited for
    closed: set[str] = field(default_factory=set)  # calls of sensitive steps: their answers are not written down
    grace: float = GRACE
    interrupts: int = 0
    signalled: str = "SIGINT"
    prompting: bool = False
    spent: bool = False
    sensitive: frozenset[str] = frozenset()  # inputs that are written down by their names only
    unconfirmed: bool = False  # gone on with, and no gate was answered since

    def now(self) -> float:
        """Seconds since the run began, the clock of every reply."""
        return time.monotonic() - self.origin

    def drive(self, run: Run[RunFinished]) -> RunFinished:
        """Run the generator to its end."""
        with self._signals():
            try:
                return self._loop(run)
            finally:
                self._close()

    def drive_on(
        self,
        run: Run[RunFinished],
        replayed: Replayed,
        recorded: Sequence[Event],
        settled: CallFinished | None,
        *,
        stop: bool = False,
    ) -> RunFinished:
        """Run on from a replayed prefix: reads that were in flight are asked again, a write never is.

        `settled` is what a person or a probe found out about the write whose end nobody had seen; with `stop` that is
        written down and the run ends: its evidence is too old to act on.
        """
        self.unconfirmed = True
        with self._signals():
            try:
                if stop:
                    self.inbox.put(Interrupted(1, self.now(), time.time()))
                for request in reads_in_flight(recorded):
                    if request != replayed.event:
                        self._start(request)
                if not replayed.recorded:
                    self.record(replayed.event)
                reply = self._perform_again(replayed.event, recorded, settled)
                return self._loop(run, self.record(reply) if reply is not None else None)
            finally:
                self._close()

    def _close(self) -> None:
        self.sessions.close()
        self.inbox.close()

    def _perform_again(self, event: Event, recorded: Sequence[Event], settled: CallFinished | None) -> Reply | None:
        """Go on with what was asked last. A write that was settled counts as begun, and is not sent."""
        if settled is None:
            return self._perform(event)
        intent = next(each for each in recorded if isinstance(each, CallRequested) and each.id == settled.id)
        self.calls[settled.id] = InFlight(intent, self.now())
        self.inbox.put(replace(settled, at=self.now(), wall=time.time()))
        if isinstance(event, CallRequested) and event.id == settled.id:
            return CallStarted(event.id, self.now(), time.time())
        return self._perform(event)

    def _loop(self, run: Run[RunFinished], reply: Reply | None = None) -> RunFinished:
        try:
            while True:
                event = run.send(reply)
                self.record(event)
                reply = self._perform(event)
                if reply is not None:
                    reply = self.record(reply)
        except StopIteration as end:
            finished: RunFinished = end.value
            return finished

    def record(self, event: Any) -> Any:
        """Mask, write, then show. What the interpreter and every sink see is the masked event.

        The answer of a sensitive step reaches the interpreter, which takes its facts, and no sink.
        """
        if isinstance(event, CallFinished) and event.id in self.closed:
            event = _closed(event)
        data = masked_data(self.redactor, event, self.sensitive)
        kept = {**data, "answer": None} if data.get("dropped") else data
        self.journal.append(self.run, kind_of(event), kept, time.time())
        self.show(decode(kind_of(event), kept))
        return decode(kind_of(event), {**data, "dropped": False} if data.get("dropped") else data)

    def show(self, masked: Event) -> None:
        for listener in self.listeners:
            listener(masked)

    def _perform(self, event: Event) -> Reply | None:
        match event:
            case CallRequested():
                return self._start(event)
            case WaitRequested():
                return self._wait(event)
            case CancelRequested():
                return self._cancel(event.id)
            case CallAbandoned():
                self._abandon(event.id)
            case GateRequested():
                return self._gate(event)
            case QuestionRequested():
                return self._question(event)
            case _:
                pass
        return None

    def _start(self, request: CallRequested) -> CallStarted:
        self.calls[request.id] = InFlight(request, self.now())
        if request.sensitive:
            self.closed.add(request.id)
        if request.mode == "write" and self.unconfirmed:
            self.inbox.put(self._not_sent(request))
            return CallStarted(request.id, self.now(), time.time())
        threading.Thread(target=self._call, args=(request,), name=request.id, daemon=True).start()
        return CallStarted(request.id, self.now(), time.time())

    def _not_sent(self, request: CallRequested) -> CallFinished:
        """A consent that was given to an earlier process, and the lease it took, ended with that process."""
        error = {"code": RESUMED, "message": "not sent: it was confirmed before the run was resumed"}
        return CallFinished(request.id, self.now(), time.time(), error=error, made_by="engine", happened="no")

    def _call(self, request: CallRequested) -> None:
        """On a thread of its own: whatever happens ends as one CallFinished in the inbox."""
        began = self.now()
        finished = self.sessions.perform(request)
        now = self.now()
        self.inbox.put(replace(finished, at=now, wall=time.time(), seconds=round(now - began, 4)))

    def _wait(self, wait: WaitRequested) -> Reply:
        early = next((call_id for call_id in wait.ids if call_id in self.early), None)
        if early is not None:
            return self.early.pop(early)
        began = self.now()
        until = began + wait.seconds if wait.seconds is not None else None
        spent = began + wait.budget if wait.budget is not None else None
        while True:
            now = self.now()
            due = min((end for end in (until, spent) if end is not None), default=now + TICK)
            item = self._next(max(0.0, min(TICK, due - now)))
            if isinstance(item, Interrupted):
                return item
            if isinstance(item, CallFinished):
                if self._arrived(item, wait.ids):
                    return item
                continue
            now = self.now()
            if until is not None and now >= until:
                return WaitElapsed(now, time.time())
            if spent is not None and now >= spent:
                return BudgetSpent(now, time.time())
            overdue = self._overdue(wait.ids)
            if overdue is not None:
                return overdue
            self.tick(now)

    def _arrived(self, item: CallFinished, ids: tuple[str, ...]) -> bool:
        """Whether this is what is waited for. A result of a call that was given up is dropped, any other is kept."""
        if self.calls.pop(item.id, None) is None:
            return False
        if item.id not in ids:
            self.early[item.id] = item
        return item.id in ids

    def _next(self, seconds: float) -> CallFinished | Interrupted | None:
        return self.inbox.get(seconds)

    def _overdue(self, ids: tuple[str, ...]) -> CallFinished | None:
        """A session that does not keep its deadline is cancelled, and given up when even that does not end it."""
        for call_id in ids:
            call = self.calls.get(call_id)
            if call is None or self.now() < call.since + call.request.deadline + self.grace:
                continue
            if call.cancelled_at is None:
                call.cancelled_at = self.now()
                self.sessions.cancel(call_id)
            elif self.now() > call.cancelled_at + self.grace:
                return self._lost(
                    call, "timeout", f"no answer within {call.request.deadline:g}s, and it could not be cancelled"
                )
        return None

    def _cancel(self, call_id: str) -> CallFinished:
        if call_id in self.early:
            return self.early.pop(call_id)
        self.sessions.cancel(call_id)
        end = self.now() + self.grace
        pressed: Interrupted | None = None
        try:
            while self.now() < end and (pressed is None or pressed.level < 3):
                item = self._next(max(0.01, end - self.now()))
                if isinstance(item, CallFinished) and self._arrived(item, (call_id,)):
                    return item
                pressed = item if isinstance(item, Interrupted) else pressed
        finally:
            if pressed is not None:  # who wants the run to stop wants that also after this call
                self.inbox.put(pressed)
        call = self.calls.get(call_id)
        assert call is not None
        return self._lost(call, "cancelled", "cancelled, and no answer came: the session was abandoned")

    def _lost(self, call: InFlight, code: str, message: str) -> CallFinished:
        self.calls.pop(call.request.id, None)
        self.sessions.abandon(call.request.id)
        happened: Literal["no", "unknown"] = "unknown" if call.request.mode == "write" else "no"
        error = {"code": code, "message": message}
        seconds = round(self.now() - call.since, 4)
        return CallFinished(
            call.request.id, self.now(), time.time(), error=error, happened=happened, seconds=seconds, made_by="target"
        )

    def _abandon(self, call_id: str) -> None:
        self.calls.pop(call_id, None)
        self.early.pop(call_id, None)
        threading.Thread(target=self.sessions.cancel, args=(call_id,), daemon=True).start()

    def _gate(self, gate: GateRequested) -> GateAnswered:
        try:
            with self._prompt():
                verdict, by, how = self.person.consent(gate)
        except KeyboardInterrupt:
            verdict, by, how = "interrupted", "", ""
        if verdict == "interrupted":
            how = self.signalled
        if verdict == "yes":
            self.unconfirmed = False
        return GateAnswered(gate.id, gate.digest, verdict, by, how, self.now(), time.time())

    def _question(self, question: QuestionRequested) -> QuestionAnswered:
        try:
            with self._prompt():
                value, how, by = self.person.answer(question)
        except KeyboardInterrupt:
            value, how, by = None, "interrupted", ""
        return QuestionAnswered(question.id, value, how, by, self.now(), time.time())

    @contextmanager
    def _prompt(self) -> Iterator[None]:
        self.prompting = True
        try:
            yield
        finally:
            self.prompting = False

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM become events; at a prompt they interrupt the reading."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        kept = {
            number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            yield
        finally:
            for number, handler in kept.items():
                signal.signal(number, handler)

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self.interrupts += 1
        level = max(self.interrupts, 2) if number == signal.SIGTERM else self.interrupts
        if number == signal.SIGHUP:
            level = 1
        self.signalled = signal.Signals(number).name
        self.inbox.put(Interrupted(min(level, 3), self.now(), time.time(), self.signalled))
        if self.prompting:
            raise KeyboardInterrupt


def _closed(finished: CallFinished) -> CallFinished:
    """The end of a sensitive call. Of an error its code stays: what a server says may quote what was asked."""
    if finished.error is None or finished.made_by == "engine":
        return replace(finished, dropped=True)
    error = {"code": finished.error["code"], "message": "what it said was dropped, as the step is sensitive"}
    return replace(finished, dropped=True, error=error)


_FILES = ("playbook", "digest", "text", "path", "libraries", "environment", "targets", "policy")
_AUTHORED = frozenset({*_FILES, "run", "baselines", "history", "mode", "engine", "follows"})
_OWN_WORDS = frozenset(  # ids from the playbook, and words of the engine: a run that loses them cannot go on
    {"id", "ids", "step", "action", "executor", "target", "mode", "effect", "outcome", "status", "verdict", "happened"}
)


def masked_data(redactor: Redactor, event: Event, sensitive: Collection[str] = ()) -> dict[str, Json]:
    """An event as every sink may see it. What stands in files of the author stays: its digest must still fit.

    Sensitive inputs are told by their names only, however short they are.
    """
    data = encode(event)
    begins = isinstance(event, RunStarted)
    kept = {name: data.pop(name) for name in (_AUTHORED if begins else _OWN_WORDS) & data.keys()}
    if begins:
        inputs = data["inputs"]
        hidden = {name: f"[secret input {name}]" for name in sensitive if inputs.get(name) is not None}
        data["inputs"] = {**inputs, **hidden}
    masked: dict[str, Json] = redactor.json(data, patterns=not begins)
    return {**masked, **kept}
