"""The sandbox's faults: each shows what it is, nothing else, goes away by the fix that helps, and leaves no trace."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import redis as redis_client

from runbook_engine.asynq.wire import decode_task_message, decode_worker_info
from runbook_engine.errors import UsageError
from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import look, wait_until
from runbook_engine.sandbox.broker import connect_redis, key
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    folder = tmp_path_factory.mktemp("sandbox")
    state = control.up(folder, pace=0.1, seed=1, tied=True)
    try:
        yield state
    finally:
        control.down(folder)


@pytest.fixture
def sandbox(running: State) -> Iterator[State]:
    """The running sandbox, healthy before and after."""
    yield running
    control.restore(running)


@pytest.fixture
def redis(sandbox: State) -> Iterator[redis_client.Redis]:
    client = connect_redis(sandbox)
    yield client
    client.close()


@pytest.fixture
def database(sandbox: State) -> Iterator[psycopg.Connection[Any]]:
    """A session with the rights the engine has."""
    with psycopg.connect(sandbox.postgres_dsn("runbook", "runbook"), autocommit=True) as connection:
        yield connection


def act(state: State, service: str, action: str, **details: Any) -> dict[str, Any]:
    return request(state, {"service": service, "action": action, **details})


def wait_draining(state: State) -> None:
    before, by = look(state).pending, 300
    wait_until(lambda: look(state).pending <= max(before - by, 0), f"{by} jobs less than {before}", 30)


def test_the_catalogue_names_causes_and_actions_and_every_id_once() -> None:
    found = control.faults()
    assert len({fault.id for fault in found}) == len(found) >= 88
    assert all(fault.title and fault.imitates for fault in found)
    assert [fault.id for fault in found if not fault.expect] == ["F123"]  # it only looks like one
    assert all(not set(fault.helps) & set(fault.harmful) for fault in found)


def test_an_unknown_fault_is_refused_with_the_known_ones(sandbox: State) -> None:
    with pytest.raises(UsageError, match="Known: F01, F02"):
        control.break_(sandbox, "F99")


@pytest.mark.parametrize("fault", ["F32", "F33", "F35a"])
def test_a_fault_shows_at_once_is_on_record_and_can_be_taken_back(
    sandbox: State, redis: redis_client.Redis, fault: str
) -> None:
    control.break_(sandbox, fault, seed=7)
    assert redis.llen(key("default", "pending")) > 1000
    assert [entry["id"] for entry in control.status(sandbox.folder)["faults"]] == [fault]
    assert control.heal(sandbox) == (fault,)
    assert control.status(sandbox.folder)["faults"] == []


def test_an_active_fault_is_not_injected_twice(sandbox: State) -> None:
    control.break_(sandbox, "F80", seed=1)
    with pytest.raises(UsageError, match="F80 is active already"):
        control.break_(sandbox, "f80", seed=1)


def test_the_same_seed_gives_the_same_size(sandbox: State) -> None:
    said: list[str] = []
    for seed in (3, 3, 4):
        control.break_(sandbox, "F32", seed, said.append)
        control.restore(sandbox)
    sizes = [line for line in said if "piled up" in line]
    assert sizes[0] == sizes[1] != sizes[2]


def test_killed_workers_leave_orphans_and_starting_them_drains_the_queue(
    sandbox: State, redis: redis_client.Redis
) -> None:
    control.break_(sandbox, "F30", seed=1)
    assert look(sandbox).capacity == 0
    assert redis.llen(key("default", "active")) >= 5
    status = act(sandbox, "worker", "status")
    assert (status["running"], status["desired"], status["exit_code"]) == (0, 2, 137)
    act(sandbox, "worker", "start")
    wait_draining(sandbox)


def test_stopped_workers_leave_no_orphans(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F31", seed=1)
    assert look(sandbox).capacity == 0 and redis.llen(key("default", "active")) == 0
    assert act(sandbox, "worker", "status")["exit_code"] == 0


def test_a_paused_queue_keeps_its_workers_and_drains_when_resumed(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F32", seed=1)
    assert look(sandbox).capacity == 10
    paused = redis.get(key("default", "paused"))
    assert paused and time.time() - 3700 < int(paused) < time.time()
    redis.delete(key("default", "paused"))
    wait_draining(sandbox)


def test_refused_jobs_wait_in_retry_with_the_reason(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F34", seed=1)
    assert redis.zcard(key("default", "retry")) > redis.llen(key("default", "pending"))
    wait_until(lambda: int(redis.get(key("default", "failed")) or 0) > 20, "fresh failures", 10)
    newest = redis.zrange(key("default", "retry"), -1, -1)[0].decode()  # type: ignore[union-attr]  # without decoding, bytes
    assert "429 Too Many Requests" in decode_task_message(redis.hget(key("default", f"t:{newest}"), "msg")).error_msg  # type: ignore[arg-type]  # bytes as well


def test_scaling_gives_too_few_workers_more_slots(sandbox: State) -> None:
    control.break_(sandbox, "F35b", seed=1)
    assert look(sandbox).capacity == 2
    act(sandbox, "worker", "scale", replicas=5)
    assert look(sandbox).capacity == 5


def test_emails_pile_up_while_everything_else_is_served(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F36", seed=1)
    assert redis.llen(key("emails", "pending")) > 1000 and redis.llen(key("default", "pending")) < 100
    control.heal(sandbox)
    assert not redis.keys("asynq:{emails}:*")


def test_hanging_jobs_pass_their_deadline_and_run_after_a_restart(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F38", seed=1)
    rows = [decode_worker_info(raw) for name in redis.keys("asynq:workers:*") for raw in redis.hvals(name)]  # type: ignore[arg-type]  # without decoding, bytes
    assert len(rows) == 10 and all(row.deadline < time.time() for row in rows)
    act(sandbox, "worker", "restart")
    wait_draining(sandbox)


def test_a_full_redis_refuses_writes_and_hides_living_workers(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F40", seed=1)
    assert look(sandbox).capacity == 0 and act(sandbox, "worker", "status")["running"] == 2
    assert look(sandbox).health == 200, "LinkFlow's own health only pings"
    with pytest.raises(redis_client.exceptions.OutOfMemoryError):
        redis.set("rb:canary", "1")


def test_crashing_workers_are_restarted_and_lose_their_leases(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F41", seed=1)
    status = act(sandbox, "worker", "status")
    assert status["restarts"] >= 2 and status["exit_code"] == 137
    retry = key("default", "retry")

    def expired() -> bool:
        raws = [redis.hget(key("default", f"t:{task.decode()}"), "msg") for task in redis.zrange(retry, 0, -1)]  # type: ignore[union-attr]  # without decoding, bytes
        return any(decode_task_message(raw).error_msg == "asynq: task lease expired" for raw in raws if raw)  # type: ignore[arg-type]  # bytes as well

    wait_until(expired, "an expired lease", 30)


def test_a_burst_drains_by_itself(sandbox: State) -> None:
    control.break_(sandbox, "F42", seed=1)
    wait_draining(sandbox)


def test_a_runaway_schedule_fills_the_queue_until_it_is_disabled(
    sandbox: State, redis: redis_client.Redis, database: psycopg.Connection[Any]
) -> None:
    control.break_(sandbox, "F43", seed=1)
    tasks = [task.decode() for task in redis.lrange(key("default", "pending"), 0, 199)]  # type: ignore[union-attr]  # without decoding, bytes
    raws = [redis.hget(key("default", f"t:{task}"), "msg") for task in tasks]
    workflows = Counter(json.loads(decode_task_message(raw).payload)["workflow_id"] for raw in raws if raw)  # type: ignore[arg-type]  # bytes as well
    assert workflows.most_common(1)[0][1] >= 120
    busiest = "select run_count from schedules where name = 'Nightly sync'"
    before = number(database, busiest)
    wait_until(lambda: number(database, busiest) > before, "a run", 5)
    database.execute("update schedules set is_active = false where name = 'Nightly sync'")
    wait_draining(sandbox)


def number(database: psycopg.Connection[Any], statement: str) -> int:
    row = database.execute(statement.encode()).fetchone()
    assert row
    return int(row[0])


WAITERS = """
select pid, application_name, pg_blocking_pids(pid) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock'
"""
STATES = "select application_name, state from pg_stat_activity where pid = %s"


def roots(database: psycopg.Connection[Any]) -> set[tuple[str, str]]:
    """Who blocks and waits for nobody: application and state."""
    waiters = {pid: set(blockers) for pid, _, blockers in database.execute(WAITERS).fetchall()}
    standing = {pid for blockers in waiters.values() for pid in blockers} - set(waiters)
    return {row for pid in standing for row in database.execute(STATES, [pid]).fetchall()}


def terminate(database: psycopg.Connection[Any], application: str) -> None:
    database.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", [application]
    )


def nobody_waits(database: psycopg.Connection[Any]) -> None:
    wait_until(lambda: not database.execute(WAITERS).fetchall(), "the waiters to be free", 10)


def test_a_forgotten_transaction_blocks_three_and_ends_when_terminated(
    sandbox: State, database: psycopg.Connection[Any]
) -> None:
    control.break_(sandbox, "F80", seed=1)
    assert roots(database) == {("psql", "idle in transaction")}
    assert len(database.execute(WAITERS).fetchall()) == 3
    terminate(database, "psql")
    nobody_waits(database)


def test_cancelling_the_migration_frees_the_readers_behind_it(
    sandbox: State, database: psycopg.Connection[Any]
) -> None:
    control.break_(sandbox, "F81", seed=1)
    assert roots(database) == {("reporting", "idle in transaction")}
    assert len(database.execute(WAITERS).fetchall()) == 5
    database.execute("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'linkflow-migrate'")
    nobody_waits(database)


def test_an_index_build_waits_for_a_snapshot_and_leaves_nothing_when_healed(
    sandbox: State, database: psycopg.Connection[Any]
) -> None:
    control.break_(sandbox, "F83", seed=1)
    build = database.execute("select phase, current_locker_pid from pg_stat_progress_create_index").fetchone()
    assert build and build[0].startswith("waiting for")
    assert database.execute(STATES, [build[1]]).fetchone() == ("reporting", "idle in transaction")
    assert roots(database) == {("reporting", "idle in transaction")}
    control.heal(sandbox)
    left = database.execute(
        "select count(*) from pg_class where relname = 'idx_executions_workflow_created'"
    ).fetchone()
    assert left == (0,)


def test_deadlocks_are_counted_and_nobody_stands_at_their_root(
    sandbox: State, database: psycopg.Connection[Any]
) -> None:
    control.break_(sandbox, "F84", seed=1)
    counter = "select deadlocks from pg_stat_database where datname = current_database()"
    before = number(database, counter)
    wait_until(lambda: number(database, counter) >= before + 3, "three deadlocks", 20)
    assert all(state != "idle in transaction" for _, state in roots(database))


def test_restore_repairs_what_nobody_recorded(sandbox: State, redis: redis_client.Redis) -> None:
    act(sandbox, "worker", "scale", replicas=1)
    act(sandbox, "api", "stop")
    redis.set(key("default", "paused"), "1")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    control.restore(sandbox)
    facts = look(sandbox)
    assert facts.healthy and redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
