"""The stand-in for LinkFlow's scheduler, its faults, and the clocks that its playbook compares."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
import redis as redis_client

from runbook_engine.matrix import load
from runbook_engine.ranking import rank
from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import wait_until
from runbook_engine.sandbox.broker import connect_redis
from runbook_engine.sandbox.cron import NEVER, next_run
from runbook_engine.sandbox.identifiers import row_id
from runbook_engine.sandbox.postgres import connect_superuser
from runbook_engine.sandbox.schedule_acts import REPORTED
from runbook_engine.sandbox.schedule_faults import FAULTS
from runbook_engine.sandbox.scheduler import BACKPRESSURE, LEADER
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")

LATE = """
select count(*) from schedules
where is_active and deleted_at is null and next_run_at between '2000-01-01' and now() - interval '6 seconds'
"""


@pytest.fixture
def linkflow(sandbox: State) -> Iterator[State]:
    """The session's sandbox, healthy before and after."""
    control.restore(sandbox)
    yield sandbox
    control.restore(sandbox)


@pytest.fixture
def redis(linkflow: State) -> Iterator[redis_client.Redis]:
    client = connect_redis(linkflow)
    yield client
    client.close()


@pytest.fixture
def database(linkflow: State) -> Iterator[psycopg.Connection[Any]]:
    with connect_superuser(linkflow.postgres_port, linkflow.passwords["postgres"], "linkflow") as connection:
        yield connection


def number(database: psycopg.Connection[Any], statement: str, *arguments: Any) -> int:
    row = database.execute(statement.encode(), arguments or None).fetchone()
    assert row
    return int(row[0])


def act(state: State, service: str, action: str, **details: Any) -> dict[str, Any]:
    return request(state, {"service": service, "action": action, **details})


def said(state: State, message: str) -> list[dict[str, Any]]:
    lines = state.log_file("scheduler").read_text().splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in found if line["message"] == message]


def nothing_late(database: psycopg.Connection[Any]) -> None:
    wait_until(lambda: number(database, LATE) == 0, "nothing to be late", 15)


def test_a_cron_line_that_never_matches_is_due_in_year_one() -> None:
    assert next_run("0 0 31 2 *", datetime(2026, 1, 1, tzinfo=UTC)) == NEVER
    assert next_run("0 0 29 2 *", datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)


def test_every_fault_is_of_this_playbook_and_names_actions_that_it_has() -> None:
    playbook = load("schedules-not-running").playbook
    causes = {cause.id for cause in playbook.causes}
    actions = {action.id for action in playbook.resolution}
    for fault in FAULTS:
        assert fault.playbook == playbook.name and set(fault.expect) <= causes
        assert set(fault.helps) | set(fault.harmful) <= actions, fault.id


def test_a_killed_leader_keeps_its_lock_for_a_while_and_a_standby_takes_over_by_itself(
    linkflow: State, redis: redis_client.Redis, database: psycopg.Connection[Any]
) -> None:
    dead = redis.get(LEADER)
    control.break_(linkflow, "F112", seed=1)
    assert act(linkflow, "scheduler", "status")["running"] == 1
    assert redis.get(LEADER) == dead and 0 < redis.pttl(LEADER) <= 3000
    nothing_late(database)
    assert redis.get(LEADER) not in (dead, None)
    assert said(linkflow, "Leadership acquired")


def test_an_immortal_lock_is_taken_by_nobody_until_it_is_removed(
    linkflow: State, redis: redis_client.Redis, database: psycopg.Connection[Any]
) -> None:
    control.break_(linkflow, "F111", seed=1)
    assert act(linkflow, "scheduler", "status")["running"] == 2 and redis.pttl(LEADER) == -1
    assert number(database, LATE) > 0
    redis.delete(LEADER)
    nothing_late(database)
    assert redis.pttl(LEADER) > 0


@pytest.mark.parametrize("fault", ["F113", "F114"])
def test_a_poll_that_hangs_or_waits_leaves_the_leader_in_office(
    linkflow: State, redis: redis_client.Redis, database: psycopg.Connection[Any], fault: str
) -> None:
    control.break_(linkflow, fault, seed=1)
    leader, late = redis.get(LEADER), number(database, LATE)
    time.sleep(3.2)  # longer than the lock runs
    assert redis.get(LEADER) == leader and redis.pttl(LEADER) > 0
    assert number(database, LATE) >= late > 0


def test_what_is_missed_by_more_than_ten_minutes_is_skipped_when_a_scheduler_comes_back(
    linkflow: State, database: psycopg.Connection[Any]
) -> None:
    runs = "select sum(run_count) from schedules where last_run_at < now() - interval '1 day'"
    control.break_(linkflow, "F121", seed=1)
    skipped = said(linkflow, "Recovered stale schedule")
    missed = "select count(*) from schedules where last_run_at < now() - interval '1 day' and next_run_at > now()"
    assert len(skipped) == number(database, missed) >= 4
    before = number(database, runs)
    time.sleep(0.5)
    assert number(database, runs) == before


