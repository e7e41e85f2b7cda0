"""The faults of the API: each shows from outside what it is, and goes away when it is healed."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import look, probe_health, wait_until
from runbook_engine.sandbox.broker import connect_redis
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")


@pytest.fixture
def linkflow_api(sandbox: State) -> Iterator[State]:
    """The sandbox, healthy before and after."""
    control.restore(sandbox)
    yield sandbox
    control.restore(sandbox)


def api(state: State) -> dict[str, Any]:
    return request(state, {"service": "api", "action": "status"})


def lines(state: State) -> list[dict[str, Any]]:
    found = state.log_file("api").read_text().splitlines()
    return [json.loads(line) for line in found if line.startswith("{")]


def statuses(state: State) -> list[int]:
    return [line["status"] for line in lines(state) if line["message"] == "request completed"]


def errors(state: State) -> list[str]:
    return [str(line.get("error") or line.get("panic")) for line in lines(state) if line["level"] == "error"]


def fatal(state: State) -> dict[str, Any]:
    return next(line for line in reversed(lines(state)) if line["level"] == "fatal")


def connects(state: State) -> str:
    try:
        with socket.create_connection(("127.0.0.1", state.api_port), 0.5):
            return "accepted"
    except OSError as error:
        return type(error).__name__


def healed(state: State) -> None:
    control.heal(state)
    wait_until(lambda: probe_health(state) == 200, "the API to be healthy", 15)


def test_a_stopped_api_leaves_nothing_on_its_port(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F01", seed=1)
    assert (api(linkflow_api)["running"], api(linkflow_api)["exit_code"]) == (0, 0)
    assert connects(linkflow_api) == "ConnectionRefusedError"
    healed(linkflow_api)


def test_a_stranger_on_the_port_keeps_the_api_from_starting(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F02", seed=1)
    assert probe_health(linkflow_api) == 404
    assert fatal(linkflow_api)["message"] == "Failed to start server"
    assert fatal(linkflow_api)["error"] == f"listen tcp :{linkflow_api.api_port}: bind: address already in use"
    wait_until(lambda: api(linkflow_api)["exit_code"] == 1, "the end of the process that said so", 10)
    healed(linkflow_api)


def test_an_api_on_another_port_runs_and_is_refused_here(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F03", seed=1)
    assert api(linkflow_api)["running"] == 1
    assert connects(linkflow_api) == "ConnectionRefusedError"
    healed(linkflow_api)


def test_a_stopped_process_accepts_and_does_not_answer(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F04", seed=1)
    assert connects(linkflow_api) == "accepted"
    healed(linkflow_api)


def test_without_its_database_the_api_ends_again_and_again_with_linkflows_words(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F05", seed=1)
    assert api(linkflow_api)["restarts"] >= 2
    assert fatal(linkflow_api)["message"] == "Failed to connect to database"
    assert "connect: connection refused" in fatal(linkflow_api)["error"]
    healed(linkflow_api)


def test_a_migration_behind_a_lock_keeps_the_api_from_listening(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F06", seed=1)
    assert api(linkflow_api)["running"] == 1
    assert connects(linkflow_api) == "ConnectionRefusedError"
    with psycopg.connect(linkflow_api.postgres_dsn("runbook", "runbook")) as session:
        waiting = session.execute(
            "select application_name, query from pg_stat_activity where wait_event_type = 'Lock'"
        ).fetchall()
    assert [row[0] for row in waiting] == ["linkflow-api"] and waiting[0][1].startswith("alter table workflows")
    healed(linkflow_api)


def test_a_full_backlog_drops_connections_instead_of_refusing_them(linkflow_api: State) -> None:
    control.break_(linkflow_api, "F08", seed=1)
    assert connects(linkflow_api) == "TimeoutError"
    request(linkflow_api, {"service": "api", "action": "restart"})
    assert probe_health(linkflow_api) == 200, "a new process listens as usual"


@pytest.mark.parametrize(
    ("fault", "health", "said"),
    [
        ("F10", 503, "connect: connection refused"),
        ("F11", 503, "redis: connection pool: failed to dial"),
        ("F12", 200, "OOM command not allowed"),
        ("F13", 200, "READONLY You can't write against a read only replica"),
        ("F14", 503, "SQLSTATE 53300"),
        ("F15", 200, "nil pointer dereference"),
        ("F16", 200, "unexpected status code: 503"),
    ],
)
def test_requests_fail_for_the_reason_that_the_log_names(
    linkflow_api: State, fault: str, health: int, said: str
) -> None:
    control.break_(linkflow_api, fault, seed=1)
    assert probe_health(linkflow_api) == health
    assert any(said in error for error in errors(linkflow_api)), errors(linkflow_api)[-3:]
    seen = statuses(linkflow_api)
    assert len(seen) >= 100 and sum(status >= 500 for status in seen) / len(seen) > 0.01
    failed = [line for line in lines(linkflow_api) if line.get("status", 0) >= 500]
    assert {line["level"] for line in failed} == {"info"}, "as LinkFlow logs them"
    healed(linkflow_api)


def test_restore_repairs_an_api_that_nobody_recorded_as_broken(linkflow_api: State) -> None:
    for service in ("postgres", "redis"):
        request(linkflow_api, {"service": service, "action": "stop"})
    request(linkflow_api, {"service": "api", "action": "signal", "signal": 19})
    control.restore(linkflow_api)
    assert look(linkflow_api).healthy
    with closing(connect_redis(linkflow_api)) as client:
        assert client.ping()
