"""`asynq:` against a real Redis that holds what real asynq clients and servers of two versions wrote."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from servers import RedisServer

from runbook_engine.asynq.wire import (
    ServerInfo,
    TaskMessage,
    WorkerInfo,
    encode_server_info,
    encode_task_message,
    encode_worker_info,
)
from runbook_engine.error_classes import classes_of, fingerprint
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import asynq as executor

FIXTURES = Path(__file__).parent / "fixtures"
VERSIONS = ["024", "026"]
MOVING = (":lease", ":scheduled", ":retry", ":archived", ":completed", "asynq:servers", "asynq:workers")


def restore(redis: Any, version: str) -> None:
    """Put a fixture back as if it had been taken now: expiries and due times move along."""
    fixture = json.loads((FIXTURES / f"asynq-{version}.json").read_text())
    shift = time.time() - fixture["taken_unix"]
    for item in fixture["keys"]:
        key, value = item["key"], item["value"]
        match item["type"]:
            case "string":
                redis.set(key, plain(value))
            case "set":
                redis.sadd(key, *value)
            case "list":
                redis.rpush(key, *value)
            case "zset":
                moved = shift if key.endswith(MOVING) else 0
                redis.zadd(key, {member: score + moved for member, score in value})
            case "hash":
                redis.hset(key, mapping={name: plain(field) for name, field in value.items()})
        if item["pttl"] > 0:
            redis.pexpire(key, item["pttl"])


def contents(redis: Any) -> dict[bytes, bytes]:
    return {key: redis.dump(key) for key in redis.scan_iter()}


def plain(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value


@contextmanager
def session_of(
    server: RedisServer, mode: Literal["read", "write"] = "read", pace: float = 1.0
) -> Iterator[executor.Session]:
    session = executor.connect(Target("queues", "redis", server.settings, pace), mode)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def reading(redis: Any, redis_process: RedisServer) -> Iterator[executor.Session]:
    with session_of(redis_process) as session:
        yield session


@pytest.fixture
def writing(redis: Any, redis_process: RedisServer) -> Iterator[executor.Session]:
    with session_of(redis_process, "write") as session:
        yield session


def call(request: Any, **changes: Any) -> Call:
    return Call("call/1", request, **changes)


def add(redis: Any, state: str, task: TaskMessage, score: float = 0.0, **fields: Any) -> None:
    """One job as asynq keeps it."""
    queue = task.queue
    redis.sadd("asynq:queues", queue)
    redis.hset(f"asynq:{{{queue}}}:t:{task.id}", mapping={"msg": encode_task_message(task), "state": state, **fields})
    if state in ("pending", "active"):
        redis.lpush(f"asynq:{{{queue}}}:{state}", task.id)
    else:
        redis.zadd(f"asynq:{{{queue}}}:{state}", {task.id: score})


def job(id_: str, **changes: Any) -> TaskMessage:
    return replace(TaskMessage(type="workflow:run", payload=b"{}", id=id_, queue="default", retry=3), **changes)


def archive(redis: Any, count: int, error: str = "boom", **changes: Any) -> list[str]:
    now = int(time.time())
    ids = [f"{changes.get('type', 'job')}-{index}" for index in range(count)]
    for index, id_ in enumerate(ids):
        add(redis, "archived", job(id_, error_msg=error, last_failed_at=now, **changes), now - count + index)
    return ids


def alive(redis: Any, *workers: WorkerInfo, status: str = "active", **queues: int) -> None:
    """One live server, as its heartbeat leaves it."""
    name, expires = "{vm:1:x}", time.time() + 10
    info = ServerInfo("vm", 1, "x", 4, queues or {"default": 1}, False, status, time.time(), len(workers))
    redis.set(f"asynq:servers:{name}", encode_server_info(info), ex=10)
    redis.zadd("asynq:servers", {f"asynq:servers:{name}": expires})
    if workers:
        redis.hset(f"asynq:workers:{name}", mapping={worker.task_id: encode_worker_info(worker) for worker in workers})
        redis.zadd("asynq:workers", {f"asynq:workers:{name}": expires})


@pytest.mark.parametrize(("version", "jobs"), [("024", 5), ("026", 6)])
def test_inspect_sees_what_asynq_wrote(version: str, jobs: int, reading: executor.Session, redis: Any) -> None:
    restore(redis, version)
    answer = reading.call(call({"inspect": None}))
    queues = {queue["name"]: queue for queue in answer["queues"]}
    assert sorted(queues) == ["critical", "default", "emails", "low"]
    assert all(queue["exists"] and queue["registered"] for queue in queues.values())
    default = queues["default"]
    wanted = {"pending": 3, "active": 1, "scheduled": 3, "retry": 2, "archived": 2, "completed": 0, "lease": 1}
    assert {name: default[name] for name in wanted} == wanted
    assert (default["processed"], default["failed"], default["enqueued"]) == (4, 4, 11)
    assert default["oldest_pending"] > 0 and default["paused"] is False and default["paused_since"] is None
    assert (default["consumers"], default["capacity"], default["busy"], default["util"]) == (1, 3, 3, 1)
    assert queues["critical"]["active"] == 2 and queues["critical"]["oldest_pending"] == 0
    assert queues["low"]["paused"] is True and queues["low"]["paused_since"] > 1.7e9
    assert (queues["emails"]["pending"], queues["emails"]["consumers"], queues["emails"]["capacity"]) == (2, 0, 0)
    assert (answer["pending"], answer["active"], answer["paused"], answer["capacity"]) == (jobs, 3, True, 3)
    server = answer["servers"][0]
    assert (server["host"], server["concurrency"], server["active"], server["strict"]) == ("vm", 3, 3, False)
    assert server["queues"] == {"critical": 6, "default": 3, "low": 1} and server["status"] == "active"


@pytest.mark.parametrize("version", VERSIONS)
def test_active_joins_workers_leases_and_hashes(version: str, reading: executor.Session, redis: Any) -> None:
    restore(redis, version)
    answer = reading.call(call({"active": "critical"}))
    assert (answer["active"], answer["running_count"], answer["sampled"]) == (2, 2, 2)
    assert answer["by_type"] == [{"type": "slow", "count": 2, "share": 1.0}]
    assert answer["running_top"]["type"] == {"id": "slow", "count": 2, "share": 1.0}
    assert answer["longest_s"] > 0 and {row["worker"].split(":")[0] for row in answer["running"]} == {"vm"}
    assert [answer[name] for name in ("orphans", "unheld", "no_lease", "ghosts")] == [[], [], [], []]


@pytest.mark.parametrize("version", VERSIONS)
def test_failures_are_grouped_by_type_and_fingerprint(version: str, reading: executor.Session, redis: Any) -> None:
    restore(redis, version)
    answer = reading.call(call({"failures": "default"}))
    assert (answer["archived"], answer["retry"], answer["sampled"]) == (2, 2, 4)
    row = answer["fingerprints"][0]
    assert (row["type"], row["fingerprint"], row["count"], row["archived"], row["share"]) == ("fail", "#", 4, 2, 1.0)
    assert row["first"] <= row["last"] and answer["rate_limit_share"] == 0
    assert answer["payload_p50"] == 2 and answer["payload_max"] == 2


LOOKS: list[Any] = [{"inspect": None}, *({name: "default"} for name in ("inspect", "active", "failures", "tasks"))]


@pytest.mark.parametrize(
    "request_",
    LOOKS,
    ids=str,
)
def test_a_look_changes_nothing_and_works_out_of_memory(request_: Any, reading: executor.Session, redis: Any) -> None:
    restore(redis, "026")
    redis.zadd("asynq:servers", {"asynq:servers:{stale:1:x}": 1})
    before = contents(redis)
    redis.config_set("maxmemory", "1")
    try:
        reading.call(call(request_))
    finally:
        redis.config_set("maxmemory", "0")
    assert contents(redis) == before


def test_an_absent_queue_is_unknown_and_not_empty(reading: executor.Session, redis: Any) -> None:
    answer = reading.call(call({"inspect": "nowhere"}))
    assert answer["exists"] is False and answer["pending"] is None and answer["processed"] is None
    assert answer["queues"][0]["name"] == "nowhere" and answer["queues"][0]["pending"] is None
    assert reading.call(call({"inspect": None}))["queues"] == []
    redis.sadd("asynq:queues", "nowhere")
    answer = reading.call(call({"inspect": "nowhere"}))
    assert (answer["exists"], answer["pending"], answer["oldest_pending"], answer["enqueued"]) == (True, 0, 0, 0)


def test_a_queue_that_nobody_registered_is_found_by_its_pending_jobs(reading: executor.Session, redis: Any) -> None:
    add(redis, "pending", job("a"))
    redis.delete("asynq:queues")
    queue = reading.call(call({"inspect": None}))["queues"][0]
    assert (queue["name"], queue["registered"], queue["pending"], queue["oldest_pending"]) == (
        "default",
        False,
        1,
        None,
    )


def test_what_is_due_or_expired_is_counted(reading: executor.Session, redis: Any) -> None:
    now = time.time()
    for state in ("scheduled", "retry", "completed"):
        add(redis, state, job(f"{state}-past"), now - 5)
        add(redis, state, job(f"{state}-future"), now + 500)
    redis.zadd("asynq:{default}:lease", {"a": now - 5, "b": now + 5})
    answer = reading.call(call({"inspect": "default"}))
    names = ("scheduled_due", "retry_due", "completed_expired", "lease_expired")
    assert [answer[name] for name in names] == [1, 1, 1, 1]


def test_servers_that_expired_or_stopped_give_no_capacity(reading: executor.Session, redis: Any) -> None:
    alive(redis, status="stopped")
    redis.zadd("asynq:servers", {"asynq:servers:{gone:1:y}": time.time() + 5, "asynq:servers:{old:1:z}": 1})
    answer = reading.call(call({"inspect": "default"}))
    assert [server["status"] for server in answer["servers"]] == ["stopped"]
    assert (answer["consumers"], answer["capacity"], answer["util"]) == (0, 0, 0)


def test_lost_ids_are_told_apart(reading: executor.Session, redis: Any) -> None:
    now = time.time()
    for id_ in ("held", "fresh", "quiet", "no-lease", "long-expired"):
        add(redis, "active", job(id_))
    leases = {"held": now - 500, "fresh": now + 29, "quiet": now + 5, "long-expired": now - 200, "ghost": now}
    redis.zadd("asynq:{default}:lease", leases)
    redis.lpush("asynq:{default}:active", "ghost")
    add(redis, "pending", job("fine"))
    redis.rpush("asynq:{default}:pending", "empty")
    worker = WorkerInfo("vm", 1, "x", "held", "workflow:run", b'{"workflow_id":"w"}', "default", now - 400, now - 1)
    alive(redis, worker)
    answer = reading.call(call({"active": "default"}))
    assert sorted(answer["orphans"]) == ["long-expired", "no-lease"]
    assert sorted(answer["unheld"]) == ["long-expired", "no-lease", "quiet"]
    assert answer["no_lease"] == ["no-lease"] and answer["ghosts"] == ["ghost"]
    assert answer["pending_missing_msg"] == 1 and answer["pending_missing_ids"] == ["empty"]
    assert answer["past_deadline"] == 1 and 399 < answer["longest_s"] < 460
    assert answer["running_top"]["workflow"] == {"id": "w", "count": 1, "share": 1.0}


def test_the_pace_of_the_target_shortens_asynqs_periods(redis: Any, redis_process: RedisServer) -> None:
    add(redis, "active", job("a"))
    redis.zadd("asynq:{default}:lease", {"a": time.time() - 20})
    with session_of(redis_process, pace=1.0) as session:
        assert session.call(call({"active": "default"}))["orphans"] == []
    with session_of(redis_process, pace=0.1) as session:
        assert session.call(call({"active": "default"}))["orphans"] == ["a"]


def test_nobody_to_ask_makes_running_times_unknown(reading: executor.Session, redis: Any) -> None:
    assert reading.call(call({"active": "default"}))["longest_s"] == 0
    add(redis, "active", job("a"))
    answer = reading.call(call({"active": "default"}))
    assert answer["longest_s"] is None and answer["past_deadline"] is None


def test_one_workflow_that_fills_the_queue_is_named(reading: executor.Session, redis: Any) -> None:
    for index in range(10):
        workflow = b'{"workflow_id":"loud"}' if index < 8 else b"[" * 5000
        add(redis, "pending", job(f"a{index}", payload=workflow))
    top = reading.call(call({"active": "default"}))["pending_top_workflow"]
    assert top == {"workflow_id": "loud", "count": 8, "share": 0.8, "sampled": 10}


def test_failures_fall_into_classes_and_without_any_the_shares_are_unknown(
    reading: executor.Session, redis: Any
) -> None:
    empty = reading.call(call({"failures": "default"}))
    assert empty["rate_limit_share"] is None and empty["sampled"] == 0 and empty["fingerprints"] == []
    archive(redis, 3, "HTTP 429: rate limit", type="a")
    archive(redis, 1, "asynq: task lease expired", type="b")
    old = int(time.time()) - 5000
    add(redis, "archived", job("old", error_msg="panic: nil pointer", last_failed_at=old), old)
    answer = reading.call(call({"failures": "default"}))
    shares = [answer[f"{name}_share"] for name in ("rate_limit", "lease_expired", "panic", "db")]
    assert shares == [0.6, 0.2, 0.2, 0.0]
    recent = reading.call(call({"failures": "default", "since": 600}))
    assert (recent["sampled"], recent["rate_limit_share"], recent["panic_share"]) == (4, 0.75, 0)


def test_tasks_gives_the_list_a_later_step_is_bound_to(reading: executor.Session, redis: Any) -> None:
    ids = archive(redis, 5, "status code: 503 after 31ms", type="a", payload=b'{"workflow_id":"w"}')
    archive(redis, 2, "boom", type="b")
    request = {"tasks": "default", "filter": {"fingerprint": "status code: # after #ms"}, "limit": 3}
    answer = reading.call(call(request))
    assert answer["ids"] == ids[:3] and answer["truncated"] is True and answer["total"] == 7
    assert (answer["workflows"], answer["types"], answer["payload_bytes"]) == (1, ["a"], 57)
    by_class = reading.call(call({"tasks": "default", "filter": {"error_class": "downstream"}}))
    assert by_class["count"] == 5 and by_class["truncated"] is False
    with pytest.raises(Refused, match="not a state of jobs"):
        reading.call(call({"tasks": "default", "state": "dead"}))


OPERATIONS: list[tuple[Any, Effect]] = [
    ({"pause": "default"}, Effect.reversible),
    ({"resume": "default", "since": "1"}, Effect.reversible),
    ({"quarantine": "default", "id": "x"}, Effect.reversible),
    ({"restore": "default", "id": "x"}, Effect.reversible),
    ({"repair": "default", "orphans": ["a"], "ghosts": ["b"]}, Effect.reversible),
    ({"retry_archived": "default", "filter": {"type": "x"}}, Effect.disruptive),
    ({"purge_completed": "default", "before": 1}, Effect.destructive),
    ({"delete_archived": "default", "ids": ["a"]}, Effect.destructive),
]


@pytest.mark.parametrize(("request_", "effect"), OPERATIONS, ids=str)
def test_a_read_session_does_no_operation(request_: Any, effect: Effect, reading: executor.Session, redis: Any) -> None:
    restore(redis, "026")
    assert executor.least_effect(executor.Params.model_validate(request_))[0] is effect
    before = contents(redis)
    with pytest.raises(Refused, match="read session"):
        reading.call(call(request_))
    assert contents(redis) == before


def test_pause_and_resume_are_bound_to_the_moment(writing: executor.Session, redis: Any) -> None:
    with pytest.raises(Refused, match="no queue 'default'"):
        writing.call(call({"pause": "default"}))
    redis.sadd("asynq:queues", "default")
    first = writing.call(call({"pause": "default"}))
    assert first["affected"] == 1 and int(redis.get("asynq:{default}:paused") or 0) == first["since"]
    assert writing.call(call({"pause": "default"})) == {"affected": 0, "since": first["since"]}
    assert writing.call(call({"resume": "default", "since": first["since"] - 1})) == {"affected": 0}
    assert redis.exists("asynq:{default}:paused")
    assert writing.call(call({"resume": "default", "since": str(first["since"])})) == {"affected": 1}
    assert writing.call(call({"resume": "default"})) == {"affected": 0}


def test_quarantine_and_restore_are_inverse_also_out_of_memory(writing: executor.Session, redis: Any) -> None:
    for index in range(5):
        add(redis, "pending", job(str(index)))
    before = redis.lrange("asynq:{default}:pending", 0, -1)
    with pytest.raises(Refused, match="5 jobs are pending"):
        writing.call(call({"quarantine": "default", "id": "run-1"}, affected=4))
    redis.config_set("maxmemory", "1")
    try:
        assert writing.call(call({"quarantine": "default", "id": "run-1"}, affected=5))["affected"] == 5
        assert redis.llen("asynq:{default}:pending") == 0
        again = writing.call(call({"quarantine": "default", "id": "run-1"}))
        assert again == {"affected": 0, "quarantined": 5}
        assert writing.call(call({"restore": "default", "id": "run-1"})) == {"affected": 5, "dropped": 0}
    finally:
        redis.config_set("maxmemory", "0")
    assert redis.lrange("asynq:{default}:pending", 0, -1) == before
    assert writing.call(call({"restore": "default", "id": "run-1"})) == {"affected": 0, "dropped": 0}


def test_restore_puts_jobs_behind_what_is_pending_the_oldest_first_and_drops_the_vanished(
    writing: executor.Session, redis: Any
) -> None:
    for index in range(2500):
        add(redis, "pending", job(f"old-{index}"))
    writing.call(call({"quarantine": "default", "id": "q"}))
    add(redis, "pending", job("new"))
    redis.delete("asynq:{default}:t:old-7")
    redis.hset("asynq:{default}:t:old-8", "state", "active")
    assert writing.call(call({"restore": "default", "id": "q"})) == {"affected": 2498, "dropped": 2}
    next_up = [id_.decode() for id_ in reversed(redis.lrange("asynq:{default}:pending", 0, -1))]
    assert next_up[:4] == ["new", "old-0", "old-1", "old-2"] and next_up[-1] == "old-2499" and len(next_up) == 2499


def test_retry_moves_what_fits_keeps_its_wait_visible_and_is_harmless_twice(
    writing: executor.Session, redis: Any
) -> None:
    wanted = archive(redis, 450, "boom", type="a")
    archive(redis, 10, "other", type="b")
    redis.zadd("asynq:{default}:archived", {"without-message": 1})
    request = {"retry_archived": "default", "filter": {"type": "a"}, "limit": 1000}
    answer = writing.call(call(request))
    assert (answer["affected"], answer["asked"]) == (450, 450)
    assert [id_.decode() for id_ in reversed(redis.lrange("asynq:{default}:pending", 0, -1))] == wanted
    hash_ = redis.hgetall(f"asynq:{{default}}:t:{wanted[0]}")
    assert hash_[b"state"] == b"pending" and abs(int(hash_[b"pending_since"]) / 1e9 - time.time()) < 60
    assert redis.zcard("asynq:{default}:archived") == 11
    again = writing.call(call({"retry_archived": "default", "ids": [*wanted, "without-message", "nobody"]}))
    assert again["affected"] == 0 and redis.llen("asynq:{default}:pending") == 450


def test_retry_beyond_the_limit_is_refused_and_out_of_memory_nothing_moves(
    writing: executor.Session, redis: Any
) -> None:
    ids = archive(redis, 3)
    with pytest.raises(Refused, match="at most 2"):
        writing.call(call({"retry_archived": "default", "ids": ids}, affected=2))
    redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(TargetError) as failure:
            writing.call(call({"retry_archived": "default", "ids": ids}))
    finally:
        redis.config_set("maxmemory", "0")
    assert (failure.value.code, failure.value.happened) == ("OOM", "no")
    assert redis.zcard("asynq:{default}:archived") == 3 and not redis.exists("asynq:{default}:pending")


def test_two_that_retry_the_same_jobs_at_once_move_each_job_once(redis: Any, redis_process: RedisServer) -> None:
    ids = archive(redis, 1000)
    affected: list[int] = []

    def run() -> None:
        with session_of(redis_process, "write") as session:
            affected.append(session.call(call({"retry_archived": "default", "ids": ids}))["affected"])

    def consume() -> None:
        for _ in range(300):
            redis.lmove("asynq:{default}:pending", "asynq:{default}:active", "RIGHT", "LEFT")

    threads = [threading.Thread(target=target) for target in (run, run, consume)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    moved = [*redis.lrange("asynq:{default}:pending", 0, -1), *redis.lrange("asynq:{default}:active", 0, -1)]
    assert sum(affected) == 1000 and len(moved) == len(set(moved)) == 1000


def test_delete_takes_the_lock_only_when_the_job_holds_it(writing: executor.Session, redis: Any) -> None:
    now = time.time()
    for id_ in ("mine", "other"):
        add(redis, "archived", job(id_), now, unique_key=f"asynq:{{default}}:unique:{id_}")
    redis.set("asynq:{default}:unique:mine", "mine")
    redis.set("asynq:{default}:unique:other", "somebody-else")
    add(redis, "pending", job("pending"))
    request = {"delete_archived": "default", "ids": ["mine", "other", "pending", "nobody"]}
    assert writing.call(call(request)) == {"affected": 2, "asked": 4}
    assert not redis.exists("asynq:{default}:unique:mine") and redis.exists("asynq:{default}:unique:other")
    assert redis.exists("asynq:{default}:t:pending") and not redis.exists("asynq:{default}:archived")
    assert writing.call(call(request))["affected"] == 0


def test_purge_removes_only_what_expires_by_then_also_out_of_memory(writing: executor.Session, redis: Any) -> None:
    now = time.time()
    for index in range(1200):
        add(redis, "completed", job(f"old-{index}"), now - 10)
    add(redis, "completed", job("kept"), now + 1000)
    with pytest.raises(Refused, match="1200 records"):
        writing.call(call({"purge_completed": "default"}, affected=1000))
    redis.config_set("maxmemory", "1")
    try:
        assert writing.call(call({"purge_completed": "default"})) == {"affected": 1200}
    finally:
        redis.config_set("maxmemory", "0")
    assert sorted(redis.keys("*:t:*")) == [b"asynq:{default}:t:kept"]
    assert writing.call(call({"purge_completed": "default"})) == {"affected": 0}
    assert writing.call(call({"purge_completed": "default", "before": now + 2000})) == {"affected": 1}


def test_repair_leases_orphans_and_drops_ghosts_but_nothing_that_has_a_message(
    writing: executor.Session, redis: Any
) -> None:
    now = time.time()
    add(redis, "active", job("orphan"))
    add(redis, "active", job("leased"))
    redis.zadd("asynq:{default}:lease", {"leased": now + 20, "ghost": now})
    redis.lpush("asynq:{default}:active", "ghost")
    redis.lpush("asynq:{default}:pending", "ghost")
    request = {"repair": "default", "orphans": ["orphan", "leased", "nobody"], "ghosts": ["ghost", "leased"]}
    with pytest.raises(Refused, match="at most 4"):
        writing.call(call(request, affected=4))
    assert writing.call(call(request)) == {"affected": 2, "leased": 1, "dropped": 1}
    lease = dict(redis.zrange("asynq:{default}:lease", 0, -1, withscores=True))
    assert lease[b"orphan"] < now - 30 and lease[b"leased"] > now and b"ghost" not in lease
    assert sorted(redis.lrange("asynq:{default}:active", 0, -1)) == [b"leased", b"orphan"]
    assert not redis.exists("asynq:{default}:pending")
    assert writing.call(call(request))["affected"] == 0


@pytest.mark.parametrize("version", VERSIONS)
def test_export_writes_a_file_that_can_bring_the_jobs_back(
    version: str, reading: executor.Session, redis: Any, tmp_path: Path
) -> None:
    restore(redis, version)
    answer = reading.call(call({"export": "default", "state": "archived", "path": str(tmp_path / "out")}))
    path = Path(answer["path"])
    content = path.read_bytes()
    assert answer["sha256"] == hashlib.sha256(content).hexdigest() and answer["lines"] == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and list(path.parent.iterdir()) == [path]
    for line in content.splitlines():
        row = json.loads(line)
        fields = {name.encode(): base64.b64decode(value) for name, value in row["hash"].items()}
        assert fields == redis.hgetall(f"asynq:{{default}}:t:{row['id']}")
        assert row["score"] == redis.zscore("asynq:{default}:archived", row["id"])
    with pytest.raises(Refused, match="folder you may write to"):
        reading.call(call({"export": "default", "path": str(path)}))


def test_keys_of_the_wrong_type_and_broken_messages_are_unknown_and_no_crash(
    reading: executor.Session, redis: Any
) -> None:
    restore(redis, "026")
    redis.delete("asynq:{default}:pending", "asynq:{default}:processed")
    redis.set("asynq:{default}:pending", "text")
    redis.set("asynq:{default}:processed", "many")
    redis.hset("asynq:{default}:t:" + redis.zrange("asynq:{default}:archived", 0, 0)[0].decode(), "msg", b"\xff\xff")
    alive(redis)
    redis.set("asynq:servers:{vm:1:x}", b"\x0b\x0b")
    answer = reading.call(call({"inspect": "default"}))
    assert answer["pending"] is None and answer["enqueued"] is None and len(answer["servers"]) == 1
    assert reading.call(call({"failures": "default"}))["sampled"] == 3
    assert reading.call(call({"active": "default"}))["active"] == 1


@pytest.mark.parametrize("queue", ["", "a b", "a}:x{", "a\n", "x" * 300])
def test_a_name_that_no_queue_has_is_refused(queue: str, reading: executor.Session) -> None:
    with pytest.raises(Refused, match="not the name of a queue"):
        reading.call(call({"inspect": queue}))


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ("inspect", "expected one of inspect, active"),
        ({"inspekt": "default"}, "expected one of inspect, active"),
        ({"inspect": "default", "limit": 3}, "Extra inputs"),
        ({"quarantine": "default"}, "Field required"),
        ({"retry_archived": "default", "filter": {"kind": "x"}}, "Extra inputs"),
        ({"pause": None}, "valid string"),
    ],
    ids=str,
)
def test_what_has_no_meaning_is_a_load_error(request_: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        executor.Params.model_validate(request_)


def test_every_name_an_answer_has_is_documented(reading: executor.Session, redis: Any, tmp_path: Path) -> None:
    restore(redis, "026")
    for request in (*LOOKS, {"export": "default", "path": str(tmp_path)}):
        assert reading.call(call(request)).keys() <= executor.ANSWERS.keys(), request


def test_a_gate_shows_the_operation_with_every_value() -> None:
    shown = executor.show(call({"retry_archived": "default", "ids": ["a", "b\x1b"], "limit": 5}))
    assert shown == 'asynq retry_archived "default"\n  limit: 5\n  ids: ["a", "b\\u001b"]'


@given(st.text(max_size=300))
def test_any_error_text_has_a_fingerprint_and_classes(text: str) -> None:
    assert len(fingerprint(text)) <= 160
    classes_of(text)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("dial tcp 10.0.0.1:443: connection refused", {"downstream"}),
        ("dial tcp 10.0.0.1:5432: i/o timeout", {"timeout"}),
        ("ERROR: deadlock detected (SQLSTATE 40P01)", {"db"}),
        ("HTTP 429 Too Many Requests", {"rate_limit"}),
        ("context deadline exceeded", {"timeout"}),
        ("asynq: task lease expired", {"lease_expired"}),
        ("Workflow not found", {"config"}),
        ("panic: runtime error: nil pointer", {"panic"}),
        ("oauth2: invalid_grant", {"auth"}),
        ("redis: connection pool timeout", {"redis"}),
        ("error loading geofence", set()),
    ],
)
def test_error_texts_fall_into_their_classes(text: str, classes: set[str]) -> None:
    assert classes_of(text) == classes


def test_a_fingerprint_leaves_out_ids_addresses_and_numbers() -> None:
    one = fingerprint("task 3f2504e0-4f89-11d3-9a0c-0305e82c3301 at 0xc0001 failed after 31 ms\nstack")
    assert one == "task <uuid> at <hex> failed after # ms"
