"""Every resolution of `worker-crashes`, `job-failures` and `clear-queue`, carried out on a LinkFlow that is broken.

What is undone is compared with what was there before, to the byte.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_client
from carried_out import Trial, action_of, assert_fixed, broken

from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import wait_until
from runbook_engine.sandbox.broker import connect_redis, key
from runbook_engine.sandbox.crash_faults import add_archived
from runbook_engine.sandbox.identifiers import row_id
from runbook_engine.sandbox.postgres import connect_superuser
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State
from runbook_engine.sandbox.world import World

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-worker")]

PENDING, ARCHIVED = key("default", "pending"), key("default", "archived")
STUCK = """
insert into executions (id, workflow_id, workspace_id, status, trigger_type, started_at, timeout_seconds)
select md5('stuck-' || n)::uuid, %s, %s, 'running', 'manual', now() - interval '3 hours', 3600
from generate_series(1, 7) n
"""
ROWS = "select id, status, error_message, completed_at from executions where id::text = any(%s) order by id"


@pytest.fixture
def redis(sandbox: State) -> Iterator[redis_client.Redis]:
    with connect_redis(sandbox) as client:
        yield client


@pytest.fixture
def database(sandbox: State) -> Iterator[psycopg.Connection[Any]]:
    with connect_superuser(sandbox.postgres_port, sandbox.passwords["postgres"], "linkflow") as connection:
        yield connection


@pytest.fixture
def still(sandbox: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """The sandbox without anybody who sends jobs: what waits changes only by what a playbook does."""
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "state"))
    control.restore(sandbox)
    for service in ("load", "scheduler"):
        request(sandbox, {"service": service, "action": "stop"})
    yield World(sandbox, random.Random(7), control.quiet)
    control.restore(sandbox)


def waiting(world: World, **fields: Any) -> None:
    """Jobs in a queue that is paused, so that they stay where they are."""
    with world.redis() as client:
        client.set(key("default", "paused"), int(time.time()))
    world.pile_up(1200, 1500, **fields)


def failed(world: World, count: int) -> None:
    """Jobs that were archived a minute ago, by something that is over."""
    with world.redis() as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(count):
            add_archived(world, pipe, int(time.time()) - 60)
        pipe.execute()


def jobs(client: Any) -> dict[str, Any]:
    """The lists and sets of the default queue in their order, and every hash."""
    hashes = {name: client.hgetall(name) for name in client.scan_iter(key("default", "t:*"), count=1000)}
    states = (b"pending", b"archived")
    return {
        "pending": client.lrange(PENDING, 0, -1),
        "archived": sorted(client.zrange(ARCHIVED, 0, -1)),
        "hashes": {name: fields for name, fields in hashes.items() if fields.get(b"state") in states},
    }


@pytest.mark.parametrize(
    ("fault", "action"),
    [
        ("F39", "stop-evicting"),
        ("F45", "requeue-orphans"),
        ("F50", "archive-tasks"),
        ("F53", "stop-loop"),
        ("F54", "archive-tasks"),
        ("F62", "retry-archived"),
    ],
)
def test_the_resolution_mends_it_and_a_second_run_is_healthy(
    sandbox: State, tmp_path: Path, fault: str, action: str
) -> None:
    trial = broken(sandbox, tmp_path, fault)
    assert_fixed(trial.run(action), action)
    assert trial.again()["outcome"] == "healthy", (trial.document["reason"], trial.document["symptoms"])


def test_leaking_workers_are_restarted_and_the_run_says_that_the_cause_remains(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F51")
    document = trial.run("restart-workers")
    done = action_of(document, "restart-workers")
    assert (done["status"], document["outcome"]) == ("done", "diagnosed"), document["reason"]


def test_workers_that_nobody_starts_are_started_and_stopped_again_by_the_undo(sandbox: State, tmp_path: Path) -> None:
    control.restore(sandbox)
    control.break_(sandbox, "F31", 7)
    trial = Trial(sandbox, tmp_path, "worker-crashes")
    assert_fixed(trial.run("start-workers"), "start-workers")
    assert trial.undo()["outcome"] == "undone"
    assert request(sandbox, {"service": "worker", "action": "status"})["running"] == 0


def test_a_poison_job_that_is_given_back_is_archived_no_more(
    sandbox: State, tmp_path: Path, redis: redis_client.Redis
) -> None:
    trial = broken(sandbox, tmp_path, "F54")
    assert_fixed(trial.run("archive-tasks"), "archive-tasks")
    archived = redis.zcard(ARCHIVED)
    control.heal(sandbox)
    assert archived and trial.undo()["outcome"] == "undone"
    assert redis.zcard(ARCHIVED) == 0


def test_a_looping_job_is_out_of_the_workers_and_in_the_archive(
    sandbox: State, tmp_path: Path, redis: redis_client.Redis
) -> None:
    trial = broken(sandbox, tmp_path, "F53")
    assert_fixed(trial.run("stop-loop"), "stop-loop")
    assert redis.zcard(ARCHIVED) >= 3 and not redis.exists(key("default", "paused"))


def test_archived_jobs_run_again_five_first(still: World, tmp_path: Path, redis: redis_client.Redis) -> None:
    failed(still, 60)
    trial = Trial(still.state, tmp_path, "job-failures")
    assert_fixed(trial.run("retry-archived"), "retry-archived")
    assert redis.zcard(ARCHIVED) == 0
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]


def test_when_the_first_five_do_not_succeed_no_more_are_run_and_these_come_back(
    still: World, tmp_path: Path, redis: redis_client.Redis
) -> None:
    failed(still, 40)
    redis.set(key("default", "paused"), int(time.time()))
    before = jobs(redis)
    trial = Trial(still.state, tmp_path, "job-failures")
    document = trial.run("retry-archived")
    assert document["outcome"] == "not_fixed" and "between batches" in document["reason"], document["reason"]
    assert redis.llen(PENDING) == 5
    trial.undo()
    assert jobs(redis) == before


def test_hopeless_jobs_are_deleted_and_brought_back_from_their_file(
    still: World, tmp_path: Path, redis: redis_client.Redis
) -> None:
    failed(still, 60)
    before, scores = jobs(redis), redis.zrange(ARCHIVED, 0, -1, withscores=True)
    trial = Trial(still.state, tmp_path, "job-failures")
    assert_fixed(trial.run("delete-archived"), "delete-archived")
    assert jobs(redis)["hashes"] == {} and not redis.exists(ARCHIVED)
    assert trial.undo()["outcome"] == "undone"
    assert jobs(redis) == before and redis.zrange(ARCHIVED, 0, -1, withscores=True) == scores


def test_the_schedules_of_a_deleted_workflow_are_deactivated_and_activated_again(
    sandbox: State, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    active = "select id, is_active from schedules order by id"
    trial = broken(sandbox, tmp_path, "F61")
    before = database.execute(active).fetchall()
    document = trial.run("disable-schedules")
    assert action_of(document, "disable-schedules")["status"] == "done" and document["outcome"] == "diagnosed"
    assert sum(a != b for a, b in zip(before, database.execute(active).fetchall(), strict=True)) == 1
    assert trial.undo()["outcome"] == "undone"
    assert database.execute(active).fetchall() == before


def test_executions_of_crashed_workers_are_closed_and_opened_again(
    still: World, tmp_path: Path, database: psycopg.Connection[Any]
) -> None:
    database.execute(STUCK, (row_id("workflow", 3), row_id("workspace", 3)))
    ids = [[str(row[0]) for row in database.execute("select md5('stuck-' || n)::uuid from generate_series(1, 7) n")]]
    before = database.execute(ROWS, ids).fetchall()
    trial = Trial(still.state, tmp_path, "job-failures")
    assert_fixed(trial.run("close-stuck"), "close-stuck")
    assert {row[1] for row in database.execute(ROWS, ids).fetchall()} == {"failed"}
    assert trial.undo()["outcome"] == "undone"
    assert database.execute(ROWS, ids).fetchall() == before


def test_a_queue_is_paused_and_resumed(still: World, tmp_path: Path, redis: redis_client.Redis) -> None:
    still.turn(job_seconds=30.0)
    still.pile_up(1500, 1600)
    trial = Trial(still.state, tmp_path, "clear-queue")
    document = trial.run("pause-queue")
    assert action_of(document, "pause-queue")["status"] == "done" and document["outcome"] == "diagnosed"
    assert redis.exists(key("default", "paused"))
    assert trial.undo()["outcome"] == "undone" and not redis.exists(key("default", "paused"))


@pytest.mark.parametrize("action", ["quarantine", "delete-all"])
def test_the_undo_of_a_cleared_queue_is_exact(
    still: World, tmp_path: Path, redis: redis_client.Redis, action: str
) -> None:
    waiting(still)
    before = jobs(redis)
    trial = Trial(still.state, tmp_path, "clear-queue")
    assert_fixed(trial.run(action), action)
    assert redis.llen(PENDING) == 0
    assert Trial(still.state, tmp_path, "clear-queue").run("")["outcome"] == "healthy"
    assert trial.undo()["outcome"] == "undone"
    assert jobs(redis) == before


def test_only_the_jobs_of_one_workflow_are_deleted_and_brought_back(
    still: World, tmp_path: Path, redis: redis_client.Redis
) -> None:
    redis.set(key("default", "paused"), int(time.time()))
    still.pile_up(50, 60, workflow=2)
    others = redis.llen(PENDING)  # with what was under way when the load was stopped
    waiting(still, workflow=1)
    before = jobs(redis)
    trial = Trial(still.state, tmp_path, "clear-queue", {"workflow": row_id("workflow", 1)})
    assert_fixed(trial.run("delete-chosen"), "delete-chosen")
    assert 50 <= redis.llen(PENDING) <= others
    assert trial.undo()["outcome"] == "undone"
    after = jobs(redis)
    assert after["hashes"] == before["hashes"] and sorted(after["pending"]) == sorted(before["pending"])


def test_what_was_set_aside_is_deleted_and_brought_back(
    still: World, tmp_path: Path, redis: redis_client.Redis
) -> None:
    waiting(still)
    first = Trial(still.state, tmp_path, "clear-queue")
    assert_fixed(first.run("quarantine"), "quarantine")
    aside = key("default", f"rbq:{first.document['run']}")
    before = redis.lrange(aside, 0, -1)
    trial = Trial(still.state, tmp_path, "clear-queue", {"set_aside": first.document["run"]})
    assert_fixed(trial.run("delete-set-aside"), "delete-set-aside")
    assert jobs(redis)["hashes"] == {} and not redis.exists(aside)
    assert trial.undo()["outcome"] == "undone"
    assert redis.lrange(aside, 0, -1) == before


def test_a_full_redis_is_cleared_all_the_same(still: World, tmp_path: Path, redis: redis_client.Redis) -> None:
    waiting(still)
    before = jobs(redis)
    redis.config_set("maxmemory", "1mb")
    trial = Trial(still.state, tmp_path, "clear-queue")
    assert_fixed(trial.run("quarantine"), "quarantine")
    assert trial.undo()["outcome"] == "undone" and jobs(redis) == before
    assert_fixed(trial.run("delete-all"), "delete-all")
    redis.config_set("maxmemory", "64mb")
    assert trial.undo()["outcome"] == "undone" and jobs(redis) == before


def test_a_wrong_address_is_told_and_nothing_is_started(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F52")
    document = trial.run("*")
    assert document["outcome"] == "diagnosed" and document["causes"][0]["id"] == "dependency-fatal"
    assert not [action for action in document["actions"] if action["status"] == "done"]
    control.heal(sandbox)
    wait_until(lambda: trial.run("")["outcome"] == "healthy", "a healthy run", 60)
