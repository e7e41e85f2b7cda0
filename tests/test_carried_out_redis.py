"""Every resolution of the two playbooks about Redis, carried out on a Redis that is really broken."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from carried_out import Trial, action_of, assert_fixed, broken

from runbook_engine.events import StepFinished
from runbook_engine.sandbox import control
from runbook_engine.sandbox.broker import connect_redis, key
from runbook_engine.sandbox.redis_faults import refusal
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State
from runbook_engine.sandbox.webhooks import GROUP, STREAM

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-redis")]


@pytest.fixture(autouse=True)
def exports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is copied before it is deleted goes into the test's own folder."""
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "state"))
    return tmp_path / "state" / "exports"


def settings(state: State) -> dict[str, str]:
    """All that CONFIG SET may have changed."""
    with contextlib.closing(connect_redis(state)) as client:
        found: Any = client.config_get("*")
    return dict(found)


def info(state: State, section: str) -> dict[str, Any]:
    with contextlib.closing(connect_redis(state)) as client:
        found: dict[str, Any] = client.info(section)
    return found


def assert_contained(document: dict[str, Any], name: str) -> None:
    done = action_of(document, name)
    assert (done["status"], done["verified"]) == ("done", True), (done, document["reason"])
    assert document["outcome"] == "diagnosed", document["reason"]


@pytest.mark.parametrize(
    ("fault", "action"),
    [
        ("F90", "purge-completed"),
        ("F91", "start-workers"),
        ("F91", "purge-expired"),
        ("F93", "trim-stream"),
        ("F95", "purge-unreferenced"),
        ("F100a", "start-redis"),
        ("F100b", "wait-for-loading"),
        ("F100i", "kill-script"),
        ("F100j", "restart-redis"),
        ("F100k", "unpause-writes"),
    ],
)
def test_the_resolution_mends_it_and_a_second_run_is_healthy(
    sandbox: State, tmp_path: Path, fault: str, action: str
) -> None:
    trial = broken(sandbox, tmp_path, fault)
    assert_fixed(trial.run(action), action)
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]
    assert refusal(sandbox) == ""


@pytest.mark.parametrize(
    ("fault", "action"),
    [("F94", "raise-maxmemory"), ("F97", "raise-maxmemory"), ("F98", "stop-evicting"), ("F100g", "lower-min-replicas")],
)
def test_a_setting_mends_it_and_its_undo_puts_every_setting_back(
    sandbox: State, tmp_path: Path, fault: str, action: str
) -> None:
    trial = broken(sandbox, tmp_path, fault)
    before = settings(sandbox)
    assert_fixed(trial.run(action), action)
    changed = trial
    assert {name for name, value in settings(sandbox).items() if before[name] != value} <= {
        "maxmemory",
        "maxmemory-policy",
        "min-replicas-to-write",
        "min-slaves-to-write",
    }
    changed.undo()
    assert settings(sandbox) == before


@pytest.mark.parametrize(("fault", "action"), [("F98", "set-noeviction"), ("F100h", "allow-writes")])
def test_a_stop_gap_contains_it_says_so_and_its_undo_puts_every_setting_back(
    sandbox: State, tmp_path: Path, fault: str, action: str
) -> None:
    trial = broken(sandbox, tmp_path, fault)
    before = settings(sandbox)
    assert_contained(trial.run(action), action)
    assert settings(sandbox) != before
    trial.undo()
    assert settings(sandbox) == before


@pytest.mark.parametrize("fault", ["F100e", "F100f"])
def test_a_replica_is_made_a_master_and_its_undo_makes_it_follow_again(
    sandbox: State, tmp_path: Path, fault: str
) -> None:
    trial = broken(sandbox, tmp_path, fault)
    before = {name: info(sandbox, "replication").get(name) for name in ("role", "master_host", "master_port")}
    assert_fixed(trial.run("promote"), "promote")
    acts = list(trial.events)
    assert info(sandbox, "replication")["role"] == "master"
    assert trial.again()["outcome"] == "healthy"
    trial.events = acts
    trial.undo()
    assert {name: info(sandbox, "replication").get(name) for name in before} == before


def test_a_leak_is_removed_when_its_owner_agrees_and_not_without(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F92")
    refused = trial.run("purge-prefix")
    assert action_of(refused, "purge-prefix")["status"] == "skipped", "nobody was there to ask"
    assert_fixed(trial.run("purge-prefix", {"owner": "true"}), "purge-prefix")
    with contextlib.closing(connect_redis(sandbox)) as client:
        assert not list(client.scan_iter("session:cache:*", count=10_000)) and client.exists("asynq:queues")
    assert trial.again()["outcome"] == "healthy"


def test_nothing_unprocessed_is_trimmed(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F93")
    with contextlib.closing(connect_redis(sandbox)) as client:
        client.config_set("maxmemory", 0)
        taken = client.xadd(STREAM, {"body": "x"})
        waits = client.xreadgroup(GROUP, "somebody", {STREAM: ">"}, count=1000)
        later = [client.xadd(STREAM, {"body": "y"}) for _ in range(20)]
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 0.95))
    assert waits, "one was taken and not acknowledged"
    assert_fixed(trial.run("trim-stream"), "trim-stream")
    with contextlib.closing(connect_redis(sandbox)) as client:
        left = {id_ for id_, _ in client.xrange(STREAM)}  # type: ignore[union-attr]  # entries
        pending = client.xpending(STREAM, GROUP)["min"]
    assert {taken, *later} <= left or (pending is not None and pending in left)


