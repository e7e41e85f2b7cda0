"""Every resolution of `schedules-not-running`, carried out on a LinkFlow that is really broken, and taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_client
from carried_out import Trial, Wanting, action_of, assert_fixed, broken

from runbook_engine.catalog import find_playbook, folders, libraries_for
from runbook_engine.events import Event, encode, kind_of
from runbook_engine.journal import Journal
from runbook_engine.loader import load_playbook
from runbook_engine.policy import Policy
from runbook_engine.report import fold
from runbook_engine.runner import Setting, begin, execute
from runbook_engine.sandbox import control
from runbook_engine.sandbox.broker import connect_redis
from runbook_engine.sandbox.cron import next_run
from runbook_engine.sandbox.faults import find_fault
from runbook_engine.sandbox.knobs import turn
from runbook_engine.sandbox.postgres import connect_superuser
from runbook_engine.sandbox.scheduler import BACKPRESSURE, LEADER
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State
from runbook_engine.targets import load_environment

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-scheduler")]

SCHEDULES = """
select id::text, name, cron_expression, is_active, next_run_at, last_run_at, run_count, deleted_at from schedules
"""


@pytest.fixture(autouse=True)
def restored(sandbox: State) -> Iterator[None]:
    yield
    control.restore(sandbox)


@pytest.fixture
def redis(sandbox: State) -> Iterator[redis_client.Redis]:
    client = connect_redis(sandbox)
    yield client
    client.close()


@pytest.fixture
def database(sandbox: State) -> Iterator[psycopg.Connection[Any]]:
    with connect_superuser(sandbox.postgres_port, sandbox.passwords["postgres"], "linkflow") as connection:
        yield connection


def schedules(database: psycopg.Connection[Any]) -> dict[str, tuple[Any, ...]]:
    return {row[0]: row[1:] for row in database.execute(SCHEDULES).fetchall()}


def trial_of(sandbox: State, folder: Path, fault: str) -> Trial:
    trial = broken(sandbox, folder, fault)
    trial.inputs.update(find_fault(fault).inputs)
    return trial


def scheduler(sandbox: State, action: str) -> dict[str, Any]:
    return request(sandbox, {"service": "scheduler", "action": action})


def mended(trial: Trial, action: str) -> dict[str, Any]:
    """The fault is fixed by that action alone and a second run is healthy; the trial is then as after the first."""
    fixed = trial.run(action)
    assert_fixed(fixed, action)
    events = trial.events
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]
    trial.events, trial.document = events, fixed
    return fixed


def test_a_schedule_whose_workflow_is_gone_is_contained_and_can_be_switched_on_again(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    trial = trial_of(sandbox, tmp_path, "F126")
    before = schedules(database)
    document = trial.run("disable-reported")
    assert action_of(document, "disable-reported")["status"] == "done" and document["outcome"] == "diagnosed"
    reported = trial.inputs["schedule"]
    assert schedules(database)[reported][2] is False
    trial.undo()
    assert schedules(database)[reported] == before[reported]


def test_the_number_of_runs_that_a_restart_skips_is_known_before_it(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    trial = trial_of(sandbox, tmp_path, "F113")
    stale = "select count(*) from schedules where is_active and next_run_at < now() - interval '60 seconds'"
    row = database.execute(stale).fetchone()
    assert row and row[0] in (1, 2)
    document = mended(trial, "restart-scheduler")
    assert action_of(document, "restart-scheduler")["impact"].startswith(f"{row[0]} runs are SKIPPED for ever")
    skipped = [
        line for line in sandbox.log_file("scheduler").read_text().splitlines() if "Recovered stale schedule" in line
    ]
    assert len(skipped) == row[0]


def test_starting_the_scheduler_is_taken_back_by_stopping_it(
    sandbox: State, tmp_path: Path, redis: redis_client.Redis
) -> None:
    trial = trial_of(sandbox, tmp_path, "F110")
    mended(trial, "start-scheduler")
    trial.undo()
    assert scheduler(sandbox, "status")["running"] == 0
    assert redis.get(LEADER) is None


def test_freeing_the_lock_is_taken_back_only_while_nobody_leads(
    sandbox: State, tmp_path: Path, redis: redis_client.Redis
) -> None:
    trial = trial_of(sandbox, tmp_path, "F111")
    ghost = redis.get(LEADER)
    mended(trial, "free-leader-lock")
    leader = redis.get(LEADER)
    trial.undo()
    assert redis.get(LEADER) == leader != ghost and redis.pttl(LEADER) > 0
    scheduler(sandbox, "stop")
    trial.undo()
    assert (redis.get(LEADER), redis.pttl(LEADER)) == (ghost, -1)


def test_a_key_that_was_moved_away_comes_back_whole(sandbox: State, tmp_path: Path, redis: redis_client.Redis) -> None:
    trial = trial_of(sandbox, tmp_path, "F111b")
    before = redis.dump(LEADER)
    mended(trial, "move-leader-key")
    scheduler(sandbox, "stop")
    trial.undo()
    assert redis.dump(LEADER) == before and not redis.keys("rb:moved:*")


def test_the_phantom_list_comes_back_whole(sandbox: State, tmp_path: Path, redis: redis_client.Redis) -> None:
    trial = trial_of(sandbox, tmp_path, "F118")
    before = redis.lrange(BACKPRESSURE, 0, -1)
    mended(trial, "remove-phantom-list")
    assert redis.exists(BACKPRESSURE) == 0
    trial.undo()
    assert redis.lrange(BACKPRESSURE, 0, -1) == before and not redis.keys("rb:moved:*")


def test_a_runaway_that_was_switched_off_fires_again_after_the_undo(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    trial = trial_of(sandbox, tmp_path, "F117")
    before = {row: values[2] for row, values in schedules(database).items()}
    mended(trial, "disable-schedule")
    after = {row: values[2] for row, values in schedules(database).items()}
    assert [row for row in after if after[row] != before[row]] == [
        row for row, values in schedules(database).items() if values[0] == "Month end"
    ]
    trial.undo()
    assert {row: values[2] for row, values in schedules(database).items()} == before


def test_a_resumed_schedule_is_paused_again(sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]) -> None:
    trial = trial_of(sandbox, tmp_path, "F115")
    reported = trial.inputs["schedule"]
    before = schedules(database)[reported]
    mended(trial, "resume-schedule")
    trial.undo()
    assert schedules(database)[reported] == before


@pytest.mark.parametrize("fault", ["F116", "F125"])
def test_linkflow_computes_the_times_that_are_missing_or_wrong(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any], fault: str
) -> None:
    trial = trial_of(sandbox, tmp_path, fault)
    before = schedules(database)
    names = set(action_of(mended(trial, "recompute-next-run"), "recompute-next-run")["items"])
    changed = {row for row, values in before.items() if values[0] in names}
    after = schedules(database)
    assert changed and all(after[row][3] == next_run(before[row][1], datetime.now(UTC)) for row in changed)


@pytest.mark.parametrize("fault", ["F116", "F125"])
def test_computed_times_that_do_not_help_go_back_to_what_they_were(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any], fault: str
) -> None:
    trial = trial_of(sandbox, tmp_path, fault)
    before = schedules(database)
    run_impatiently(trial, "*", "until: still_unplanned == 0, within: 30s", "until: still_unplanned < 0, within: 1s")
    done = action_of(trial.document, "recompute-next-run")
    assert (done["status"], trial.document["outcome"]) == ("undone", "not_fixed")
    after = schedules(database)
    changed = [row for row, values in before.items() if values[0] in done["items"]]
    assert changed and [after[row] for row in changed] == [before[row] for row in changed]


def test_runs_that_are_caught_up_are_spread_and_happen_once(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    trial = trial_of(sandbox, tmp_path, "F121")
    before = schedules(database)
    missed = {row for row, values in before.items() if values[4] is not None}
    document = mended(trial, "catch-up")
    assert len(action_of(document, "catch-up")["items"]) == len(missed)
    after = schedules(database)
    assert all(after[row][5] == before[row][5] + 1 for row in missed)
    assert all(after[row][4] is not None for row in missed)
    ran = sorted(after[row][4] for row in missed)
    assert (ran[-1] - ran[0]).total_seconds() > 0.05 * (len(ran) - 1), "at once, as the guide would have it"


def test_what_has_not_run_yet_goes_back_to_its_own_time(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    """The polls hang: nothing runs, and whoever takes the catching up back finds the very times from before."""
    trial = trial_of(sandbox, tmp_path, "F121")
    before = schedules(database)
    missed = {row for row, values in before.items() if values[4] is not None}
    hang(sandbox)
    run_impatiently(trial, "catch-up", "within: 5m", "within: 1s")
    moved = schedules(database)
    assert action_of(trial.document, "catch-up")["status"] == "done" and trial.document["outcome"] == "not_fixed"
    assert all(moved[row][3] != before[row][3] for row in missed)
    trial.undo()
    assert schedules(database) == before


def hang(sandbox: State) -> None:
    turn(sandbox.folder, poll_hangs_before=time.time())
    time.sleep(0.3)  # the poll that has begun


def run_impatiently(trial: Trial, wanted: str, patience: str, less: str) -> None:
    """The playbook, but not willing to wait: that its fix comes to nothing is what the test wants to see."""
    places = folders({}, Path("/nonexistent"))
    entry = find_playbook(trial.playbook, places)
    assert patience in entry.text
    text = entry.text.replace(patience, less)
    loaded = load_playbook(text, str(entry.path), libraries=libraries_for(text, places, entry.path))
    environment = load_environment(None, environ={}, folders=[], file=trial.state.folder / "runbook.yaml")
    person = Wanting(Policy(), answers={}, terminal=lambda: None)
    person.wanted = wanted
    events: list[Event] = []
    with closing(Journal.open(trial.folder)) as journal:
        setting = Setting(environment, journal, (events.append,))
        execute(replace(begin(loaded, setting, given=trial.inputs), history=()), loaded, setting, person)
    trial.events, trial.document = events, fold([(kind_of(event), encode(event)) for event in events])
