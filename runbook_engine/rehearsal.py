"""A run without any target: the interpreter is driven by replies that were recorded or written down. Pure.

Time is virtual: a call takes the seconds its reply says, a wait takes none of ours. Nothing is opened, nothing is sent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

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
    QuestionAnswered,
    QuestionRequested,
    Reply,
    RunFinished,
    WaitElapsed,
    WaitRequested,
)
from .state import Run

Json = Any
MOST_EVENTS = 50_000  # a story that does not end by then never will


@dataclass(frozen=True, slots=True)
class Line:
    """What a target says to one call: an answer or an error, after how many seconds, and who it is.

    `seconds` of infinity: it says nothing as long as anybody waits.
    """

    answer: Json = None
    error: Mapping[str, Json] | None = None
    seconds: float = 0.05
    happened: Literal["yes", "no", "unknown"] = "yes"
    made_by: Literal["target", "engine"] = "target"
    identity: Mapping[str, Json] | None = None
    dropped: bool = False  # the step was sensitive: `answer` holds the facts that were taken from it


class Cast(Protocol):
    """Who answers in place of the targets and of the person."""

    def call(self, request: CallRequested) -> Line:
        """The reply of the target. Raises what a story cannot go on with."""

    def gate(self, gate: GateRequested) -> Literal["yes", "no", "none", "plan"]:
        """The person's answer at a gate."""

    def question(self, question: QuestionRequested) -> Json:
        """The person's answer, None when nobody answers."""


class EndlessStoryError(AssertionError):
    """The run went on beyond any measure."""


@dataclass(slots=True)
class Stage:
    """The virtual world of one rehearsal: its clock, and the calls whose end is still to come."""

    cast: Cast
    wall: float = 0.0
    now: float = 0.0
    coming: dict[str, tuple[float, CallFinished]] = field(default_factory=dict)

    def perform(self, event: Event) -> Reply | None:
        match event:
            case CallRequested():
                return self._call(event)
            case WaitRequested():
                return self._wait(event)
            case CancelRequested():
                return self._cancelled(event)
            case CallAbandoned():
                self.coming.pop(event.id, None)
            case GateRequested():
                verdict = self.cast.gate(event)
                return GateAnswered(event.id, event.digest, verdict, "rehearsal", "the case", self.now, self._wall())
            case QuestionRequested():
                value = self.cast.question(event)
                how: Literal["given", "nobody"] = "nobody" if value is None else "given"
                return QuestionAnswered(event.id, value, how, "rehearsal", self.now, self._wall())
            case _:
                pass
        return None

    def _wall(self) -> float:
        return self.wall + self.now

    def _call(self, request: CallRequested) -> CallStarted:
        line = self.cast.call(request)
        ends = self.now + line.seconds
        identity = line.identity or {"name": request.target, "facts": {"rehearsed": request.target}}
        finished = CallFinished(
            request.id,
            ends,
            self.wall + ends,
            answer=line.answer,
            error=line.error,
            made_by=line.made_by,
            happened=line.happened,
            identity=None if line.error else identity,
            seconds=line.seconds,
            dropped=line.dropped,
        )
        self.coming[request.id] = (ends, finished)
        return CallStarted(request.id, self.now, self._wall())

    def _cancelled(self, cancel: CancelRequested) -> CallFinished:
        ends, finished = self.coming.pop(cancel.id)
        if ends < math.inf:
            return finished
        error = {"code": "cancelled", "message": "cancelled, and no answer came"}
        return replace(finished, at=self.now, wall=self._wall(), error=error, happened="unknown", seconds=0.0)

    def _wait(self, wait: WaitRequested) -> Reply:
        """Whatever comes first: an answer, the end of the wait, the end of the budget."""
        answers = [(self.coming[each][0], each) for each in wait.ids if each in self.coming]
        first = min(((end, each) for end, each in answers if end < math.inf), default=None)
        until = self.now + wait.seconds if wait.seconds is not None else None
        spent = self.now + wait.budget if wait.budget is not None else None
        due = min((end for end in (until, spent) if end is not None), default=None)
        if first is not None and (due is None or first[0] <= due):
            self.now = max(self.now, first[0])
            return self.coming.pop(first[1])[1]
        if due is None:
            raise EndlessStoryError(f"the run waits for {', '.join(wait.ids)}, which never ended")
        self.now = due
        if until is not None and due == until:
            return WaitElapsed(self.now, self._wall())
        return BudgetSpent(self.now, self._wall())


def rehearse(run: Run[RunFinished], cast: Cast, wall: float = 0.0) -> list[Event]:
    """Every event and reply of the run, as a journal would hold them."""
    stage = Stage(cast, wall)
    events: list[Event] = []
    reply: Reply | None = None
    while len(events) < MOST_EVENTS:
        try:
            event = run.send(reply)
        except StopIteration:
            return events
        events.append(event)
        reply = stage.perform(event)
        if reply is not None:
            events.append(reply)
    raise EndlessStoryError(f"the run did not end within {MOST_EVENTS} events")
