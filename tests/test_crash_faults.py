"""The faults of workers and jobs: each shows as it does in real life, and is taken back whole."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from runbook_engine.asynq.wire import decode_task_message
from runbook_engine.sandbox import control
from runbook_engine.sandbox.ailments import spin
from runbook_engine.sandbox.baseline import wait_until
from runbook_engine.sandbox.broker import ARCHIVE_SIZE, connect_redis, key
from runbook_engine.sandbox.crash_faults import FAULTS, missing_share
from runbook_engine.sandbox.knobs import load_knobs
from runbook_engine.sandbox.processes import oom_mark
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture
def redis(sandbox: State) -> Iterator[redis_client.Redis]:
    control.restore(sandbox)
    with connect_redis(sandbox) as client:
        yield client
    control.restore(sandbox)


def worker(sandbox: State) -> dict[str, Any]:
    return request(sandbox, {"service": "worker", "action": "status"})


def errors(redis: Any, state: str) -> set[str]:
    ids = [id_.decode() for id_ in redis.zrange(key("default", state), 0, -1)]
    return {decode_task_message(redis.hget(key("default", f"t:{id_}"), "msg")).error_msg for id_ in ids}


def test_each_fault_names_a_cause_and_nothing_that_both_helps_and_harms() -> None:
    assert [fault.id for fault in FAULTS] == ["F39", "F45", "F50", "F51", "F52", "F53", "F54", "F60", "F61", "F62"]
    assert all(fault.expect and fault.imitates and not set(fault.helps) & set(fault.harmful) for fault in FAULTS)


def test_a_job_of_five_megabytes_ends_worker_after_worker_and_the_runtime_says_oom(
    sandbox: State, redis: redis_client.Redis
) -> None:
    control.break_(sandbox, "F50", seed=1)
    status = worker(sandbox)
    assert (status["exit_code"], status["oom_killed"]) == (137, True) and status["restarts"] >= 1
    assert not list((sandbox.folder / "logs").glob("*.oom"))
    control.heal(sandbox)
    assert worker(sandbox)["running"] == 2 and load_knobs(sandbox.folder).memory_room is None


def test_a_poison_job_ends_the_program_with_two_and_its_last_words(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F54", seed=1)
    status = worker(sandbox)
    assert (status["exit_code"], status["oom_killed"]) == (2, False)
    assert "fatal error: stack overflow" in sandbox.log_file("worker").read_text()


def test_a_wrong_port_ends_each_worker_with_one_and_says_why(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F52", seed=1)
    assert worker(sandbox)["exit_code"] == 1 and worker(sandbox)["restarts"] >= 2
    lines = [json.loads(line) for line in sandbox.log_file("worker").read_text().splitlines() if '"fatal"' in line]
    assert {line["message"] for line in lines} == {"Failed to connect to Redis"}
    control.heal(sandbox)
    assert worker(sandbox)["running"] == 2


def test_jobs_without_a_lease_stay_with_workers_that_are_gone(sandbox: State, redis: Any) -> None:
    control.break_(sandbox, "F45", seed=1)
    active = {id_.decode() for id_ in redis.lrange(key("default", "active"), 0, -1)}
    leased = {id_.decode() for id_ in redis.zrange(key("default", "lease"), 0, -1)}
    assert len(active - leased) >= 4 and worker(sandbox)["running"] == 2


def test_an_eviction_takes_the_jobs_and_leaves_their_ids(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F39", seed=1)
    assert missing_share(redis) > 0 and redis.llen(key("default", "pending")) > 1000
    control.restore(sandbox)
    assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


@pytest.mark.parametrize(("fault", "says"), [("F60", "401 Unauthorized"), ("F61", "Workflow not found")])
def test_the_jobs_of_one_workflow_fail_and_end_in_the_archive(
    sandbox: State, redis: redis_client.Redis, fault: str, says: str
) -> None:
    control.break_(sandbox, fault, seed=1)
    assert redis.zcard(key("default", "archived")) > 10
    assert all(error.startswith(says) for error in errors(redis, "archived"))


def test_an_overflowing_archive_leaves_hashes_that_nothing_refers_to(sandbox: State, redis: redis_client.Redis) -> None:
    control.break_(sandbox, "F62", seed=1)
    assert redis.zcard(key("default", "archived")) == ARCHIVE_SIZE
    hashes = sum(1 for _ in redis.scan_iter(key("default", "t:*"), count=5000))
    assert hashes > ARCHIVE_SIZE + 200
    control.heal(sandbox)
    assert not redis.exists(key("default", "archived"))


def test_looping_jobs_pass_their_deadline_and_stop_when_the_fault_is_healed(
    sandbox: State, redis: redis_client.Redis
) -> None:
    control.break_(sandbox, "F53", seed=1)
    doomed = load_knobs(sandbox.folder).doomed
    assert set(doomed.values()) == {"spin"}
    assert all(redis.hget(key("default", f"t:{id_}"), "state") == b"active" for id_ in doomed)
    control.heal(sandbox)
    states = [redis.hget(key("default", f"t:{id_}"), "state") for id_ in doomed]
    wait_until(lambda: b"active" not in states or not redis.llen(key("default", "active")), "them to end", 20)


def test_a_spinning_thread_ends_when_nobody_wants_it_any_more() -> None:
    asked: list[float] = []

    def wanted() -> bool:
        asked.append(time.monotonic())
        return len(asked) < 5

    thread = threading.Thread(target=spin, args=(wanted,))  # its own: it lowers its priority
    thread.start()
    thread.join(30)
    assert len(asked) == 5


def test_the_mark_of_a_victim_stands_beside_its_log(tmp_path: Path) -> None:
    assert oom_mark(tmp_path / "worker.log", 7) == tmp_path / "worker.7.oom"
