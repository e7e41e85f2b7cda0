"""`answered`: when a target answered, by the wall clock that came with the reply. Its own clock is judged by it."""

from __future__ import annotations

import pytest
from fake_executor import World, interpreted, load, play, started

from runbook_engine.errors import TargetError
from runbook_engine.events import CallFinished, CallRequested, CallStarted, Event, StepFinished, WaitRequested

TEXT = """
runbook: 1
name: clocks
title: Clocks differ
targets: {store: redis}
symptoms:
  - id: clock
    fake: [GET, clock]
    facts: {when_answered: answered, skew: result - answered}
    present: skew > 30 or skew < -30
"""


def test_the_clock_of_a_target_is_compared_with_the_middle_of_the_exchange() -> None:
    played = play(TEXT, World({"clock": lambda now: now + 100}, takes={"clock": 4.0}))
    facts = played.of(StepFinished)[0].facts
    assert facts["skew"] == pytest.approx(100, abs=0.01)


def test_each_sample_has_its_own_time() -> None:
    text = TEXT.replace("    fake:", "    sample: {times: 3, every: 10s}\n    fake:")
    text = text.replace("when_answered: answered", "when_answered: 'samples | map(attribute=\"answered\")'")
    facts = play(text, World({"clock": 0})).of(StepFinished)[0].facts
    first, second, third = facts["when_answered"]
    assert third - second == pytest.approx(second - first) and second - first >= 10


def test_a_target_that_does_not_answer_has_no_time() -> None:
    played = play(TEXT, World({}, faults={"GET clock": [TargetError("refused", "connection refused", "no")]}))
    assert "connection refused" in played.of(StepFinished)[0].unknown["when_answered"]


def test_it_is_the_recorded_wall_time_and_no_clock_of_the_process_that_replays_it() -> None:
    """The wall time may be of last year, and a leap of it between two replies is what it says."""
    loaded = load(TEXT)
    run = interpreted(loaded, started(loaded))
    event: Event = next(run)
    wall = 1_700_000_000.0
    while not isinstance(event, StepFinished):
        match event:
            case CallRequested():
                event = run.send(CallStarted(event.id, 1.0, wall))
            case WaitRequested():
                answer = {"result": wall + 42}
                event = run.send(CallFinished(event.ids[0], 5.0, wall + 4, answer=answer, seconds=4.0))
            case _:
                event = run.send(None)
    assert event.facts == {"when_answered": wall + 2, "skew": 40.0}
