"""`runbook collect` on a LinkFlow that is really broken: in time, without secrets, with the same causes as a run."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_client
from commands import Place
from planted import PLANTED

from runbook_engine.asynq.wire import encode_task_message
from runbook_engine.bundle.analyzing import analyze
from runbook_engine.bundle.reading import open_bundle
from runbook_engine.sandbox import control
from runbook_engine.sandbox.broker import connect_redis, new_message
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")
ALLOWED = 60.0  # seconds: what the command promises for everything, whatever hangs


def ranked(document: Any, playbook: str) -> list[str]:
    """The causes of a playbook that count, best first."""
    found = next(each for each in document["playbooks"] if each["playbook"] == playbook)
    return [cause["id"] for cause in found["causes"] if cause["verdict"] in ("confirmed", "suspected")]


@pytest.mark.parametrize(("fault", "playbook"), [("F32", "queue-backlog"), ("F30", "queue-backlog")])
def test_the_bundle_of_a_broken_linkflow_gives_the_same_top_cause_as_a_run(
    sandbox: State, linkflow: Place, tmp_path: Path, fault: str, playbook: str
) -> None:
    control.restore(sandbox)
    control.break_(sandbox, fault, 7)
    live = linkflow.run("run", playbook, "--diagnose", "--output", "json").document
    bundle = tmp_path / "bundle.tar.gz"
    made = linkflow.run("collect", "--to", str(bundle), "--output", "json")
    assert made.code == 0, made.said
    assert made.document["seconds"] <= ALLOWED
    control.restore(sandbox)
    # Elsewhere: another folder, no environment, no journal. Whoever asked a target here would find none.
    away = Place(tmp_path, tmp_path / "nothing")
    analyzed = away.run("analyze", str(bundle), "--output", "json")
    assert analyzed.code == 1, analyzed.said
    best = [cause["id"] for cause in live["causes"] if cause["verdict"] == "confirmed"]
    assert ranked(analyzed.document, playbook)[:1] == best[:1] != []
    now = away.run("analyze", str(bundle), "--current", "--output", "json").document
    assert ranked(now, playbook)[:1] == best[:1]
    told = away.run("analyze", str(bundle)).stdout
    assert playbook in told and "no target was asked" in told
    report = away.run("report", str(bundle)).stdout
    assert f"**{playbook}: DIAGNOSED**" in report
    assert away.run("report", str(bundle), "--format", "json").document["runs"]


def test_a_second_look_at_a_bundle_gives_what_was_recorded(sandbox: State, linkflow: Place, tmp_path: Path) -> None:
    control.restore(sandbox)
    bundle = tmp_path / "bundle"
    assert linkflow.run("collect", "--to", str(bundle)).code == 0
    opened = open_bundle(bundle)
    outcomes = {each.playbook: each.outcome for each in analyze(opened)}
    recorded = {each["playbook"]: each["outcome"] for each in opened.manifest["playbooks"]}
    assert outcomes == {name: outcome for name, outcome in recorded.items() if name != "collect-diagnostics"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in [bundle, *bundle.rglob("*")])
    failed = [(entry["step"], entry["error"]) for entry in opened.manifest["entries"] if entry.get("error")]
    own = [each for each in failed if each[1]["code"] not in ("unconfigured",)]
    assert not own


def children(pid: int) -> list[int]:
    found = []
    for each in filter(str.isdigit, os.listdir("/proc")):
        try:
            parent = int(Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(each), *children(int(each))]
    return found


@contextmanager
def frozen(sandbox: State, *services: str) -> Iterator[None]:
    """The processes of these services stopped, sessions of PostgreSQL included, and going on afterwards."""
    rows = [row for name in services for row in request(sandbox, {"service": name, "action": "status"})["processes"]]
    pids = [pid for row in rows for pid in (row["pid"], *children(row["pid"]))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def test_with_redis_and_postgresql_frozen_it_ends_in_time_and_says_so(
    sandbox: State, linkflow: Place, tmp_path: Path
) -> None:
    control.restore(sandbox)
    bundle = tmp_path / "bundle.tar.gz"
    try:
        with frozen(sandbox, "redis", "postgres"):
            made = linkflow.run("collect", "--to", str(bundle), "--output", "json")
        assert made.code == 0, made.said
        assert made.document["seconds"] <= ALLOWED
    finally:
        control.restore(sandbox)
    entries = {entry["step"]: entry for entry in open_bundle(bundle).manifest["entries"] if entry["playbook"]}
    assert entries["redis-info"]["error"]["code"] == "timeout"
    assert entries["pg-versions"]["error"]["code"] == "timeout"
    assert entries["api-log"]["files"] and entries["workers-status"]["files"]
    analyzed = Place(tmp_path, tmp_path / "nothing").run("analyze", str(bundle), "--output", "json").document
    confirmed = {
        cause["id"]: cause["title"]
        for each in analyzed["playbooks"]
        for cause in each["causes"]
        if cause["verdict"] == "confirmed"
    }
    assert any("Redis" in title for title in confirmed.values()), confirmed


def test_ctrl_c_ends_the_asking_and_what_had_answered_is_written(
    sandbox: State, linkflow: Place, tmp_path: Path
) -> None:
    control.restore(sandbox)
    bundle = tmp_path / "bundle.tar.gz"
    try:
        with frozen(sandbox, "redis"), linkflow.begun("collect", "--to", str(bundle)) as process:
            time.sleep(6)  # long enough for what is not frozen, and Redis keeps it waiting for longer
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=40)
    finally:
        control.restore(sandbox)
    assert process.returncode == 130, said
    assert "what had answered by then" in said
    entries = open_bundle(bundle).manifest["entries"]
    assert any(entry["files"] for entry in entries if entry["step"] == "api-log")
    analyzed = Place(tmp_path, tmp_path / "nothing").run("analyze", str(bundle), "--output", "json")
    assert analyzed.document["playbooks"], analyzed.said


def plant(sandbox: State) -> None:
    """In logs, in jobs that failed and wait, in names of keys, in slow commands, in the table of executions."""
    lines = [json.dumps({"level": "error", "message": "call failed", "error": said}) for said in PLANTED.values()]
    for service in ("api", "worker", "scheduler"):
        with sandbox.log_file(service).open("a") as log:
            log.write("\n".join([*lines, *PLANTED.values(), ""]))
    client = connect_redis(sandbox)
    for number, (secret, said) in enumerate(PLANTED.items()):
        client.set(f"note:{number}:{said}", said)
        client.set(f"key:{secret}", "1")
    client.config_set("slowlog-log-slower-than", 0)
    for said in PLANTED.values():
        client.set("slow", said)
    client.config_set("slowlog-log-slower-than", 10_000)
    fail_jobs(client)
    with psycopg.connect(sandbox.postgres_dsn(), autocommit=True) as connection:
        for said in PLANTED.values():
            connection.execute(
                "insert into executions (id, workflow_id, workspace_id, trigger_type, status, error_message,"
                " created_at) select gen_random_uuid(), workflow_id, workspace_id, trigger_type, 'failed', %s, now()"
                " from executions limit 1",
                [said],
            )


def fail_jobs(client: redis_client.Redis) -> None:
    """Archived and pending jobs of asynq whose payloads and errors hold what nobody may see."""
    for queue, state in (("low", "archived"), ("planted", "pending")):
        for said in PLANTED.values():
            payload = json.dumps({"workflow_id": "w", "input": said}).encode()
            failed: dict[str, Any] = {"payload": payload, "error_msg": said, "last_failed_at": int(time.time())}
            message = new_message(queue, workflow=0, retention=1, **failed)
            client.hset(
                f"asynq:{{{queue}}}:t:{message.id}", mapping={"msg": encode_task_message(message), "state": state}
            )
            if state == "archived":
                client.zadd(f"asynq:{{{queue}}}:archived", {message.id: time.time()})
            else:
                client.lpush(f"asynq:{{{queue}}}:pending", message.id)
    client.sadd("asynq:queues", "planted")


def test_no_planted_secret_is_in_the_bundle(sandbox: State, linkflow: Place, tmp_path: Path) -> None:
    control.restore(sandbox)
    bundle = tmp_path / "bundle.tar.gz"
    try:
        plant(sandbox)
        made = linkflow.run("collect", "--to", str(bundle), "--output", "json")
        assert made.code == 0, made.said
    finally:
        clean(sandbox)
    content = gzip.decompress(bundle.read_bytes()).decode()
    assert "call failed" in content and "call with" in content  # what was planted has been seen
    assert "note:" in content
    for secret in PLANTED:
        assert secret not in content, secret
        assert json.dumps(secret)[1:-1] not in content
        assert re.split(r"\d", secret)[0][:12] not in content or len(re.split(r"\d", secret)[0]) < 8
    for name in ("redis.password", "runbook.password", "linkflow.password"):
        assert (sandbox.folder / name).read_text().strip() not in content
    hits = made.document["redaction"]
    assert {"assignment", "jwt", "email", "sql-literal", "redis-arguments"} <= hits.keys(), hits
    with tarfile.open(bundle) as tar:
        assert all(member.isreg() and member.mode == 0o600 for member in tar)


def clean(sandbox: State) -> None:
    client = connect_redis(sandbox)
    for pattern in ("note:*", "key:*", "slow", "asynq:{planted}:*"):
        for key in client.scan_iter(pattern):
            client.delete(key)
    client.srem("asynq:queues", "planted")
    tasks: list[Any] = client.zrange("asynq:{low}:archived", 0, -1)
    for task in tasks:
        client.delete(b"asynq:{low}:t:" + (task if isinstance(task, bytes) else task.encode()))
    client.delete("asynq:{low}:archived")
    client.slowlog_reset()
    with psycopg.connect(sandbox.postgres_dsn(), autocommit=True) as connection:
        connection.execute("delete from executions where error_message = any(%s)", [list(PLANTED.values())])
    control.restore(sandbox)
