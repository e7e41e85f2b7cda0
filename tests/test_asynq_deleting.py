"""What `asynq:` deletes, sets aside and brings back, on each Redis there is: what is gone can be had again, exactly."""

from __future__ import annotations

import json
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from servers import RedisServer, redis_server
from test_asynq_executor import add, alive, archive, call, contents, job, session_of

from runbook_engine.asynq.wire import WorkerInfo
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Effect
from runbook_engine.executors import asynq as executor

PENDING = "asynq:{default}:pending"


@pytest.fixture(scope="module", params=["installed", "wheel"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """The Redis of this machine, and the one that comes with the package: 7 and 6.2 where both are there."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "wheel":
            found = shutil.which("redis-server")
            folders = [] if found is None else [str(Path(found).parent)]
            kept = [folder for folder in os.environ["PATH"].split(os.pathsep) if folder not in folders]
            patch.setenv("PATH", os.pathsep.join(kept))
        with redis_server() as running:
            yield running


@pytest.fixture
def redis(server: RedisServer) -> Iterator[redis_client.Redis]:
    with redis_client.Redis(server.host, server.port) as client:
        client.flushall()
        yield client


@pytest.fixture
def writing(redis: Any, server: RedisServer, tmp_path: Path, monkeypatch: Any) -> Iterator[executor.Session]:
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "state"))
    with session_of(server, "write", pace=0.1) as session:
        yield session


@contextmanager
def out_of_memory(redis: Any) -> Iterator[None]:
    redis.config_set("maxmemory", "1")
    try:
        yield
    finally:
        redis.config_set("maxmemory", "0")


def waiting(redis: Any, count: int, **changes: Any) -> list[str]:
    """That many pending jobs, the oldest first."""
    ids = [f"job-{index}" for index in range(count)]
    for id_ in ids:
        add(redis, "pending", job(id_, **changes), pending_since=time.time_ns())
    return ids


def test_all_that_waits_is_deleted_after_it_was_copied_and_comes_back_exactly(
    writing: executor.Session, redis: Any, tmp_path: Path
) -> None:
    waiting(redis, 450, payload=b"\x00\xff binary")
    before = contents(redis)
    answer = writing.call(call({"delete_pending": "default", "oldest": 450, "export_as": "run-1"}))
    path = Path(answer["path"])
    assert (answer["affected"], answer["asked"]) == (450, 450) and path.parent == tmp_path / "state" / "exports"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert set(redis.keys()) == {b"asynq:queues"}
    request = {"import_jobs": "default", "state": "pending", "name": "run-1"}
    assert writing.call(call(request))["affected"] == 450
    assert contents(redis) == before
    again = writing.call(call(request))
    assert (again["affected"], again["existing"]) == (0, 450) and contents(redis) == before


def test_only_the_oldest_go_and_what_comes_back_stands_behind_what_waits(writing: executor.Session, redis: Any) -> None:
    ids = waiting(redis, 5)
    writing.call(call({"delete_pending": "default", "oldest": 2, "export_as": "x"}))
    assert [id_.decode() for id_ in reversed(redis.lrange(PENDING, 0, -1))] == ids[2:]
    writing.call(call({"import_jobs": "default", "state": "pending", "name": "x"}))
    assert [id_.decode() for id_ in reversed(redis.lrange(PENDING, 0, -1))] == [*ids[2:], *ids[:2]]


def test_deleting_works_out_of_memory_and_bringing_back_is_refused_whole(writing: executor.Session, redis: Any) -> None:
    ids = waiting(redis, 250)
    archived = archive(redis, 30, type="failed")
    with out_of_memory(redis):
        assert writing.call(call({"delete_pending": "default", "ids": ids, "export_as": "a"}))["affected"] == 250
        request = {"delete_archived": "default", "ids": archived, "export_as": "a"}
        assert writing.call(call(request))["affected"] == 30
        with pytest.raises(TargetError) as failure:
            writing.call(call({"import_jobs": "default", "name": "a"}))
        assert failure.value.happened == "no"
    assert not redis.keys("*:t:*")
    assert writing.call(call({"import_jobs": "default", "name": "a"}))["affected"] == 30
    assert writing.call(call({"import_jobs": "default", "state": "pending", "name": "a"}))["affected"] == 250


def test_a_job_that_a_worker_took_meanwhile_is_neither_deleted_nor_brought_back(
    writing: executor.Session, redis: Any
) -> None:
    ids = waiting(redis, 3)
    redis.lrem(PENDING, 1, ids[1])
    redis.hset(f"asynq:{{default}}:t:{ids[1]}", "state", "active")
    answer = writing.call(call({"delete_pending": "default", "ids": ids, "export_as": "x"}))
    assert answer["affected"] == 2 and redis.exists(f"asynq:{{default}}:t:{ids[1]}")
    redis.delete(f"asynq:{{default}}:t:{ids[1]}")  # it ran, and its record is gone
    restored = writing.call(call({"import_jobs": "default", "state": "pending", "name": "x"}))
    assert restored["affected"] == 2 and not redis.exists(f"asynq:{{default}}:t:{ids[1]}")


def test_the_lock_of_a_unique_job_goes_and_comes_back_with_it(writing: executor.Session, redis: Any) -> None:
    for id_ in ("mine", "other", "again"):
        add(redis, "pending", job(id_), unique_key=f"asynq:{{default}}:unique:{id_}")
        redis.set(f"asynq:{{default}}:unique:{id_}", "else" if id_ == "other" else id_, px=600_000)
    writing.call(call({"delete_pending": "default", "oldest": 9, "export_as": "x"}))
    assert redis.keys("*unique*") == [b"asynq:{default}:unique:other"]
    redis.set("asynq:{default}:unique:again", "a newer job")
    answer = writing.call(call({"import_jobs": "default", "state": "pending", "name": "x"}))
    assert (answer["affected"], answer["existing"]) == (2, 1)
    assert redis.get("asynq:{default}:unique:mine") == b"mine"
    assert 500_000 < redis.pttl("asynq:{default}:unique:mine") <= 600_000
    assert redis.get("asynq:{default}:unique:again") == b"a newer job"


def test_a_second_try_under_the_same_name_keeps_the_file_of_the_first(writing: executor.Session, redis: Any) -> None:
    ids = waiting(redis, 4)
    for part in (ids[:2], ids[2:]):
        writing.call(call({"delete_pending": "default", "ids": part, "export_as": "x"}))
    restored = writing.call(call({"import_jobs": "default", "state": "pending", "name": "x"}))
    assert restored["affected"] == 4 and [id_.decode() for id_ in reversed(redis.lrange(PENDING, 0, -1))] == ids


def test_what_a_quarantine_holds_can_be_deleted(writing: executor.Session, redis: Any) -> None:
    waiting(redis, 3)
    writing.call(call({"quarantine": "default", "id": "q"}))
    before = contents(redis)
    request = {"delete_pending": "default", "state": "rbq:q", "oldest": 3, "export_as": "x"}
    assert writing.call(call(request))["affected"] == 3 and set(redis.keys()) == {b"asynq:queues"}
    writing.call(call({"import_jobs": "default", "state": "rbq:q", "name": "x"}))
    assert contents(redis) == before


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        ({"delete_pending": "default", "ids": ["a", "b"], "export_as": "x"}, "at most 1"),
        ({"delete_pending": "default", "oldest": 2, "export_as": "x"}, "at most 1"),
        ({"delete_pending": "default", "export_as": "x"}, "takes ids, or oldest"),
        ({"delete_pending": "default", "oldest": 1, "state": "archived", "export_as": "x"}, "holds no waiting jobs"),
        ({"delete_pending": "default", "oldest": 1, "export_as": "../x"}, "cannot name a file"),
        ({"delete_pending": "default", "oldest": 1, "export_as": "x", "path": "/proc/none"}, "folder you may write to"),
        ({"delete_archived": "default", "ids": ["a", "b"], "export_as": "x"}, "at most 1"),
        ({"archive_task": "default", "ids": ["a", "b"]}, "at most 1"),
        ({"import_jobs": "default", "name": "never"}, "Without the export"),
    ],
    ids=str,
)
def test_what_is_out_of_bounds_is_refused_and_changes_nothing(
    request_: Any, complaint: str, writing: executor.Session, redis: Any
) -> None:
    waiting(redis, 2)
    before = contents(redis)
    with pytest.raises(Refused, match=complaint):
        writing.call(call(request_, affected=1))
    assert contents(redis) == before


@pytest.mark.parametrize(
    "line",
    ["not json", "[]", "{}", '{"id": "a", "queue": "low", "state": "archived", "score": 1, "hash": {"msg": "eA=="}}'],
)
def test_a_file_with_a_line_that_is_no_job_of_the_queue_puts_nothing_back(
    line: str, writing: executor.Session, redis: Any
) -> None:
    ids = archive(redis, 3)
    answer = writing.call(call({"delete_archived": "default", "ids": ids, "export_as": "x"}))
    with Path(answer["path"]).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(Refused, match=r"4: is (not|no) .*Nothing was put back"):
        writing.call(call({"import_jobs": "default", "name": "x"}))
    assert not redis.exists("asynq:{default}:archived")


def test_a_file_that_others_may_have_written_is_not_believed(writing: executor.Session, redis: Any) -> None:
    answer = writing.call(call({"delete_archived": "default", "ids": archive(redis, 1), "export_as": "x"}))
    path = Path(answer["path"])
    path.chmod(0o666)
    with pytest.raises(Refused, match="only this user can have written"):
        writing.call(call({"import_jobs": "default", "name": "x"}))
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))
    with pytest.raises(Refused, match="import"):
        writing.call(call({"import_jobs": "default", "name": "x"}))


def test_a_gate_shows_the_file_before_it_is_written(writing: executor.Session, tmp_path: Path) -> None:
    file = tmp_path / "state" / "exports" / "asynq-default-pending-run-7.ndjson"
    for request in (
        {"delete_pending": "default", "oldest": 5, "export_as": "run-7"},
        {"import_jobs": "default", "state": "pending", "name": "run-7"},
    ):
        assert json.dumps(str(file)) in executor.show(call(request))
    assert not file.exists()


def test_single_jobs_are_set_aside_from_wherever_they_wait_and_can_be_run_again(
    writing: executor.Session, redis: Any
) -> None:
    now = time.time()
    add(redis, "pending", job("pending"), pending_since=1)
    for state in ("retry", "scheduled", "archived", "completed"):
        add(redis, state, job(state), now + 50)
    for id_, lease in (("dead", now - 1), ("no-lease", None), ("running", now + 600)):
        add(redis, "active", job(id_))
        if lease:
            redis.zadd("asynq:{default}:lease", {id_: lease})
    wanted = ["pending", "retry", "scheduled", "archived", "completed", "dead", "no-lease", "nobody"]
    answer = writing.call(call({"archive_task": "default", "ids": wanted}))
    assert (answer["affected"], answer["archived"], answer["held"]) == (5, 6, 0)
    archived = {"pending", "retry", "scheduled", "archived", "dead", "no-lease"}
    assert {id_.decode() for id_ in redis.zrange("asynq:{default}:archived", 0, -1)} == archived
    assert redis.lrange("asynq:{default}:active", 0, -1) == [b"running"] and not redis.exists(PENDING)
    assert redis.zrange("asynq:{default}:lease", 0, -1) == [b"running"]
    assert redis.hgetall("asynq:{default}:t:pending").keys() == {b"msg", b"state"}
    assert redis.hget("asynq:{default}:t:completed", "state") == b"completed"
    assert writing.call(call({"archive_task": "default", "ids": wanted}))["affected"] == 0
    assert writing.call(call({"retry_archived": "default", "ids": ["dead"]}))["affected"] == 1


def test_a_job_whose_worker_just_died_is_set_aside_once_its_lease_has_run_out(
    writing: executor.Session, redis: Any
) -> None:
    add(redis, "active", job("a"))
    redis.zadd("asynq:{default}:lease", {"a": time.time() + 1})
    answer = writing.call(call({"archive_task": "default", "ids": ["a"]}))
    assert (answer["affected"], answer["held"]) == (1, 0)
    add(redis, "active", job("b"))
    redis.zadd("asynq:{default}:lease", {"b": time.time() + 600})
    answer = writing.call(call({"archive_task": "default", "ids": ["b"]}, deadline=2.0))
    assert (answer["affected"], answer["held"]) == (0, 1)


def test_setting_aside_out_of_memory_moves_nothing(writing: executor.Session, redis: Any) -> None:
    waiting(redis, 1)
    before = contents(redis)
    with out_of_memory(redis), pytest.raises(TargetError) as failure:
        writing.call(call({"archive_task": "default", "ids": ["job-0"]}))
    assert failure.value.happened == "no" and contents(redis) == before


def test_ids_without_a_job_are_dropped_wherever_they_stand_also_out_of_memory(
    writing: executor.Session, redis: Any
) -> None:
    ids = waiting(redis, 1500)
    add(redis, "active", job("runs"))
    redis.lpush("asynq:{default}:active", "ghost")
    redis.zadd("asynq:{default}:lease", {"ghost": 1, "runs": time.time() + 9})
    redis.hset("asynq:{default}:t:ghost", "state", "active")
    for id_ in ids[::2]:
        redis.delete(f"asynq:{{default}}:t:{id_}")
    with pytest.raises(Refused, match="751 ids have no job"):
        writing.call(call({"drop_ghosts": "default"}, affected=750))
    with out_of_memory(redis):
        assert writing.call(call({"drop_ghosts": "default"}))["affected"] == 751
    assert [id_.decode() for id_ in reversed(redis.lrange(PENDING, 0, -1))] == ids[1::2]
    assert redis.lrange("asynq:{default}:active", 0, -1) == [b"runs"]
    assert redis.zrange("asynq:{default}:lease", 0, -1) == [b"runs"] and not redis.exists("asynq:{default}:t:ghost")
    assert writing.call(call({"drop_ghosts": "default"}))["affected"] == 0


def test_who_killed_its_worker_is_told_from_who_died_with_it(redis: Any, server: RedisServer) -> None:
    now = time.time()
    died = {"error_msg": "asynq: task lease expired", "last_failed_at": int(now)}
    large = b'{"workflow_id":"w1","workspace_id":"s1","input_data":"' + b"x" * (5 << 20) + b'"}'
    add(redis, "retry", job("killer", retried=2, payload=large, **died), now + 50)
    add(redis, "archived", job("dead", retried=3, **died), now)
    add(redis, "retry", job("old", retried=1, **{**died, "last_failed_at": int(now - 9000)}), now + 50)
    add(redis, "retry", job("other", retried=3, error_msg="boom", last_failed_at=int(now)), now + 50)
    for id_ in ("victim", "held"):
        add(redis, "active", job(id_, payload=b'{"workflow_id":"w2","workspace_id":"s2"}'))
        redis.zadd("asynq:{default}:lease", {id_: now + 1})
    alive(redis, WorkerInfo("vm", 1, "x", "held", "t", b"{}", "default", now, now + 9))
    with session_of(server) as session:
        answer = session.call(call({"deaths": "default", "since": 600}))
    rows = {row["id"]: row for row in answer["died"]}
    assert list(rows) == ["dead", "killer", "victim"] and answer["died_count"] == 3
    assert [row["deaths"] for row in rows.values()] == [4, 2, 1]
    assert (rows["killer"]["workflow_id"], rows["killer"]["workspace_id"]) == ("w1", "s1")
    assert rows["killer"]["payload_bytes"] == len(large) == answer["died_payload_max"]
    assert rows["victim"]["unheld"] is True and answer.keys() <= executor.ANSWERS.keys()


def test_outcomes_tell_what_another_attempt_has_come_to(redis: Any, server: RedisServer) -> None:
    now = time.time()
    add(redis, "completed", job("done"), now + 9)
    add(redis, "archived", job("again"), now)
    add(redis, "archived", job("untouched"), now - 100)
    add(redis, "pending", job("waits"))
    ids = ["done", "gone", "again", "untouched", "waits", "done"]
    with session_of(server) as session:
        answer = session.call(call({"outcomes": "default", "ids": ids, "since": now - 50}))
    counts = [answer[name] for name in ("asked", "succeeded", "failed_again", "untouched", "open", "success_share")]
    assert counts == [5, 2, 1, 1, 1, 0.6667] and answer.keys() <= executor.ANSWERS.keys()


def test_tasks_say_what_waits_of_which_workflow_and_since_when(redis: Any, server: RedisServer) -> None:
    for number in range(4):
        payload = json.dumps({"workflow_id": f"w{number // 3}", "workspace_id": "s"}).encode()
        add(redis, "pending", job(f"a{number}", payload=payload), pending_since=int((1000 + number) * 1e9))
    with session_of(server) as session:
        answer = session.call(call({"tasks": "default", "state": "pending"}))
    assert (answer["oldest"], answer["newest"]) == (1000, 1003)
    assert answer["by_workflow"][0] == {"workflow_id": "w0", "count": 3, "share": 0.75}
    assert answer["by_workspace"] == [{"workspace_id": "s", "count": 4, "share": 1.0}]


@pytest.mark.parametrize(
    ("request_", "effect"),
    [
        ({"archive_task": "default", "ids": ["a"]}, Effect.reversible),
        ({"drop_ghosts": "default"}, Effect.reversible),
        ({"import_jobs": "default", "name": "x"}, Effect.reversible),
        ({"delete_pending": "default", "ids": ["a"], "export_as": "x"}, Effect.destructive),
        ({"delete_archived": "default", "ids": ["a"], "export_as": "x"}, Effect.destructive),
    ],
    ids=str,
)
def test_a_read_session_does_none_of_it(request_: Any, effect: Effect, redis: Any, server: RedisServer) -> None:
    assert executor.least_effect(executor.Params.model_validate(request_))[0] is effect
    with session_of(server) as session, pytest.raises(Refused, match="read session"):
        session.call(call(request_))
