"""Every Redis and asynq probe of every shipped playbook and library, asked of every version of Redis there is.

Each answers, or is not asked because a gate says so. None is told that it does not exist or has the wrong arguments.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from redis_versions import BINARIES, client_of, redis_of, sentinel_of
from servers import RedisServer

from runbook_engine import executors
from runbook_engine.asynq.wire import (
    ServerInfo,
    TaskMessage,
    WorkerInfo,
    encode_server_info,
    encode_task_message,
    encode_worker_info,
)
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Target
from runbook_engine.expressions import Unknown, compile_expression, compile_template
from runbook_engine.loading.inputs import resolve_inputs
from runbook_engine.matrix import load
from runbook_engine.model import Playbook, Probe
from runbook_engine.sandbox.webhooks import GROUP, STREAM

ASKED = ("redis", "asynq")
PLAYBOOKS = Path(__file__).parent.parent / "playbooks"
NAMES = sorted(
    path.stem for path in PLAYBOOKS.glob("*/*.yaml") if path.parent.name != "library" and ".test" not in path.name
)
# What a server says to a command that it does not know, or not in this form.
NO_COMMAND = ("unknown command", "unknown subcommand", "wrong number of arguments", "syntax error", "Unknown option")
ROUNDS = 4  # a fact may need one that needs another


def job(id_: str, **fields: Any) -> bytes:
    payload = json.dumps({"workflow_id": "w-1", "workspace_id": "s-1", "trigger_data": {}}).encode()
    return encode_task_message(
        TaskMessage(type="workflow:execution", payload=payload, id=id_, queue="default", **fields)
    )


def linkflow(client: redis_client.Redis) -> None:
    """What a LinkFlow that works leaves in Redis: jobs in every state, a worker, a leader, limits, and webhooks."""
    now = time.time()
    pipe = client.pipeline(transaction=False)
    pipe.sadd("asynq:queues", "default")
    for state in ("pending", "active", "scheduled", "retry", "archived", "completed"):
        for number in range(30):
            id_ = f"{state}-{number}"
            message = job(id_, error_msg="429 Too Many Requests" if state in ("retry", "archived") else "")
            fields: dict[Any, Any] = {"msg": message, "state": state, "pending_since": time.time_ns()}
            pipe.hset(f"asynq:{{default}}:t:{id_}", mapping=fields)
            if state in ("pending", "active"):
                pipe.lpush(f"asynq:{{default}}:{state}", id_)
            else:
                pipe.zadd(f"asynq:{{default}}:{state}", {id_: now + number})
    pipe.zadd("asynq:{default}:lease", {"active-1": now + 20})
    pipe.mset({"asynq:{default}:processed": 100, "asynq:{default}:failed": 7})
    identity = "{host:7:server}"
    info = ServerInfo("host", 7, "server", 10, {"default": 3}, False, "active", now - 60, 1)
    pipe.set(f"asynq:servers:{identity}", encode_server_info(info), ex=60)
    row = WorkerInfo("host", 7, "server", "active-1", "workflow:execution", b"{}", "default", now - 5, now + 60)
    pipe.hset(f"asynq:workers:{identity}", "active-1", encode_worker_info(row))
    pipe.zadd("asynq:servers", {f"asynq:servers:{identity}": now + 60})
    pipe.zadd("asynq:workers", {f"asynq:workers:{identity}": now + 60})
    pipe.set("scheduler:leader", "3f8c1a52-9f1e-4a63-8d6f-0f7f5f1a2b3c", px=30_000)
    for key in ("scheduler:ratelimit:global:global", "scheduler:ratelimit:workspace:workspace:3f8c1a52"):
        pipe.zadd(key, {str(number): time.time_ns() for number in range(5)})
    pipe.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    for number in range(200):
        pipe.xadd(STREAM, {"body": "x" * 300, "n": number})
    pipe.xreadgroup(GROUP, "worker-1", {STREAM: ">"}, count=50)
    pipe.execute()


@pytest.fixture(scope="module", params=BINARIES)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with redis_of(request.param) as started, client_of(started) as client:
        linkflow(client)
        yield started


def facts_of(playbook: Playbook, server: RedisServer) -> dict[str, Any]:
    """Inputs, and whatever facts the probes of Redis give; the others are unknown, as without their targets."""
    missing = {name: Unknown("no such target here") for probe in playbook.probes() for name in probe.facts}
    inputs = resolve_inputs(playbook, {}, 1.0)
    place = {"kind": "redis", **server.settings}
    targets = {name: place if use.kind == "redis" else {"kind": use.kind} for name, use in playbook.targets.items()}
    return {**missing, **inputs, "targets": targets, "run": {"id": "R-1", "pace": 1}, "__baselines__": {}}


def rendered(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        return compile_template(value).render(scope)
    if isinstance(value, Mapping):
        return {key: rendered(item, scope) for key, item in value.items()}
    return [rendered(item, scope) for item in value] if isinstance(value, list | tuple) else value


def without_unknown(value: Any) -> bool:
    if isinstance(value, Unknown):
        return False
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return all(without_unknown(item) for item in items)


def complaints(reply: Any) -> list[str]:
    """What the server said of a command inside a list of commands; WRONGTYPE and NOGROUP are answers."""
    if isinstance(reply, Mapping) and isinstance(reply.get("error"), Mapping):
        return [str(reply["error"].get("message"))]
    children = reply.values() if isinstance(reply, Mapping) else reply if isinstance(reply, list) else ()
    return [said for child in children for said in complaints(child)]


def asked(probe: Probe, server: RedisServer, scope: dict[str, Any]) -> str:
    """How a probe ended: `answered`, `gated`, or what is wrong. Its facts go into `scope`."""
    if probe.when is not None and compile_expression(probe.when).evaluate(scope) is not True:
        return "gated"
    request = rendered(probe.request, {**scope, "call": {"id": "R-1-probe-1"}})
    if not without_unknown(request):
        return "gated"
    executor = executors.load_all()[str(probe.executor)]
    session: Any = executor.connect(Target("redis", "redis", server.settings), "read")
    try:
        samples = [session.call(Call("R-1/probe/1", request, deadline=10.0)) | {"at": float(n)} for n in range(2)]
    except TargetError as fault:
        return fault.message if any(words in fault.message for words in NO_COMMAND) else "answered"
    except Refused as refusal:
        return str(refusal)
    finally:
        session.close()
    wrong = [said for said in complaints(samples[-1]) if any(words in said for words in NO_COMMAND)]
    inside = {**dict.fromkeys(executor.ANSWERS, Unknown("not answered")), **samples[-1]}
    inside |= {"samples": samples, "sampled": 1.0, "error": None}
    for name, expression in probe.facts.items():
        scope[name] = inside[name] = compile_expression(expression).evaluate({**scope, **inside})
    return "; ".join(wrong) or "answered"


def probes_of(playbook: Playbook) -> list[Probe]:
    """Those whose target is this Redis: not one derived from it, and no Sentinel."""
    plain = {name for name, use in playbook.targets.items() if use.kind == "redis" and name == "redis"}
    return [probe for probe in playbook.probes() if probe.executor in ASKED and probe.target in (*plain, None)]


@pytest.mark.parametrize("name", NAMES)
def test_every_probe_of_redis_answers_or_is_gated(name: str, server: RedisServer) -> None:
    playbook = load(name).playbook
    scope = facts_of(playbook, server)
    ended: dict[str, str] = {}
    for _ in range(ROUNDS):
        ended = {probe.id: asked(probe, server, scope) for probe in probes_of(playbook)}
    assert {step: said for step, said in ended.items() if said not in ("answered", "gated")} == {}
    if ended:
        assert "answered" in ended.values(), ended


@pytest.mark.parametrize("name", ["redis-memory-full", "redis-connection-issues"])
def test_the_facts_of_both_versions_are_the_same_facts(name: str, server: RedisServer) -> None:
    """What a rule needs is there on every version: nothing is told from what only a newer server says."""
    playbook = load(name).playbook
    scope = facts_of(playbook, server)
    for _ in range(ROUNDS):
        ended = {probe.id: asked(probe, server, scope) for probe in probes_of(playbook)}
    of_replicas = {"master_host", "master_port", "master_link"}
    unknown = {
        fact: scope[fact].reason
        for probe in probes_of(playbook)
        if ended[probe.id] == "answered"
        for fact in probe.facts
        if isinstance(scope[fact], Unknown) and fact not in of_replicas
    }
    assert unknown == {}


def test_the_stream_says_on_both_versions_from_where_on_nothing_is_processed(server: RedisServer) -> None:
    playbook = load("redis-memory-full").playbook
    scope = facts_of(playbook, server)
    for probe in probes_of(playbook):
        asked(probe, server, scope)
    with client_of(server) as client:
        first = client.xrange(STREAM, count=1)[0][0].decode()  # type: ignore[index,union-attr]  # 200 entries are there
    assert (scope["stream_length"], scope["group_exists"], scope["unacknowledged"]) == (200, True, 50)
    assert scope["keep_from"] == first, "the oldest one that a consumer took and has not acknowledged"


@pytest.mark.parametrize("version", BINARIES)
def test_a_sentinel_names_its_master_in_a_form_the_playbook_reads(version: str, tmp_path: Path) -> None:
    probe = next(probe for probe in load("redis-connection-issues").playbook.diagnosis if probe.id == "sentinel")
    request = rendered(probe.request, {"sentinel_master": "mymaster"})
    with redis_of(version) as master, sentinel_of(version, master, tmp_path) as watcher:
        session: Any = executors.load_all()["redis"].connect(Target("s", "redis", watcher.settings), "read")
        answer = session.call(Call("call/1", request, deadline=5))
        session.close()
    facts = {name: compile_expression(text).evaluate(answer) for name, text in probe.facts.items()}
    assert facts == {"elected_host": "127.0.0.1", "elected_port": master.port}


@pytest.fixture(params=BINARIES)
def full(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """A LinkFlow's Redis that refuses every write for want of memory."""
    with redis_of(request.param) as started, client_of(started) as client:
        linkflow(client)
        lost = {f"asynq:{{default}}:t:lost-{number}": number for number in range(40)}
        for name, number in lost.items():
            client.hset(name, mapping={"msg": job(f"lost-{number}"), "state": "archived"})
        client.mset({f"node:result:{number}": "x" for number in range(50)})
        client.config_set("maxmemory", "1")
        yield started


