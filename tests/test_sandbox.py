"""The sandbox: it comes up healthy, obeys, and leaves no process behind, however it ends."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis as redis_client
import yaml

from runbook_engine.asynq.wire import decode_server_info, decode_task_message
from runbook_engine.errors import UsageError
from runbook_engine.sandbox import control, guard
from runbook_engine.sandbox.baseline import look, wait_healthy, wait_until
from runbook_engine.sandbox.broker import connect_redis, key
from runbook_engine.sandbox.state import State

PACE = 0.1
COUNTS = """
select (select count(*) from executions), (select count(*) from workflows),
       (select count(*) from schedules), (select count(*) from schedules where not is_active)
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """One running sandbox for all tests of this file; who breaks it restores it."""
    folder = tmp_path_factory.mktemp("sandbox")
    state = control.up(folder, pace=PACE, seed=1, tied=True)
    try:
        yield state
    finally:
        control.down(folder)


@pytest.fixture
def redis(sandbox: State) -> Iterator[redis_client.Redis]:
    client = connect_redis(sandbox)
    yield client
    client.close()


def all_pids(folder: Path) -> list[int]:
    status = control.status(folder)
    return [status["supervisor"], *(pid for pids in status["pids"].values() for pid in pids)]


def command(state: State, service: str, *arguments: str) -> dict[str, Any]:
    program = [sys.executable, "-m", "runbook_engine.sandbox.service", str(state.folder), service, *arguments]
    done = subprocess.run(program, capture_output=True, text=True, check=True, cwd="/")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_two_workers_with_ten_slots_are_seen_by_their_heartbeats(redis: redis_client.Redis) -> None:
    names = redis.zrangebyscore("asynq:servers", time.time(), "+inf")
    servers = [decode_server_info(redis.get(name)) for name in names]  # type: ignore[arg-type]  # without decoding, bytes
    assert [server.concurrency for server in servers] == [5, 5]
    assert servers[0].queues == {"critical": 6, "default": 3, "low": 1} and not servers[0].strict_priority


def test_jobs_are_finished_as_fast_as_they_come(sandbox: State, redis: redis_client.Redis) -> None:
    before = int(redis.get(key("default", "processed")) or 0)
    wait_until(lambda: int(redis.get(key("default", "processed")) or 0) >= before + 50, "50 finished jobs", 10)
    assert look(sandbox).pending <= 20
    task = redis.zrange(key("default", "completed"), -1, -1)[0].decode()  # type: ignore[union-attr]  # without decoding, bytes
    record = redis.hgetall(key("default", f"t:{task}"))
    message = decode_task_message(record[b"msg"])  # type: ignore[arg-type]  # bytes as well
    assert record[b"state"] == b"completed" and message.completed_at > 0 and message.type == "workflow:execution"
    assert set(json.loads(message.payload)) == {
        "workflow_id", "workspace_id", "execution_id", "trigger_type", "trigger_data", "input_data",
    }  # fmt: skip


def test_one_scheduler_leads_and_renews_its_lock(redis: redis_client.Redis) -> None:
    value = redis.get("scheduler:leader")
    assert value is not None and len(value) == 36
    wait_until(lambda: redis.pttl("scheduler:leader") < 2500, "the lock to age", 5)
    wait_until(lambda: redis.pttl("scheduler:leader") > 2700, "a renewal", 5)
    assert redis.get("scheduler:leader") == value


def test_health_speaks_as_linkflow_does_and_its_short_path_is_unknown(sandbox: State) -> None:
    status, body = http_get(sandbox, "/api/v1/health")
    assert (status, body["data"]["checks"]) == (200, {"database": "ok", "redis": "ok"})
    assert body["data"]["status"] == "healthy" and body["data"]["service"] == "linkflow-api"
    assert http_get(sandbox, "/health")[0] == 404
    assert http_get(sandbox, "/api/v1/health/live")[0] == 200
    assert http_get(sandbox, "/api/v1/health/ready")[0] == 200
    assert len(http_get(sandbox, "/api/v1/billing/plans")[1]["data"]) == 3


def http_get(state: State, path: str) -> tuple[int, dict[str, Any]]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", state.api_port, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_the_engines_role_sees_everything_and_is_no_superuser(sandbox: State) -> None:
    with psycopg.connect(sandbox.postgres_dsn("runbook", "runbook")) as connection:
        counts = connection.execute(COUNTS).fetchone()
        assert counts and counts[0] >= 140_000 and counts[1:] == (200, 50, 5)
        role = connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone()
        assert role == (False,)
        seen = connection.execute(
            "select count(*) from pg_stat_activity where application_name = 'linkflow-api'"
        ).fetchone()
        assert seen and seen[0] == 5
        assert connection.execute("select calls from pg_stat_statements limit 1").fetchone()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from executions")


def test_what_is_secret_is_private_and_in_no_command_line(sandbox: State) -> None:
    for file in sandbox.folder.iterdir():
        if file.is_file():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(sandbox.folder.stat().st_mode) == 0o700
    lines = b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in all_pids(sandbox.folder))
    assert not any(secret.encode() in lines for secret in sandbox.passwords.values())
    assert not any(secret in repr(sandbox) for secret in sandbox.passwords.values())


