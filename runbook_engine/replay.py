"""Goes through a recorded run again: the same replies give the same events, so a run can go on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import RunbookError
from .events import (
    CallFinished,
    CallRequested,
    CallStarted,
    CancelRequested,
    Event,
    GateAnswered,
    GateRequested,
    Interrupted,
    QuestionRequested,
    Reply,
    RunFinished,
    RunResumed,
    WaitRequested,
    decode,
    encode,
    kind_of,
    with_taken_facts,
)
from .state import Run

Json = Any
REQUESTS = (CallRequested, WaitRequested, CancelRequested, GateRequested, QuestionRequested)
Mask = Callable[[Event], Mapping[str, Json]]
MAX_AGE = 15 * 60.0  # seconds after which evidence is not acted on any more


class ReplayError(RunbookError):
    """The recorded run cannot be gone through again with this engine."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where a recorded run stopped: the event that comes next, and whether it is in the journal already."""

    event: Event
    recorded: bool


def effective(records: Iterable[tuple[str, Mapping[str, Json]]]) -> list[Event]:
    """The events that count: what a resume declared void is left out."""
    kept: list[Event] = []
    for kind, data in records:
        event = decode(kind, data)
        if isinstance(event, RunResumed):
            del kept[event.kept :]
        else:
            kept.append(event)
    return with_taken_facts(kept)


def usable(events: Sequence[Event]) -> int:
    """How many events a resume keeps. A consent that was not followed by its intent is void, and so is a bare end."""
    keep = len(events)
    for place in range(len(events) - 1, -1, -1):
        event = events[place]
        if isinstance(event, CallRequested) and event.mode == "write":
            break
        if isinstance(event, GateAnswered):
            return place if event.verdict == "yes" else keep
    return keep


def open_intent(events: Sequence[Event]) -> CallRequested | None:
    """The write whose result nobody knows: its intent is there, its end is not, or its end says unknown."""
    writes = {event.id: event for event in events if isinstance(event, CallRequested) and event.mode == "write"}
    for event in events:
        if isinstance(event, CallFinished) and event.happened != "unknown":
            writes.pop(event.id, None)
    return next(reversed(writes.values()), None) if writes else None


def before_unknown(events: Sequence[Event]) -> list[Event]:
    """The events up to where the outcome of the open write became unknown, so that a person can settle it there.

    It became so by a reply that says it, or by somebody who left while it ran: what came after that is void.
    """
    intent = open_intent(events)
    if intent is None:
        return list(events)
    begun = events.index(intent)
    for place in range(begun, len(events)):
        event = events[place]
        if isinstance(event, Interrupted | RunFinished) or (isinstance(event, CallFinished) and event.id == intent.id):
            return list(events[:place])
    return list(events)


def before_interrupt(events: Sequence[Event]) -> list[Event] | None:
    """The events up to where a person stopped the run. None where it was not, or something was changed after that."""
    stops = [place for place, event in enumerate(events) if _stops(event)]
    if not stops:
        return None
    later = events[stops[0] :]
    if any(isinstance(event, CallRequested | CallFinished) and event.id in _writes(events) for event in later):
        return None
    kept = list(events[: stops[0]])
    return kept[: usable(kept)]


def _stops(event: Event) -> bool:
    interrupted = isinstance(event, GateAnswered) and event.verdict == "interrupted"
    return interrupted or isinstance(event, Interrupted) or getattr(event, "how", "") == "interrupted"


def _writes(events: Sequence[Event]) -> frozenset[str]:
    return frozenset(event.id for event in events if isinstance(event, CallRequested) and event.mode == "write")


def reads_in_flight(events: Sequence[Event]) -> list[CallRequested]:
    """Reads that had begun and not ended: a resume asks them again."""
    calls = {event.id: event for event in events if isinstance(event, CallRequested) and event.mode == "read"}
    for event in events:
        if isinstance(event, CallFinished) or kind_of(event) == "CallAbandoned":
            calls.pop(event.id, None)  # type: ignore[union-attr]  # both have an id
    return list(calls.values())


def replay(run: Run[RunFinished], recorded: Sequence[Event], mask: Mask = encode) -> Replayed:
    """Feed the recorded replies, and check that the same events come. `mask` is what the journal saw of an event."""
    waiting = iter(recorded)
    reply: Reply | None = None
    while True:
        event = run.send(reply)
        want = next(waiting, None)
        if want is None:
            return Replayed(event, recorded=False)
        if not same(event, want, mask):
            raise ReplayError(
                f"the journal has {kind_of(want)} where this engine gives {kind_of(event)}: it cannot go on"
            )
        reply = None
        if isinstance(event, REQUESTS):
            following = next(waiting, None)
            if following is None:
                return Replayed(event, recorded=True)
            reply = following  # type: ignore[assignment]  # what follows a request is its reply


def same(event: Event, recorded: Event, mask: Mask) -> bool:
    return kind_of(event) == kind_of(recorded) and canonical(mask(event)) == canonical(encode(recorded))


def canonical(data: Mapping[str, Json]) -> str:
    return json.dumps(data, sort_keys=True, default=str)


def last_time(events: Sequence[Event]) -> tuple[float, float]:
    """The newest clock reading: seconds of the run, and wall time."""
    at = [getattr(event, "at", 0.0) for event in events]
    wall = [getattr(event, "wall", 0.0) for event in events]
    return max(at, default=0.0), max(wall, default=0.0)


def started(events: Sequence[Event], call_id: str) -> bool:
    return any(isinstance(event, CallStarted) and event.id == call_id for event in events)