def test_a_line_for_the_31st_of_february_fires_at_every_poll_until_it_is_inactive(
    linkflow: State, database: psycopg.Connection[Any]
) -> None:
    control.break_(linkflow, "F117", seed=1)
    fired = "select run_count from schedules where name = 'Month end' and next_run_at < '2000-01-01'"
    before = number(database, fired)
    wait_until(lambda: number(database, fired) >= before + 5, "five more runs", 10)
    database.execute("update schedules set is_active = false where name = 'Month end'")
    time.sleep(0.3)
    after = number(database, fired)
    time.sleep(0.5)
    assert number(database, fired) == after


def test_ten_thousand_items_in_the_wrong_list_pause_everything_until_half_of_them_are_gone(
    linkflow: State, redis: redis_client.Redis, database: psycopg.Connection[Any]
) -> None:
    control.break_(linkflow, "F118", seed=1)
    late = number(database, LATE)
    redis.ltrim(BACKPRESSURE, 0, 5999)
    time.sleep(0.5)
    assert number(database, LATE) >= late > 0
    redis.ltrim(BACKPRESSURE, 0, 4998)
    nothing_late(database)


def test_a_workspace_sends_a_hundred_a_minute_and_the_others_are_not_held_back(
    linkflow: State, redis: redis_client.Redis, database: psycopg.Connection[Any]
) -> None:
    control.break_(linkflow, "F119", seed=1)
    limits = redis.keys("scheduler:ratelimit:workspace:workspace:*")
    assert max(redis.zcard(name) for name in limits) <= 100
    assert number(database, LATE) > 300
    wait_until(lambda: any(line["skipped"] > 0 for line in said(linkflow, "Poll completed")), "a skipped one", 10)
    other = row_id("schedule", 6)
    database.execute("update schedules set next_run_at = '2020-01-01', last_run_at = now() where id = %s", [other])
    ran = "select run_count from schedules where id = %s and next_run_at > now()"
    wait_until(lambda: database.execute(ran, [other]).fetchone(), "a schedule of somebody else", 10)


def test_a_moment_late_is_ordinary(linkflow: State, database: psycopg.Connection[Any]) -> None:
    control.break_(linkflow, "F123", seed=1)
    assert number(database, LATE) == 0


def post(state: State, schedule: int, word: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", state.api_port, timeout=10)
    workspace, row = row_id("workspace", schedule % 20), row_id("schedule", schedule)
    try:
        connection.request("POST", f"/api/v1/workspaces/{workspace}/schedules/{row}/{word}")
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def test_resuming_through_the_api_computes_the_next_time(linkflow: State, database: psycopg.Connection[Any]) -> None:
    control.break_(linkflow, "F115", seed=1)
    stale = "update schedules set next_run_at = null where id = %s"
    database.execute(stale, [row_id("schedule", REPORTED)])
    assert post(linkflow, REPORTED, "resume")[0] == 200
    row = database.execute(
        "select is_active, cron_expression, next_run_at from schedules where id = %s", [row_id("schedule", REPORTED)]
    ).fetchone()
    assert row and row[0] and row[2] == next_run(row[1], datetime.now(UTC))
    assert post(linkflow, REPORTED, "pause")[0] == 200
    assert number(database, "select is_active::int from schedules where id = %s", row_id("schedule", REPORTED)) == 0


def test_a_cron_line_that_cannot_be_read_is_not_resumed_and_a_deleted_schedule_is_not_found(
    linkflow: State, database: psycopg.Connection[Any]
) -> None:
    schedule = row_id("schedule", 8)
    database.execute("update schedules set cron_expression = '*/5 * *', is_active = false where id = %s", [schedule])
    try:
        assert post(linkflow, 8, "resume")[0] == 400
    finally:
        database.execute("update schedules set cron_expression = '8 8 * * *' where id = %s", [schedule])
    control.break_(linkflow, "F115b", seed=1)
    assert post(linkflow, REPORTED, "resume")[0] == 404


def test_restore_leaves_every_schedule_as_it_was_planned(
    linkflow: State, redis: redis_client.Redis, database: psycopg.Connection[Any]
) -> None:
    for fault in ("F116", "F125", "F126", "F115b", "F119"):
        control.break_(linkflow, fault, seed=3)
    redis.set(LEADER, "by-hand")
    control.restore(linkflow)
    active = "select count(*) from schedules where is_active and deleted_at is null and next_run_at > now()"
    assert (number(database, active), number(database, "select count(*) from schedules")) == (45, 50)
    assert number(database, "select count(*) from workflows where deleted_at is not null") == 0
    assert redis.pttl(LEADER) > 0


FACTS = {"redis_write": "ok", "db_state": "ok", "leader_state": "alive", "overdue": 3, "skew_max": 30.0}


@pytest.mark.parametrize(
    ("database_ahead", "redis_ahead", "verdict"),
    [(-95.0, 0.1, "confirmed"), (0.2, 64.0, "confirmed"), (40.0, 40.2, "suspected"), (0.4, -0.3, "refuted")],
)
def test_clocks_that_differ_are_told_from_our_own_clock_being_wrong(
    database_ahead: float, redis_ahead: float, verdict: str
) -> None:
    causes = load("schedules-not-running").playbook.causes
    skew = next(cause for cause in causes if cause.id == "clock-skew")
    found = rank((skew,), {**FACTS, "db_skew": database_ahead, "redis_skew": redis_ahead})
    assert found[0].verdict == verdict, found[0]
