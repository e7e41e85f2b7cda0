"""Asks for many playbooks at once: what they share once, a few questions at a time to each target, each in its turn.

Waiting for a turn is no silence of the target: it must never look like one. A target that does not answer is not asked
for ever either: the others' time would go with it.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from .driver import Person
from .errors import CONNECTION_CODES
from .events import CallFinished, CallRequested, without_own_ids
from .journal import Journal, Record
from .sessions import READERS, Sessions

Json = Any
FRESH = 0.5  # seconds an answer may be old to serve another playbook as well; less than any sample's distance
SILENT_AFTER = 6  # questions in a row that got no answer; one at a time is still tried


@dataclass(slots=True)
class Turns:
    """At most so many at once for each target; who matters more goes first, and then who came first."""

    until: float
    most: int = READERS
    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    taken: Counter[str] = field(default_factory=Counter)
    silent: Counter[str] = field(default_factory=Counter)  # questions in a row without an answer
    count: int = 0

    @contextmanager
    def turn(self, target: str, rank: int) -> Iterator[str]:
        """Gives `asked`, `silent` or `late`: only with the first the question may be sent."""
        word = self._take(target, rank)
        try:
            yield word
        finally:
            if word == "asked":
                with self.changed:
                    self.taken[target] -= 1
                    self.changed.notify_all()

    def _take(self, target: str, rank: int) -> str:
        with self.changed:
            self.count += 1
            ticket = (rank, self.count)
            queue = self.waiting.setdefault(target, [])
            queue.append(ticket)
            try:
                while True:
                    left = self.until - time.monotonic()
                    if left <= 0:
                        return "late"
                    if self.silent[target] >= SILENT_AFTER and self.taken[target] > 0:
                        return "silent"
                    if self.taken[target] < self.most and ticket == min(queue):
                        self.taken[target] += 1
                        return "asked"
                    self.changed.wait(left)
            finally:
                queue.remove(ticket)
                self.changed.notify_all()

    def heard(self, target: str, finished: CallFinished) -> None:
        with self.changed:
            timed_out = finished.error is not None and finished.error["code"] == "timeout"
            self.silent[target] = self.silent[target] + 1 if timed_out else 0
            self.changed.notify_all()


class _Answer:
    """One question that is under way or answered."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.finished: CallFinished | None = None
        self.at = 0.0

    def give(self, finished: CallFinished) -> None:
        self.finished, self.at = finished, time.monotonic()
        self.ready.set()

    def stale(self) -> bool:
        return self.ready.is_set() and time.monotonic() - self.at > FRESH


@dataclass(slots=True)
class Asking:
    """All questions of all playbooks. `scrub` sees each answer first, and counts what it took out."""

    sessions: Sessions
    turns: Turns
    scrub: Callable[[Json, Counter[str]], Json] = lambda answer, hits: answer
    hits: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    sent: int = 0
    answered: int = 0  # questions to which a target said anything, also no
    answers: dict[str, _Answer] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def perform(self, key: str, request: CallRequested, rank: int) -> CallFinished:
        with self.lock:
            self.asked += 1
            answer = self.answers.get(key)
            mine = answer is None or answer.stale()
            if mine or answer is None:
                answer = self.answers[key] = _Answer()
                self.sent += 1
        if mine:
            answer.give(self._ask(request, rank))
        answer.ready.wait(max(0.0, self.turns.until + request.deadline - time.monotonic()))
        return answer.finished or _unasked(request, "not_asked", "no answer came in time", "engine")

    def _ask(self, request: CallRequested, rank: int) -> CallFinished:
        place = f"{request.executor} {request.target}"
        with self.turns.turn(place, rank) as word:
            if word == "late":
                return _unasked(request, "not_asked", "its turn did not come in time", "engine")
            if word == "silent":
                said = f"not asked again: the last {SILENT_AFTER} questions to {request.target} got no answer"
                return _unasked(request, "timeout", said, "target")
            finished = self.sessions.perform(request)
            self.turns.heard(place, finished)
            with self.lock:
                self.answered += finished.error is None or finished.error["code"] not in (*CONNECTION_CODES, "error")
        answer, error = self.scrub(finished.answer, self.hits), self.scrub(finished.error, self.hits)
        return replace(finished, answer=answer, error=error)


def _unasked(request: CallRequested, code: str, message: str, made_by: Any) -> CallFinished:
    error = {"code": code, "message": message}
    return CallFinished(request.id, 0.0, 0.0, error=error, made_by=made_by, happened="no")


class OneRun(Sessions):
    """What the driver of one playbook sees of the shared sessions."""

    def __init__(self, asking: Asking, run: str, rank: int) -> None:
        super().__init__(asking.sessions.find, asking.sessions.executors, run=run)
        self._asking = asking
        self._rank = rank

    def perform(self, request: CallRequested) -> CallFinished:
        # Who is patient does not get an impatient one's timeout, nor a second sample the first one's answer.
        sample = request.id.rpartition("/")[2]
        key = f"{question(self.run, request)} {request.deadline:g} {sample}"
        finished = self._asking.perform(key, replace(request, id=f"{self.run}/{request.id}"), self._rank)
        return replace(finished, id=request.id)

    def cancel(self, call_id: str) -> None:
        """Others may wait for the same answer: its own deadline ends it."""

    def abandon(self, call_id: str) -> None:
        """Nothing is kept here."""


class Nobody(Person):
    """No person is asked."""

    def consent(self, gate: Any) -> Any:
        return "none", "", "nothing is changed"

    def answer(self, question: Any) -> Any:
        return None, "nobody", ""


def question(run: str, request: CallRequested) -> str:
    """What two playbooks ask alike, whatever the ids of their calls."""
    asked = [request.executor, request.target, request.overrides, request.request, request.bindings]
    return without_own_ids(run, json.dumps(asked, sort_keys=True, default=str))


class Memory(Journal):
    """The records of one run, kept in memory: no act ever follows from them. Earlier runs are only looked at."""

    def __init__(self, run: str, past: Journal | None) -> None:
        self.run = run
        self.past = past
        self.taken: list[Record] = []

    def start(self, playbook: str, environment: str, at: float, minimum_free: int = 0) -> str:
        return self.run

    def append(self, run: str, kind: str, data: Mapping[str, Json], at: float, durable: bool = True) -> Record:
        record = Record(run, len(self.taken) + 1, at, kind, dict(data), "")
        self.taken.append(record)
        return record

    def runs(self, limit: int = 50) -> list[Any]:
        return self.past.runs(limit) if self.past else []

    def records(self, run: str) -> list[Record]:
        return self.past.records(run) if self.past else []

    def close(self) -> None:
        """Nothing is open."""
