"""A recorded run is gone through again, from every place where it may have stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from fake_executor import Play, World, interpreted, load, play, started
from test_resolution import BUSY, CAUSE, EACH, HEAD, RESET, STEPS, UNPAUSE, two, world

from runbook_engine.events import (
    CallAbandoned,
    CallFinished,
    CallRequested,
    CallStarted,
    Event,
    GateAnswered,
    GateRequested,
    Interrupted,
    Reply,
    RunFinished,
    RunResumed,
    RunStarted,
    WaitRequested,
    encode,
    kind_of,
)
from runbook_engine.replay import (
    REQUESTS,
    ReplayError,
    before_unknown,
    canonical,
    effective,
    last_time,
    open_intent,
    reads_in_flight,
    replay,
    usable,
)

FIX = HEAD + CAUSE + UNPAUSE


def healthy() -> Play:
    return play(FIX, world(backlog=3))


def fixed() -> Play:
    return play(FIX, world())


def declined() -> Play:
    return play(FIX, world(), consent="no")


def lost() -> Play:
    store = world()
    store.faults["DEL paused"] = [RESET]
    return play(FIX, store)


def interrupted() -> Play:
    store = world()
    store.takes["paused"] = 3.0
    return play(FIX, store, interrupts=[(7.0, 1), (7.5, 2)])


def left() -> Play:
    store = world()
    store.takes["paused"] = 3.0
    return play(FIX, store, interrupts=[(7.0, 3)])


def undone() -> Play:
    return play(two(), world())


def stepwise() -> Play:
    store = world()
    store.faults["DEL paused"] = [BUSY]
    return play(HEAD + STEPS, store)


def batches() -> Play:
    text = HEAD + EACH.replace("BATCH", "batch: {canary: 1, size: 1, proceed: going}")
    return play(text, world(going=True, backlog=500))


def spent() -> Play:
    return play(FIX, World({"backlog": 500, "paused": True}, takes={"going": 90.0}), budget=5.0)


SHAPES: list[Callable[[], Play]] = [
    healthy,
    fixed,
    declined,
    lost,
    interrupted,
    left,
    undone,
    stepwise,
    batches,
    spent,
]


def journaled(events: list[Event]) -> list[Event]:
    """As they come out of a journal again."""
    return effective((kind_of(event), json.loads(json.dumps(encode(event)))) for event in events)


def again(events: list[Event]) -> Any:
    start = events[0]
    assert isinstance(start, RunStarted)
    return interpreted(load(start.text), start)


def go_on(run: Any, event: Event, replies: Iterator[Event]) -> Iterator[Event]:
    while True:
        reply = next(replies) if isinstance(event, REQUESTS) else None
        if reply is not None:
            yield reply
        try:
            event = run.send(reply)
        except StopIteration:
            return
        yield event


@pytest.mark.parametrize("shape", SHAPES)
def test_a_run_goes_on_from_every_prefix_of_its_journal_to_the_same_end(shape: Callable[[], Play]) -> None:
    recorded = journaled(shape().events)
    for kept in range(len(recorded)):
        run = again(recorded)
        stopped = replay(run, recorded[:kept])
        replies = (event for event in recorded[kept:] if isinstance(event, get_args(Reply)))
        told = recorded[:kept] + ([] if stopped.recorded else [stopped.event])
        told += list(go_on(run, stopped.event, replies))
        assert [canonical(encode(event)) for event in told] == [canonical(encode(event)) for event in recorded]


def test_an_engine_that_gives_other_events_does_not_go_on() -> None:
    recorded = journaled(fixed().events)
    place = next(index for index, event in enumerate(recorded) if isinstance(event, GateRequested))
    gate = recorded[place]
    assert isinstance(gate, GateRequested)
    recorded[place] = replace(gate, title="something else")
    with pytest.raises(ReplayError, match="it cannot go on"):
        replay(again(recorded), recorded)


def test_what_the_journal_masked_is_compared_masked() -> None:
    recorded = journaled(fixed().events)

    def masked(event: Event) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(json.dumps(encode(event)).replace("monday", "***"))
        return data

    hidden = effective((kind_of(event), masked(event)) for event in recorded)
    intent = next(index for index, event in enumerate(hidden) if getattr(event, "undo", None))
    seen = recorded[:intent] + hidden[intent : intent + 1]
    assert replay(again(recorded), seen, masked).recorded


def place_of(events: list[Event], kind: type[Any], **fields: Any) -> int:
    return next(
        place
        for place, event in enumerate(events)
        if isinstance(event, kind) and all(getattr(event, name) == value for name, value in fields.items())
    )


def test_a_consent_that_nobody_acted_on_is_void() -> None:
    events = journaled(fixed().events)
    answered = place_of(events, GateAnswered)
    intent = place_of(events, CallRequested, mode="write")
    assert usable(events[:answered]) == answered
    for kept in range(answered + 1, intent + 1):
        assert usable(events[:kept]) == answered
    assert usable(events[: intent + 1]) == intent + 1


def test_a_decline_stays_a_decline() -> None:
    events = journaled(declined().events)
    assert usable(events[:-1]) == len(events) - 1


def test_the_write_without_an_end_is_the_open_one() -> None:
    events = journaled(fixed().events)
    intent = place_of(events, CallRequested, mode="write")
    end = place_of(events, CallFinished, id="unpause/unpause/1/1")
    assert open_intent(events[:intent]) is None
    for kept in range(intent + 1, end + 1):
        found = open_intent(events[:kept])
        assert found is not None
        assert found.id == "unpause/unpause/1/1"
    assert open_intent(events[: end + 1]) is None


@pytest.mark.parametrize("shape", [lost, left])
def test_a_write_whose_end_nobody_knows_stays_open_after_the_run_has_ended(shape: Callable[[], Play]) -> None:
    events = journaled(shape().events)
    assert isinstance(events[-1], RunFinished)
    found = open_intent(events)
    assert found is not None
    kept = before_unknown(events)
    assert isinstance(kept[-1], WaitRequested)
    assert not any(isinstance(event, RunFinished | Interrupted) for event in kept)
    assert open_intent(kept) == found


@pytest.mark.parametrize("happened", [True, False])
@pytest.mark.parametrize("shape", [lost, left])
def test_a_person_settles_it_and_the_run_goes_on_without_sending_it_again(
    shape: Callable[[], Play], happened: bool
) -> None:
    played = shape()
    events = journaled(played.events)
    intent = open_intent(events)
    assert intent is not None
    run = again(events)
    stopped = replay(run, before_unknown(events))
    assert isinstance(stopped.event, WaitRequested)
    now = played.world.now
    error = None if happened else {"code": "settled", "message": "it did not happen"}
    settled = CallFinished(intent.id, now, now, answer={}, error=error, happened="yes" if happened else "no")
    store = world(paused=not happened)
    store.now = now
    rest = Play(store)
    event = run.send(settled)
    rest.events.append(event)
    rest.run(_after(run, event, rest))
    assert rest.end.outcome == "fixed"
    # What did not happen is asked for anew, at a gate of its own; what happened is not sent again.
    assert store.sent == ([] if happened else [["DEL", "paused"]])


def _after(run: Any, event: Event, rest: Play) -> Iterator[Any]:
    """The rest of a generator that has given its first event already."""
    reply = rest.reply_to(event)
    if reply is not None:
        rest.events.append(reply)
    while True:
        try:
            event = run.send(reply)
        except StopIteration:
            return
        reply = yield event


def test_reads_that_had_not_ended_are_asked_again_and_abandoned_ones_are_not() -> None:
    loaded = load(FIX)
    ask = CallRequested("a/1/1", "a", "", "fake", "store", {}, "read", "read", ["GET", "a"])
    other = replace(ask, id="b/1/1")
    events: list[Event] = [started(loaded), ask, CallStarted("a/1/1", 0.0, 0.0), other, CallAbandoned("b/1/1", "late")]
    assert [call.id for call in reads_in_flight(events)] == ["a/1/1"]
    assert reads_in_flight([*events, CallFinished("a/1/1", 1.0, 1.0)]) == []


def test_what_a_resume_declares_void_does_not_count() -> None:
    events = journaled(fixed().events)
    answered = place_of(events, GateAnswered)
    records = [(kind_of(event), encode(event)) for event in events[: answered + 1]]
    records += [("RunResumed", encode(RunResumed(answered, 9.0, 9.0)))]
    records += [(kind_of(event), encode(event)) for event in events[answered:]]
    assert effective(records) == events


def test_the_clock_goes_on_where_it_stopped() -> None:
    events = journaled(fixed().events)
    assert last_time(events)[0] == pytest.approx(fixed().end.at)