def mend(server: RedisServer, executor: str, request: Any, **changes: Any) -> Any:
    session: Any = executors.load_all()[executor].connect(Target("redis", "redis", server.settings), "write")
    try:
        return session.call(Call("R-1/mend/1", request, **{"deadline": 20.0, **changes}))
    finally:
        session.close()


def test_all_that_mends_a_full_redis_works_while_it_is_full(full: RedisServer, tmp_path: Path) -> None:
    place = {"export_as": "R-1", "path": str(tmp_path / "exports")}
    archived = [f"archived-{number}" for number in range(30)]
    with client_of(full) as client:
        with pytest.raises(redis_client.exceptions.OutOfMemoryError):
            client.set("k", "1")
        cutoff = time.time() + 3600
        assert mend(full, "asynq", {"purge_completed": "default", "before": cutoff})["affected"] == 30
        assert mend(full, "asynq", {"purge_unreferenced": "default", "apart": 0, **place})["affected"] == 40
        assert mend(full, "asynq", {"delete_archived": "default", "ids": archived, **place})["affected"] == 30
        assert mend(full, "redis", {"unlink": {"prefix": "node:result:", "batch": 20}})["affected"] == 50
        waits = client.xpending(STREAM, GROUP)["min"]
        assert mend(full, "redis", ["XTRIM", STREAM, "MINID", waits.decode()])["affected"] == 0
        client.xack(
            STREAM, GROUP, *[entry["message_id"] for entry in client.xpending_range(STREAM, GROUP, "-", "+", 50)]
        )
        taken = client.xinfo_groups(STREAM)[0]["last-delivered-id"].decode()
        assert mend(full, "redis", ["XTRIM", STREAM, "MINID", taken])["affected"] == 49
        assert mend(full, "asynq", {"quarantine": "default", "id": "R-1"})["affected"] == 30
        assert client.xlen(STREAM) == 151 and client.exists("asynq:{default}:rbq:R-1")
        idle = client_of(full)
        with idle as other:
            number = other.client_id()
            assert mend(full, "redis", ["CLIENT", "KILL", "ID", number])["affected"] == 1
        with pytest.raises(TargetError) as failure:
            mend(full, "asynq", {"pause": "default"})
        assert (failure.value.code, failure.value.happened) == ("OOM", "no"), "what cannot be done says so"
        with pytest.raises(TargetError, match="takes no transaction"):
            mend(full, "redis", [["CONFIG", "SET", "maxmemory", 0], ["CONFIG", "SET", "maxclients", 100]])
        mend(full, "redis", ["CONFIG", "SET", "maxmemory", 0])
        client.set("k", "1")


