"""Where the memory of a Redis went, who is connected, and the removal of what nothing holds: against a real server."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
import redis as redis_client
from servers import RedisServer

from runbook_engine.asynq.wire import TaskMessage, encode_task_message
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import asynq
from runbook_engine.executors import redis as executor
from runbook_engine.redis_client.key_classes import class_of, families, prefix_of

LISTS = ("pending", "active")


@contextmanager
def session_of(server: RedisServer, kind: Any, mode: Literal["read", "write"] = "read") -> Iterator[Any]:
    session = kind.connect(Target("cache", "redis", server.settings), mode)
    try:
        yield session
    finally:
        session.close()


def ask(server: RedisServer, request: Any, **changes: Any) -> Any:
    with session_of(server, executor) as session:
        return session.call(Call("call/1", request, **{"deadline": 60, **changes}))["result"]


def look(server: RedisServer, request: Any) -> Any:
    with session_of(server, asynq) as session:
        return session.call(Call("call/1", request, deadline=60))


def act(server: RedisServer, request: Any, **changes: Any) -> Any:
    with session_of(server, asynq, "write") as session:
        return session.call(Call("call/1", request, **{"deadline": 60, **changes}))


def jobs(
    client: Any, queue: str, state: str, count: int, size: int, *, held: bool = True, prefix: str = ""
) -> list[str]:
    """Jobs as asynq keeps them, of about `size` bytes each."""
    ids = [f"{prefix}{uuid.UUID(int=random.Random(f'{queue}{state}{n}').getrandbits(128))}" for n in range(count)]
    pipe = client.pipeline(transaction=False)
    for id_ in ids:
        message = TaskMessage(
            type="workflow:execution", payload=b"x" * random.Random(id_).randint(size // 2, size), id=id_
        )
        fields = {"msg": encode_task_message(message), "state": state}
        pipe.hset(f"asynq:{{{queue}}}:t:{id_}", mapping=fields)
        if held and state in LISTS:
            pipe.lpush(f"asynq:{{{queue}}}:{state}", id_)
        elif held:
            pipe.zadd(f"asynq:{{{queue}}}:{state}", {id_: time.time() + 3600})
    pipe.sadd("asynq:queues", queue)
    pipe.execute()
    return ids


def usage(client: Any, pattern: str) -> int:
    """What the server itself says that these keys take, every one of them weighed whole."""
    names = list(client.scan_iter(pattern, count=5000))
    pipe = client.pipeline(transaction=False)
    for name in names:
        pipe.memory_usage(name, samples=0)
    return sum(pipe.execute())


def filled(client: Any) -> None:
    """Two queues, a cache without a time to live, one with, a stream, and names that nothing normalises."""
    jobs(client, "default", "completed", 3000, 400)
    jobs(client, "default", "pending", 1500, 1200)
    jobs(client, "emails", "archived", 800, 2500)
    jobs(client, "emails", "retry", 100, 300)
    jobs(client, "default", "archived", 700, 600, held=False)
    pipe = client.pipeline(transaction=False)
    for n in range(2500):
        pipe.set(f"session:cache:{n}", "x" * random.Random(n).randint(100, 900))
        pipe.set(f"token:{uuid.UUID(int=n)}", "y" * 60, ex=3600)
    for name in ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "ken", "lea"):
        pipe.set(f"profile:{name}", "z" * 5000)
    for _ in range(2000):
        pipe.xadd("stream:webhooks", {"body": "w" * 400})
    pipe.execute()


@pytest.mark.parametrize("sample", [300, 2000, 50_000])
def test_what_is_told_of_a_sample_is_what_the_server_says_of_every_key(
    sample: int, redis: Any, redis_process: RedisServer
) -> None:
    filled(redis)
    found = ask(redis_process, {"memory": {"sample": sample, "seconds": 30}})
    by_name = {row["name"]: row for row in found["classes"]}
    error = 0.15 if sample < 1000 else 0.06
    for name, pattern in [
        ("session:cache:#", "session:cache:*"),
        ("token:<uuid>", "token:*"),
        ("asynq:{default}:t:*", "asynq:{default}:t:*"),
        ("asynq:{emails}:t:*", "asynq:{emails}:t:*"),
        ("stream:webhooks", "stream:webhooks"),
        ("profile:*", "profile:*"),
    ]:
        assert by_name[name]["bytes"] == pytest.approx(usage(redis, pattern), rel=error), name
    assert found["bytes"] == pytest.approx(usage(redis, "*"), rel=error)
    assert sum(row["share"] for row in found["classes"]) == pytest.approx(1, abs=0.01)
    assert found["complete"] and found["keys"] == redis.dbsize()
    assert (by_name["session:cache:#"]["n"], by_name["token:<uuid>"]["n"], by_name["profile:*"]["n"]) == (
        2500,
        2500,
        12,
    )
    assert (by_name["session:cache:#"]["no_ttl_share"], by_name["token:<uuid>"]["no_ttl_share"]) == (1, 0)


def test_each_queue_says_what_every_state_of_its_jobs_takes(redis: Any, redis_process: RedisServer) -> None:
    filled(redis)
    found = ask(redis_process, {"memory": {"sample": 2000, "seconds": 30}})
    queues = {queue["name"]: queue for queue in found["queues"]}
    assert {name: queue["states"]["archived"]["n"] for name, queue in queues.items()} == {"default": 0, "emails": 800}
    total = usage(redis, "*")
    for queue, state in [("default", "completed"), ("default", "pending"), ("emails", "archived"), ("emails", "retry")]:
        names = redis.lrange(f"asynq:{{{queue}}}:{state}", 0, -1) if state in LISTS else None
        members = names if names is not None else redis.zrange(f"asynq:{{{queue}}}:{state}", 0, -1)
        hashes = sum(redis.memory_usage(f"asynq:{{{queue}}}:t:{id_.decode()}", samples=0) for id_ in members)
        real = hashes + redis.memory_usage(f"asynq:{{{queue}}}:{state}", samples=0)
        told = queues[queue]["states"][state]
        assert told["n"] == len(members)
        assert told["share"] == pytest.approx(real / total, abs=0.03), (queue, state)
        assert told["bytes"] == pytest.approx(real, rel=0.15), (queue, state)
    assert (queues["default"]["orphans"], queues["emails"]["orphans"], found["orphans"]) == (700, 0, 700)
    assert found["orphan_hashes"] == {"default": 700, "emails": 0}
    orphans = usage(redis, "asynq:{default}:t:*") / 5200 * 700
    assert found["orphan_share"] == pytest.approx(orphans / total, abs=0.03)
    assert found["states"]["pending"]["n"] == 1500 and found["queue_share"] > 0.5


def test_what_a_quarantine_holds_is_no_orphan(redis: Any, redis_process: RedisServer) -> None:
    jobs(redis, "default", "pending", 300, 200)
    redis.rename("asynq:{default}:pending", "asynq:{default}:rbq:R-1")
    assert ask(redis_process, {"memory": None})["orphans"] == 0
    assert look(redis_process, {"unreferenced": "default"})["total"] == 0


def test_a_walk_that_is_cut_short_says_so_and_speaks_of_all_keys(redis: Any, redis_process: RedisServer) -> None:
    redis.mset({f"cache:{n}": "x" * 100 for n in range(60_000)})
    found = ask(redis_process, {"memory": {"sample": 1000, "seconds": 0.001}})
    assert not found["complete"] and found["keys"] < 60_000 and found["orphan_hashes"] is None
    (only,) = found["classes"]
    assert only["n"] == pytest.approx(60_000, rel=0.01) and only["share"] == 1
    assert only["bytes"] == pytest.approx(usage(redis, "cache:*"), rel=0.1)


def test_an_empty_server_has_no_shares(redis: Any, redis_process: RedisServer) -> None:
    found = ask(redis_process, {"memory": None})
    assert found["classes"] == [] and found["queues"] == [] and found["queue_share"] is None
    assert found["states"]["completed"] == {"n": 0, "bytes": 0, "share": None} and found["orphans"] == 0


@pytest.mark.parametrize(
    ("key", "name", "prefix"),
    [
        ("session:cache:12", "session:cache:#", "session:cache:"),
        ("node:result:3f8c1a52-9f1e-4a63-8d6f-0f7f5f1a2b3c", "node:result:<uuid>", "node:result:"),
        ("asynq:{q1}:t:abc", "asynq:{q1}:t:*", "asynq:{q1}:t:"),
        ("asynq:{q1}:processed:2026-11-23", "asynq:{q1}:processed:#-#-#", "asynq:{q1}:processed:"),
        (
            "asynq:{q}:unique:mail:0123456789abcdef0123456789abcdef",
            "asynq:{q}:unique:mail:<hex>",
            "asynq:{q}:unique:mail:",
        ),
        (
            "asynq:servers:{host:7:3f8c1a52-9f1e-4a63-8d6f-0f7f5f1a2b3c}",
            "asynq:servers:{host:#:<uuid>}",
            "asynq:servers:{host:",
        ),
        ("ratelimit:ip:10.0.0.7:5123", "ratelimit:ip:#.#.#.#:#", "ratelimit:ip:"),
        ("scheduler:leader", "scheduler:leader", "scheduler:leader"),
    ],
)
def test_what_varies_in_a_name_is_left_out_and_what_stays_is_the_prefix(key: str, name: str, prefix: str) -> None:
    assert (class_of(key), prefix_of(class_of(key))) == (name, prefix)


def test_names_become_a_family_only_when_there_are_many_of_them() -> None:
    assert families([("profile:a", 1), ("profile:b", 1)]) == {}
    assert families([(f"profile:{letter}", 1) for letter in "abcdefghij"])["profile:c"] == "profile:*"
    assert families([(f"asynq:x{letter}", 1) for letter in "abcdefghij"]) == {}
    assert families([(f"profile:{letter}", 100) for letter in "abcdefghij"]) == {}


def test_hashes_that_nothing_holds_are_counted_by_the_state_they_name(redis: Any, redis_process: RedisServer) -> None:
    jobs(redis, "default", "archived", 120, 200, held=False)
    jobs(redis, "default", "pending", 30, 200, held=False, prefix="p")
    jobs(redis, "default", "retry", 50, 200)
    redis.hset("asynq:{default}:t:bare", "state", "active")
    redis.hset("asynq:{default}:t:ghost", "state", "active")
    redis.lpush("asynq:{default}:active", "ghost")
    found = look(redis_process, {"unreferenced": "default"})
    assert (found["count"], found["total"]) == (121, 151)
    assert found["states"] == {"archived": 120, "pending": 30, "without a message": 1}
    real = usage(redis, "asynq:{default}:t:*") / 202 * 121
    assert found["bytes"] == pytest.approx(real, rel=0.2) and len(found["ids"]) == 20 and not found["truncated"]


def test_only_what_two_looks_agree_on_is_removed_after_it_was_written_to_a_file(
    redis: Any, redis_process: RedisServer, tmp_path: Path
) -> None:
    lost = jobs(redis, "default", "archived", 450, 200, held=False)
    kept = jobs(redis, "default", "completed", 20, 200)
    waiting = jobs(redis, "default", "pending", 5, 200, held=False, prefix="p")
    request = {"purge_unreferenced": "default", "export_as": "R-1", "path": str(tmp_path / "out"), "apart": 0.05}
    with pytest.raises(Refused, match="450 hashes are unheld"):
        act(redis_process, request, affected=400)
    assert not (tmp_path / "out").exists()
    redis.config_set("maxmemory", "1")
    try:
        answer = act(redis_process, request, affected=450)
    finally:
        redis.config_set("maxmemory", "0")
    assert (answer["affected"], answer["asked"], answer["lines"]) == (450, 450, 450)
    path = Path(answer["path"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {json.loads(line)["id"] for line in path.read_text().splitlines()} == set(lost)
    left = {name.decode().rpartition(":")[2] for name in redis.keys("asynq:{default}:t:*")}
    assert left == {*kept, *waiting}, "jobs that never ran are nobody's rubbish"
    assert act(redis_process, request)["affected"] == 0


def test_a_job_that_comes_back_between_the_looks_stays(redis: Any, redis_process: RedisServer, tmp_path: Path) -> None:
    first, *others = jobs(redis, "default", "archived", 40, 200, held=False)
    redis.zadd("asynq:{default}:archived", {first: 1})
    locked = others[0]
    redis.hset(f"asynq:{{default}}:t:{locked}", "unique_key", "asynq:{default}:unique:x")
    redis.set("asynq:{default}:unique:x", locked)
    request = {"purge_unreferenced": "default", "export_as": "R-2", "path": str(tmp_path / "out"), "apart": 0}
    assert act(redis_process, request)["affected"] == 39
    assert redis.exists(f"asynq:{{default}}:t:{first}") and not redis.exists("asynq:{default}:unique:x")


def test_two_looks_that_do_not_fit_into_the_deadline_are_refused(redis: Any, redis_process: RedisServer) -> None:
    with pytest.raises(Refused, match="longer timeout"):
        act(redis_process, {"purge_unreferenced": "default", "export_as": "R-3", "apart": 60}, deadline=5)


def test_a_read_session_removes_nothing(redis: Any, redis_process: RedisServer) -> None:
    request = {"purge_unreferenced": "default", "export_as": "R-4"}
    assert asynq.least_effect(request)[0] is Effect.destructive
    with pytest.raises(Refused, match="not done in a read session"):
        look(redis_process, request)


def test_clients_are_grouped_and_the_idle_ones_named(redis: Any, redis_process: RedisServer) -> None:
    kept = [redis_client.Redis(redis_process.host, redis_process.port) for _ in range(6)]
    for client in kept:
        client.client_setname("report")
    listener = redis_client.Redis(redis_process.host, redis_process.port).pubsub()  # type: ignore[no-untyped-call]  # redis-py has no types here
    listener.subscribe("news")
    try:
        time.sleep(3.1)  # idle is counted in whole seconds, and a loaded machine may stall whoever asks for one or two
        found = ask(redis_process, {"clients": {"idle": 3}})
        by_name = {(group["name"], group["kind"]): group for group in found["groups"]}
        group = by_name["report", "normal"]
        assert (group["n"], group["idle"], group["addr"], len(group["idle_ids"])) == (6, 6, "127.0.0.1", 6)
        assert group["last"].startswith("client") and group["age_min"] >= 1 and ("", "pubsub") in by_name
        assert found["connected"] >= 8 and by_name["runbook", "normal"]["idle"] == 0
        assert redis.client_kill_filter(_id=str(group["idle_ids"][0])) == 1
    finally:
        listener.close()
        for client in kept:
            client.close()


def test_a_client_that_does_not_read_its_answers_is_named(redis: Any, redis_process: RedisServer) -> None:
    redis.set("large", "x" * 1_000_000)
    with socket.create_connection((redis_process.host, redis_process.port)) as deaf:
        deaf.sendall(b"CLIENT SETNAME deaf\r\n" + b"GET large\r\n" * 30)
        for _ in range(100):
            found = ask(redis_process, {"clients": None})
            if found["largest"]["buffers"] > 5_000_000:
                break
            time.sleep(0.05)
        assert (found["largest"]["name"], found["largest"]["kind"]) == ("deaf", "normal")
        assert found["buffers"] >= found["largest"]["buffers"] > 5_000_000


def test_every_request_says_how_long_its_reply_took(redis: Any, redis_process: RedisServer) -> None:
    with session_of(redis_process, executor) as session:
        answer = session.call(Call("call/1", ["PING"]))
        assert 0 < answer["ms"] < 10_000 and set(answer) <= set(executor.ANSWERS)


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ({"clients": {"idle": 30}}, "CLIENT LIST, grouped; idle from 30 s on"),
        ({"memory": {"sample": 10, "seconds": 2}}, "SCAN every key for 2 s, MEMORY USAGE of about 10"),
    ],
)
def test_a_look_is_shown_as_what_it_asks(request_: Any, shown: str) -> None:
    assert executor.show(Call("call/1", request_)) == shown
    assert executor.least_effect(request_)[0] is Effect.read


def test_looking_changes_nothing_and_works_out_of_memory(redis: Any, redis_process: RedisServer) -> None:
    filled(redis)
    before = {name: redis.dump(name) for name in redis.scan_iter(count=5000)}
    redis.config_set("maxmemory", "1")
    try:
        assert ask(redis_process, {"memory": {"sample": 500}})["complete"]
        assert ask(redis_process, {"clients": None})["connected"] >= 1
        assert look(redis_process, {"unreferenced": "default"})["count"] == 700
        with pytest.raises(TargetError) as failure:
            ask(redis_process, ["SET", "rb:canary:1", "1", "PX", 1000, "NX"])
        assert failure.value.code == "OOM"
    finally:
        redis.config_set("maxmemory", "0")
    with contextlib.suppress(redis_client.RedisError):
        assert {name: redis.dump(name) for name in redis.scan_iter(count=5000)} == before
