"""Every resolution of `connection-refused` and `high-error-rate`, carried out on a LinkFlow that is really broken."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from carried_out import Trial, assert_fixed, broken

from runbook_engine.errors import TargetError
from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import probe_health, wait_until
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-api")]


@pytest.fixture
def linkflow_api(sandbox: State) -> Iterator[State]:
    """The sandbox; healthy again afterwards, whatever an undo took away."""
    yield sandbox
    control.restore(sandbox)


def running(state: State, service: str) -> int:
    return int(request(state, {"service": service, "action": "status"})["running"])


def fixed_and_healthy_again(trial: Trial, action: str) -> None:
    """Mended, a second run finds nothing, and the way back of the first is still at hand."""
    assert_fixed(trial.run(action), action)
    events, document = trial.events, trial.document
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]
    trial.events, trial.document = events, document


def undone(trial: Trial) -> None:
    assert trial.undo()["outcome"] == "undone"


def test_a_stopped_api_is_started_and_the_undo_stops_it(linkflow_api: State, tmp_path: Path) -> None:
    trial = broken(linkflow_api, tmp_path, "F01")
    fixed_and_healthy_again(trial, "start-api")
    undone(trial)
    assert (running(linkflow_api, "api"), probe_health(linkflow_api)) == (0, 0)


def test_an_api_that_accepts_nobody_is_restarted(linkflow_api: State, tmp_path: Path) -> None:
    trial = broken(linkflow_api, tmp_path, "F08")
    before = request(linkflow_api, {"service": "api", "action": "status"})["processes"][0]["pid"]
    fixed_and_healthy_again(trial, "restart-api")
    assert request(linkflow_api, {"service": "api", "action": "status"})["processes"][0]["pid"] != before


def test_postgres_is_started_for_an_api_that_crashes_without_it(linkflow_api: State, tmp_path: Path) -> None:
    trial = broken(linkflow_api, tmp_path, "F05")
    fixed_and_healthy_again(trial, "start-postgres")
    undone(trial)
    assert running(linkflow_api, "postgres") == 0


def test_redis_is_started_for_an_api_that_crashes_without_it(linkflow_api: State, tmp_path: Path) -> None:
    control.restore(linkflow_api)
    before = restarts(linkflow_api)
    request(linkflow_api, {"service": "redis", "action": "stop"})
    request(linkflow_api, {"service": "api", "action": "replace", "after": 0.3})
    request(linkflow_api, {"service": "api", "action": "kill", "signal": signal.SIGKILL})
    wait_until(lambda: restarts(linkflow_api) >= before + 2, "the API to crash again", 10)
    trial = Trial(linkflow_api, tmp_path, "connection-refused")
    fixed_and_healthy_again(trial, "start-redis")
    undone(trial)
    assert running(linkflow_api, "redis") == 0


def restarts(state: State) -> int:
    return int(request(state, {"service": "api", "action": "status"})["restarts"])


def test_an_api_that_crashed_while_postgres_was_down_is_started_when_it_is_back(
    linkflow_api: State, tmp_path: Path
) -> None:
    control.restore(linkflow_api)
    request(linkflow_api, {"service": "postgres", "action": "stop"})
    with pytest.raises(TargetError, match="api did not start"):
        request(linkflow_api, {"service": "api", "action": "restart"})
    request(linkflow_api, {"service": "postgres", "action": "start"})
    trial = Trial(linkflow_api, tmp_path, "connection-refused")
    fixed_and_healthy_again(trial, "start-api")
    assert trial.document["causes"][0]["id"] == "crash-loop-database"


@pytest.mark.parametrize(
    ("fault", "action", "service"), [("F10", "start-postgres", "postgres"), ("F11", "start-redis", "redis")]
)
def test_what_the_api_needs_is_started_and_the_undo_stops_it(
    linkflow_api: State, tmp_path: Path, fault: str, action: str, service: str
) -> None:
    trial = broken(linkflow_api, tmp_path, fault)
    fixed_and_healthy_again(trial, action)
    undone(trial)
    assert running(linkflow_api, service) == 0


def nothing_is_offered(document: dict[str, Any]) -> bool:
    return not [action for action in document["actions"] if action["status"] != "skipped"]


@pytest.mark.parametrize(
    ("fault", "cause", "goes_on"),
    [
        ("F02", "port-conflict", ""),
        ("F03", "wrong-port", ""),
        ("F06", "migration-blocked", "runbook run lock-contention"),
        ("F12", "redis-full", "runbook run redis-memory-full"),
        ("F13", "redis-refuses-writes", "runbook run redis-connection-issues"),
        ("F14", "db-slots-exhausted", "runbook run connection-pool-exhaustion"),
        ("F15", "bad-deploy", "runbook run service-rollback"),
        ("F16", "downstream-failure", ""),
    ],
)
def test_what_no_act_of_ours_mends_is_named_and_nothing_is_touched(
    linkflow_api: State, tmp_path: Path, fault: str, cause: str, goes_on: str
) -> None:
    trial = broken(linkflow_api, tmp_path, fault)
    document = trial.run("*")
    assert (document["outcome"], document["causes"][0]["id"]) == ("diagnosed", cause)
    assert nothing_is_offered(document)
    assert any(line.startswith(goes_on) for line in document["next"])


SHOWN: dict[str, Callable[[State], list[str]]] = {
    "F02": lambda state: [str(state.api_port), "python", "pid ", "user "],
    "F03": lambda state: [str(state.api_port)],
}


@pytest.mark.parametrize("fault", SHOWN)
def test_the_cause_names_who_has_the_port_and_which_was_expected(
    linkflow_api: State, tmp_path: Path, fault: str
) -> None:
    title = broken(linkflow_api, tmp_path, fault).run("")["causes"][0]["title"]
    assert all(word in title for word in SHOWN[fault](linkflow_api)), title
