"""A step that is `sensitive` gives its facts and leaves its answer nowhere; its run can be gone through even so."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_executor import interpreted, load, started
from test_driver import PLAYBOOK, Anna, drive, driver_for, recorded, store

from runbook_engine.cassette import read_cassette, write_cassette
from runbook_engine.errors import TargetError
from runbook_engine.events import CallFinished, Event, StepFinished
from runbook_engine.journal import Journal
from runbook_engine.rehearsal import rehearse
from runbook_engine.replay import replay

SECRET = "the customer's letter"
SENSITIVE = PLAYBOOK.replace(
    "  - {id: paused, fake: [GET, paused], facts: {paused: result}}",
    "  - {id: paused, fake: [GET, paused], facts: {paused: result}}\n"
    "  - {id: letter, sensitive: true, fake: [GET, letter], facts: {letters: result | length, odd: result * 2}}",
).replace("title: It is paused", 'title: "paused with ${{ letters }}"')


@pytest.fixture
def shown() -> list[Event]:
    return []


def driven(folder: Path, shown: list[Event], text: str = SENSITIVE, **values: Any) -> tuple[list[Event], str]:
    """The events of a run, and everything its state folder holds."""
    with closing(Journal.open(folder / "state")) as journal:
        driver = driver_for(journal, store(letter=SECRET, **values), Anna())
        driver.listeners = (shown.append,)
        assert drive(driver, text).outcome == "fixed"
        events = recorded(driver)
        kept = "\n".join(json.dumps(record.data) for record in journal.records(driver.run))
    return events, kept


def test_its_facts_are_taken_and_its_answer_is_nowhere(tmp_path: Path, shown: list[Event]) -> None:
    events, kept = driven(tmp_path, shown)
    finished = next(event for event in events if isinstance(event, StepFinished) and event.step == "letter")
    assert finished.facts["letters"] == len(SECRET)
    assert finished.unknown["odd"] == "the answer does not tell; it is sensitive and was dropped"
    assert SECRET not in kept
    assert SECRET not in repr(shown)
    for file in (tmp_path / "state").rglob("*"):
        assert not file.is_file() or SECRET.encode() not in file.read_bytes()


def test_a_step_that_is_not_sensitive_keeps_its_answer(tmp_path: Path, shown: list[Event]) -> None:
    """Else the test above could not fail."""
    _, kept = driven(tmp_path, shown, SENSITIVE.replace("sensitive: true, ", ""))
    assert SECRET in kept


def test_what_its_target_says_of_an_error_is_dropped_and_the_code_is_not(tmp_path: Path, shown: list[Event]) -> None:
    text = SENSITIVE.replace("odd: result * 2", "word: \"'ok' if not error else error.code\"")
    with closing(Journal.open(tmp_path / "state")) as journal:
        world = store()
        world.faults["GET letter"] = [TargetError("22P02", f"invalid input: {SECRET}")]
        driver = driver_for(journal, world)
        drive(driver, text)
        kept = "\n".join(json.dumps(record.data) for record in journal.records(driver.run))
    assert "22P02" in kept
    assert SECRET not in kept


def test_the_run_can_be_gone_through_again_from_everywhere(tmp_path: Path, shown: list[Event]) -> None:
    events, _ = driven(tmp_path, shown)
    loaded = load(SENSITIVE)
    start = events[0]
    assert any(isinstance(event, CallFinished) and event.dropped for event in events)
    for kept in range(len(events)):
        replay(interpreted(loaded, started(loaded, run=start.run)), events[:kept])  # type: ignore[union-attr]


def test_a_cassette_holds_the_facts_in_place_of_the_answer(tmp_path: Path, shown: list[Event]) -> None:
    events, _ = driven(tmp_path, shown)
    text = write_cassette(shown)
    assert SECRET not in text
    cassette = read_cassette(text, "kept.jsonl")

    class Cast:
        def call(self, request: Any) -> Any:
            return cassette.calls[request.id].line

        def gate(self, gate: Any) -> Any:
            return cassette.gates[gate.action]

        def question(self, question: Any) -> Any:
            return None

    loaded = load(SENSITIVE)
    again = rehearse(interpreted(loaded, started(loaded, run=events[0].run)), Cast())  # type: ignore[union-attr]
    taken = [event for event in again if isinstance(event, StepFinished) and event.step == "letter"]
    assert [event.facts["letters"] for event in taken] == [len(SECRET)]
