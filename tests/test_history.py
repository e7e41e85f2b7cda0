"""What a run learns from the runs before it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fake_executor import load, started

from runbook_engine.events import ActionFinished, Event, RunFinished, RunResumed, StepFinished, encode, kind_of
from runbook_engine.history import baseline_names, baselines, recent_actions
from runbook_engine.journal import Journal

TEXT = """
runbook: 1
name: store-full
title: The store fills up
targets: {store: redis}
symptoms:
  - id: backlog
    fake: [GET, backlog]
    facts: {backlog: result}
    present: backlog > 3 * baseline('backlog', 100)
diagnosis:
  - {id: rate, when: "baseline('pace', 1) > 0", fake: [GET, rate], facts: {pace: result}}
"""
PLAYBOOK = load(TEXT).playbook
START = started(load(TEXT))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal.open(tmp_path / "state")) as opened:
        yield opened


def write(
    journal: Journal, *events: Event, at: float = 1.6e9, environment: str = "test", name: str = "store-full"
) -> str:
    run = journal.start(name, environment, at)
    for event in (START, *events):
        journal.append(run, kind_of(event), encode(event), at)
    return run


def facts(again: bool = False, **values: Any) -> StepFinished:
    return StepFinished("backlog", "symptoms", "", "store", values, {}, None, again=again)


def healthy(journal: Journal, backlog: Any, **more: Any) -> str:
    return write(journal, facts(backlog=backlog), RunFinished("healthy", 0, ""), **more)


def done(status: str = "done", verified: bool | None = True, held: bool | None = True) -> ActionFinished:
    return ActionFinished("unpause", "", "reversible", {}, status, "", "", (), verified, held, target="store")  # type: ignore[arg-type]


def test_the_facts_whose_healthy_value_is_asked_for_are_known_beforehand() -> None:
    assert baseline_names(PLAYBOOK) == {"backlog", "pace"}


def test_a_baseline_is_the_median_of_healthy_runs_here(journal: Journal) -> None:
    for value in (10, 30, 20):
        healthy(journal, value)
    healthy(journal, 9000, environment="other")
    healthy(journal, 9000, name="another")
    write(journal, facts(backlog=9000), RunFinished("fixed", 0, ""))
    write(journal, facts(backlog=9000))
    assert baselines(journal, PLAYBOOK, "test") == {"backlog": 20}


def test_only_the_last_twenty_healthy_runs_count_and_only_numbers(journal: Journal) -> None:
    for _ in range(5):
        healthy(journal, 1000)
    for _ in range(20):
        healthy(journal, 10)
    assert baselines(journal, PLAYBOOK, "test") == {"backlog": 10}
    for value in ("many", None, True):
        healthy(journal, value)
    assert baselines(journal, PLAYBOOK, "test") == {"backlog": 10}


def test_a_second_look_is_not_the_value_that_was_found(journal: Journal) -> None:
    write(journal, facts(backlog=7), facts(again=True, backlog=500), RunFinished("healthy", 0, ""))
    assert baselines(journal, PLAYBOOK, "test") == {"backlog": 7}


def test_no_history_gives_no_baseline(journal: Journal) -> None:
    assert baselines(journal, PLAYBOOK, "test") == {}


def test_recent_actions_are_newest_first_and_within_the_window(journal: Journal) -> None:
    write(journal, done(), at=1.6e9 - 5000)
    first = write(journal, done("failed", None, None), at=1.6e9 - 600)
    second = write(journal, done(), at=1.6e9 - 60)
    write(journal, done(), at=1.6e9 - 60, environment="other")
    found = recent_actions(journal, "test", 1.6e9, 3600)
    assert [(each["run"], each["status"], each["age"]) for each in found] == [
        (second, "done", 60.0),
        (first, "failed", 600.0),
    ]
    assert (found[0]["playbook"], found[0]["action"], found[0]["target"]) == ("store-full", "unpause", "store")


@pytest.mark.parametrize(
    ("verified", "held", "lasted"),
    [(True, True, True), (True, None, True), (True, False, False), (False, True, False), (None, None, False)],
)
def test_only_what_was_proved_and_did_not_relapse_has_lasted(
    journal: Journal, verified: bool | None, held: bool | None, lasted: bool
) -> None:
    write(journal, done("done", verified, held))
    assert [each["held"] for each in recent_actions(journal, "test", 1.6e9, 3600)] == [lasted]


def test_an_end_that_a_resume_declared_void_is_not_counted_twice(journal: Journal) -> None:
    unknown = done("unknown", None, None)
    write(journal, unknown, RunFinished("unknown", 6, ""), RunResumed(1, 2.0, 2.0), done(), RunFinished("fixed", 0, ""))
    assert [each["status"] for each in recent_actions(journal, "test", 1.6e9, 3600)] == ["done"]