def test_the_environment_document_refers_to_secrets_and_names_every_service(sandbox: State) -> None:
    document = yaml.safe_load((sandbox.folder / "runbook.yaml").read_text())
    assert document == control.environment(sandbox)
    described = document["environments"]["sandbox"]
    assert described["pace"] == PACE
    targets = described["targets"]
    assert Path(targets["db"]["password"]["file"]).read_text() == sandbox.passwords["runbook"]
    done = subprocess.run(targets["workers"]["command"]["status"], capture_output=True, text=True, check=True, cwd="/")
    assert json.loads(done.stdout)["running"] == 2


def test_a_second_sandbox_in_the_same_folder_is_refused(sandbox: State) -> None:
    with pytest.raises(UsageError, match="runs here already"):
        control.up(sandbox.folder, pace=PACE)


def test_workers_stop_start_and_scale_on_command(sandbox: State) -> None:
    assert command(sandbox, "worker", "stop")["running"] == 0
    assert look(sandbox).servers == 0
    answer = command(sandbox, "worker", "start")
    assert (answer["running"], answer["desired"]) == (2, 2) and look(sandbox).capacity == 10
    assert command(sandbox, "worker", "scale", "3")["running"] == 3
    assert look(sandbox).capacity == 15
    assert command(sandbox, "worker", "scale", "2")["running"] == 2
    pids = {row["pid"] for row in command(sandbox, "worker", "status")["processes"]}
    fresh = command(sandbox, "worker", "restart")
    assert fresh["running"] == 2 and not pids & {row["pid"] for row in fresh["processes"]}
    wait_healthy(sandbox)


@pytest.mark.parametrize("service", ["redis", "postgres", "api", "scheduler"])
def test_every_other_service_survives_a_restart(sandbox: State, service: str) -> None:
    answer = command(sandbox, service, "restart")
    assert answer["running"] == answer["desired"] >= 1
    wait_healthy(sandbox)


def test_an_impossible_wish_is_refused_with_what_is_possible(sandbox: State) -> None:
    program = [sys.executable, "-m", "runbook_engine.sandbox.service", str(sandbox.folder), "mailer", "status"]
    done = subprocess.run(program, capture_output=True, text=True, cwd="/")
    assert done.returncode == 69 and "It has api, load, postgres, redis, scheduler, worker" in done.stderr


def test_logs_are_zerologs_lines_between_sql_in_plain_text(sandbox: State) -> None:
    program = [sys.executable, "-m", "runbook_engine.sandbox.service", str(sandbox.folder), "api", "logs", "40"]
    lines = subprocess.run(program, capture_output=True, text=True, check=True, cwd="/").stdout.splitlines()
    records = [json.loads(line) for line in lines if line.startswith("{")]
    requests = [record for record in records if record["message"] == "request completed"]
    assert len(lines) == 40 and requests and len(records) < 40
    assert {"level", "method", "path", "status", "duration", "request_id", "time"} <= set(requests[0])


def test_a_sandbox_that_is_ended_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    state = control.up(tmp_path / "one", pace=PACE, seed=2)
    pids = all_pids(state.folder)
    assert len(pids) == 9 and all(guard.started(pid) for pid in pids)
    assert control.down(state.folder)
    assert not any(guard.started(pid) for pid in pids)
    assert not state.run_folder.exists() and not control.down(state.folder)
    assert control.status(state.folder)["running"] is False


@pytest.mark.parametrize("how", ["the supervisor is killed", "the caller's tie is cut"])
def test_a_crash_leaves_no_survivors(tmp_path: Path, how: str) -> None:
    state = control.up(tmp_path / "one", pace=PACE, seed=2, tied=True)
    control.break_(state, "F80", seed=1)  # its sessions are held by one more process
    pids = all_pids(state.folder)
    backends = children(pids)
    if how == "the supervisor is killed":
        os.kill(state.supervisor, signal.SIGKILL)
    else:
        control.cut_tie(state.folder)
    wait_until(lambda: not any(guard.started(pid) for pid in (*pids, *backends)), "the last process to end", 15)
    wait_until(lambda: not state.run_folder.exists(), "the folder to be removed", 5)
    control.down(state.folder)


def children(pids: list[int]) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(entry.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent in pids:
            found.append(int(entry.parent.name))
    return found


def test_an_ordinary_user_needs_nothing_from_root(skip: Callable[[str], None]) -> None:
    if os.geteuid() != 0:
        return  # then every test in this file is this test
    nobody = pwd.getpwnam("nobody")
    if not all(folder.stat().st_mode & 0o001 for folder in Path(sys.executable).resolve().parents):
        # Nothing that a test or a CI script installs can change where this interpreter lies.
        pytest.skip("this interpreter cannot be run by another user: it lies in a folder that only root may enter")
    folder = Path(tempfile.mkdtemp(prefix="rb-sandbox-"))
    try:
        shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
        for action in ("up", "down"):
            program = [sys.executable, "-m", "runbook_engine.sandbox", action, "--pace=0.1", f"--folder={folder}/state"]
            done = subprocess.run(
                program,
                user=nobody.pw_uid,
                group=nobody.pw_gid,
                extra_groups=[],
                env={"HOME": str(folder), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
                cwd=folder,
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def skip() -> Callable[[str], None]:
    """Skips with the reason, and fails where nothing may be missing."""

    def skip_or_fail(reason: str) -> None:
        if os.environ.get("CI") == "1":
            pytest.fail(reason)
        pytest.skip(reason)

    return skip_or_fail