def archive(state: State) -> dict[bytes, bytes]:
    """Every failed job, byte for byte: its place and its hash."""
    with contextlib.closing(connect_redis(state)) as client:
        ids: Any = client.zrange(key("default", "archived"), 0, -1, withscores=True)
        pipe = client.pipeline(transaction=False)
        for id_, _ in ids:
            pipe.hgetall(key("default", f"t:{id_.decode()}"))
        return {
            id_: json.dumps([score, str(sorted(fields.items()))]).encode()
            for (id_, score), fields in zip(ids, pipe.execute(), strict=True)
        }


def test_deleted_jobs_are_in_a_file_and_the_undo_puts_every_one_back(
    sandbox: State, tmp_path: Path, exports: Path
) -> None:
    trial = broken(sandbox, tmp_path, "F96")
    before = archive(sandbox)
    assert_fixed(trial.run("delete-archived"), "delete-archived")
    assert archive(sandbox) == {} and len(before) > 8000
    lines = sum(len(path.read_bytes().splitlines()) for path in exports.glob("*.ndjson"))
    assert lines == len(before)
    with contextlib.closing(connect_redis(sandbox)) as client:
        client.config_set("maxmemory", 0)  # putting back takes as much memory as before
    trial.undo()
    assert archive(sandbox) == before


def nearly_full(state: State) -> None:
    """As many clients as the limit nearly allows, so that whoever mends it still gets in."""
    with contextlib.closing(connect_redis(state)) as client:
        client.config_set("maxclients", int(client.info("clients")["connected_clients"]) + 8)


@pytest.fixture
def leaking(sandbox: State, tmp_path: Path) -> Iterator[Trial]:
    control.restore(sandbox)
    request(sandbox, {"action": "hold", "name": "holder-F100d", "arguments": ["F100d", "7"]})
    nearly_full(sandbox)
    time.sleep(1.2)  # idle is counted in whole seconds
    yield Trial(sandbox, tmp_path, "redis-connection-issues", {"clients_max": "0.75", "idle": "10s"})
    control.restore(sandbox)


def test_idle_connections_are_closed_and_the_others_stay(sandbox: State, leaking: Trial) -> None:
    with contextlib.closing(connect_redis(sandbox)) as client:
        before = {row["id"]: row["name"] for row in client.client_list()}
    assert_fixed(leaking.run("close-idle-clients"), "close-idle-clients")
    with contextlib.closing(connect_redis(sandbox)) as client:
        after = {row["id"] for row in client.client_list()}
    closed = {name for id_, name in before.items() if id_ not in after}
    assert closed <= {"linkflow-report", "runbook", ""} and "linkflow-report" in closed
    assert leaking.again()["outcome"] == "healthy"


def test_a_higher_limit_lets_clients_in_and_its_undo_puts_it_back(sandbox: State, leaking: Trial) -> None:
    before = settings(sandbox)
    assert_fixed(leaking.run("raise-maxclients"), "raise-maxclients")
    assert settings(sandbox)["maxclients"] == "100"
    leaking.undo()
    assert settings(sandbox) == before


def test_without_any_room_a_worker_makes_some_and_comes_back_by_the_undo(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F100d")
    assert_contained(trial.run("make-room"), "make-room")
    acts = list(trial.events)
    assert request(sandbox, {"service": "worker", "action": "status"})["running"] == 1
    assert_fixed(trial.run("raise-maxclients"), "raise-maxclients")
    trial.events = acts
    trial.undo()
    assert request(sandbox, {"service": "worker", "action": "status"})["running"] == 2


def test_a_client_that_does_not_read_is_closed(sandbox: State, tmp_path: Path) -> None:
    control.restore(sandbox)
    password = sandbox.passwords["redis"].encode()
    with (
        contextlib.closing(connect_redis(sandbox)) as client,
        socket.create_connection(("127.0.0.1", sandbox.redis_port)) as deaf,
    ):
        client.set("report:large", "x" * 1_000_000)
        deaf.sendall(b"AUTH " + password + b"\r\nCLIENT SETNAME report\r\n" + b"GET report:large\r\n" * 30)
        time.sleep(0.3)
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * 1.02))
        trial = Trial(sandbox, tmp_path, "redis-memory-full", {"least_memory": "1MiB"})
        assert_fixed(trial.run("close-client"), "close-client")
        client.delete("report:large")
        assert trial.again()["outcome"] == "healthy"


def test_under_oom_every_probe_of_the_diagnosis_delivers(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F95")
    assert "maxmemory" in refusal(sandbox)
    document = trial.run("")
    steps = [event for event in trial.events if isinstance(event, StepFinished)]
    failed = {event.step: event.error for event in steps if event.error and event.step != "writes"}
    assert failed == {} and document["facts"]["redis_write"] == "OOM"
    assert {event.step for event in steps if event.skipped and event.step not in ("owner", "failed-jobs")} == set()
    assert document["unchecked"] == [] and document["facts"]["unheld"] > 20_000
    assert document["facts"]["refused_total"] > 0
    assert refusal(sandbox), "looking has not made room"


def test_what_was_refused_meanwhile_is_told_after_the_fix(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F97")
    document = trial.run("raise-maxmemory")
    refused = document["facts"]["refused_total"]
    assert refused > 0
    assert any(f"({refused} refused for memory" in symptom["title"] for symptom in document["symptoms"])


def test_allkeys_lru_and_a_restart_are_never_offered_for_memory(sandbox: State) -> None:
    from runbook_engine.matrix import load

    playbook = load("redis-memory-full").playbook
    offered = json.dumps([action.model_dump(mode="json") for action in playbook.resolution])
    assert "allkeys" not in offered and "restart" not in {
        action.request for action in playbook.resolution if isinstance(action.request, str)
    }