def test_all_that_is_asked_of_a_full_redis_is_answered_while_it_is_full(full: RedisServer) -> None:
    playbook = load("redis-memory-full").playbook
    scope = facts_of(playbook, full)
    ended: dict[str, str] = {}
    for _ in range(ROUNDS):
        ended = {probe.id: asked(probe, full, scope) for probe in probes_of(playbook) if probe.id != "writes"}
    assert set(ended.values()) <= {"answered", "gated"} and ended["attribution"] == ended["queues"] == "answered"
    assert scope["orphans"] == 40 and scope["completed_count"] == 30 and scope["refused_total"] >= 0


# As docs/runbook-yaml.md gives it, for a diagnosis alone.
READER = (
    "on >pw ~* -@all +@read -keys -@dangerous +time +ping +select +info +command +config|get +slowlog|get "
    "+client|list +client|setname +memory|usage +set"
)


@pytest.mark.parametrize("name", ["redis-memory-full", "redis-connection-issues", "queue-backlog"])
def test_a_user_who_may_only_look_is_told_everything(name: str, server: RedisServer) -> None:
    """`set` is for the canary. On Redis 6 a subcommand is allowed in another way than the command around it."""
    with client_of(server) as client:
        client.execute_command("ACL", "SETUSER", "reader", *READER.split())  # type: ignore[no-untyped-call]  # redis-py has no types here
    playbook = load(name).playbook
    scope = facts_of(playbook, server)
    allowed = Target("redis", "redis", {**server.settings, "username": "reader", "password": "pw"})
    refused: dict[str, str] = {}
    for probe in probes_of(playbook):
        asked(probe, server, scope)
        request = rendered(probe.request, {**scope, "call": {"id": "R-1"}})
        if not without_unknown(request):
            continue
        session: Any = executors.load_all()[str(probe.executor)].connect(allowed, "read")
        try:
            said = complaints(session.call(Call("R-1/probe/1", request, deadline=10.0)))
        except TargetError as fault:
            said = [fault.message]
        finally:
            session.close()
        if any("NOPERM" in text for text in said):
            refused[probe.id] = said[0]
    assert refused == {}
