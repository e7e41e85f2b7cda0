"""`service:` by compose, kubernetes, systemd and own commands: the exact words, and one status out of each."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from platforms import COMPOSE, KUBECTL, KUBERNETES, PREFIX, SYSTEMCTL, SYSTEMD, Platform, ask
from pydantic import ValidationError

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import service
from runbook_engine.services import status as service_status


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Platform(tmp_path)


LISTED = [
    {"ID": "aaa111", "Name": "linkflow-worker-1", "State": "running", "Health": "", "ExitCode": 0, "Image": "w:1"},
    {"ID": "bbb222", "Name": "linkflow-worker-2", "State": "exited", "Health": "", "ExitCode": 137, "Image": "w:1"},
]
INSPECTED = [
    {
        "Id": "aaa111ffff",
        "RestartCount": 4,
        "State": {
            "Status": "running",
            "OOMKilled": False,
            "StartedAt": "2026-11-23T03:00:00.123456789Z",
            "ExitCode": 0,
        },
        "HostConfig": {"Memory": 1073741824},
    },
    {
        "Id": "bbb222ffff",
        "RestartCount": 1,
        "State": {
            "Status": "exited",
            "OOMKilled": True,
            "StartedAt": "2026-11-23T02:00:00Z",
            "FinishedAt": "2026-11-23T02:30:00Z",
            "ExitCode": 137,
        },
        "HostConfig": {"Memory": 0},
    },
]
STATS = {"ID": "aaa111ffff", "CPUPerc": "12.50%", "MemUsage": "100MiB / 1GiB"}


@pytest.mark.parametrize("form", ["an array", "a line each"])
def test_compose_status_of_both_forms_of_ps(form: str, platform: Platform) -> None:
    lines = "\n".join(json.dumps(row) for row in LISTED)
    platform.answer(
        (["ps"], 0, json.dumps(LISTED) if form == "an array" else lines, ""),
        (["inspect"], 0, json.dumps(INSPECTED), ""),
        (["stats"], 0, json.dumps(STATS), ""),
    )
    status = ask(COMPOSE, "status")["status"]
    assert platform.words == [
        [*PREFIX, "ps", "-a", "--format", "json", "worker"],
        ["docker", "inspect", "--type", "container", "aaa111", "bbb222"],
        ["docker", "stats", "--no-stream", "--no-trunc", "--format", "{{json .}}", "aaa111"],
    ]
    assert {key: value for key, value in status.items() if key != "processes" and value is not None} == {
        "running": 1, "ready": 1, "restarts": 5, "exit_code": 137, "oom_killed": True,
        "started_at": "2026-11-23T03:00:00.123456Z", "cpu": 12.5, "rss": 104857600, "memory_limit": 1073741824,
        "reason": "OOMKilled", "image": "w:1", "images": ["w:1"],
    }  # fmt: skip
    assert [each["state"] for each in status["processes"]] == ["running", "exited"]


def test_a_compose_service_without_containers_is_not_running(platform: Platform) -> None:
    platform.answer((["ps"], 0, "", ""))
    status = ask(COMPOSE, {"status": None})["status"]
    assert (status["running"], status["rss"], status["processes"]) == (0, None, [])


def test_figures_that_cannot_be_had_do_not_cost_the_status(platform: Platform) -> None:
    platform.answer((["ps"], 0, json.dumps(LISTED), ""), (["inspect"], 1, json.dumps(INSPECTED[:1]), "no such object"))
    status = ask(COMPOSE, "status")["status"]
    assert (status["running"], status["cpu"], status["oom_killed"]) == (1, None, False)


ACTS: list[tuple[dict[str, Any], object, list[str]]] = [
    (COMPOSE, "start", [*PREFIX, "up", "-d", "--no-deps", "--no-recreate", "worker"]),
    (COMPOSE, "stop", [*PREFIX, "stop", "-t", "35", "worker"]),
    (COMPOSE, "restart", [*PREFIX, "restart", "-t", "35", "worker"]),
    (COMPOSE, {"scale": "4"},
     [*PREFIX, "up", "-d", "--no-deps", "--no-recreate", "--scale", "worker=4", "worker"]),
    (KUBERNETES, {"scale": 3}, [*KUBECTL, "scale", "deployment/linkflow-worker", "--replicas=3"]),
    (KUBERNETES, "stop", [*KUBECTL, "scale", "deployment/linkflow-worker", "--replicas=0"]),
    (KUBERNETES, "restart", [*KUBECTL, "rollout", "restart", "deployment/linkflow-worker"]),
    (SYSTEMD, "restart", [*SYSTEMCTL, "restart", "--", "linkflow-worker.service"]),
    (SYSTEMD, "start", [*SYSTEMCTL, "start", "--", "linkflow-worker.service"]),
    ({"command": {"scale": ["own", "to", "{replicas}", "n={replicas}"]}}, {"scale": 2}, ["own", "to", "2", "n=2"]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "request_", "words"), ACTS, ids=lambda value: str(value)[:40])
def test_an_act_runs_exactly_these_words(
    settings: dict[str, Any], request_: object, words: list[str], platform: Platform
) -> None:
    ask(settings, request_, "write")
    assert platform.words == [words]


@pytest.mark.parametrize(("settings", "request_", "words"), ACTS, ids=lambda value: str(value)[:40])
def test_a_read_session_refuses_every_act(
    settings: dict[str, Any], request_: object, words: list[str], platform: Platform
) -> None:
    with pytest.raises(Refused, match="for reading"):
        ask(settings, request_)
    assert platform.words == []
    assert service.least_effect(request_)[0] >= Effect.reversible


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (COMPOSE, [*PREFIX, "logs", "--no-color", "--no-log-prefix", "--since", "900s", "--tail", "50", "worker"]),
        (KUBERNETES, [*KUBECTL, "logs", "deployment/linkflow-worker", "--all-pods=true", "--since=900s", "--tail=50"]),
        (SYSTEMD, ["journalctl", "-u", "linkflow-worker.service", "-n", "50", "--since", "-900s", "--no-pager", "-o",
                   "cat"]),
        ({"command": {"logs": ["own", "{lines}", "{since}"]}}, ["own", "50", "900"]),
    ],
    ids=["compose", "kubernetes", "systemd", "command"],
)  # fmt: skip
def test_logs_are_both_streams(settings: dict[str, Any], words: list[str], platform: Platform) -> None:
    platform.answer(([], 0, "one\ntwo\n", "three\n"))
    answer = ask(settings, {"logs": {"lines": 50, "since": "15m"}})
    assert platform.words == [words]
    assert answer["lines"] == ["one", "two", "three"] and set(answer) == set(service.ANSWERS)


DEPLOYMENT = {
    "spec": {
        "replicas": 3,
        "selector": {
            "matchLabels": {"app": "worker"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["a", "b"]}],
        },
    },
    "status": {"readyReplicas": 1},
}
PODS = {
    "items": [
        {
            "metadata": {"name": "w-1"},
            "status": {
                "phase": "Running",
                "containerStatuses": [
                    {
                        "ready": True,
                        "restartCount": 2,
                        "image": "w:1",
                        "state": {"running": {"startedAt": "2026-11-23T03:00:00Z"}},
                        "lastState": {
                            "terminated": {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-11-23T02:59:00Z"}
                        },
                    }
                ],
            },
        },
        {
            "metadata": {"name": "w-2"},
            "status": {
                "phase": "Pending",
                "containerStatuses": [
                    {"ready": False, "restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
                ],
            },
        },
    ]
}


def test_kubernetes_status_tells_why_the_last_one_ended(platform: Platform) -> None:
    platform.answer(
        (["get", "pods"], 0, json.dumps(PODS), ""),
        (["get"], 0, json.dumps(DEPLOYMENT), ""),
    )
    status = ask(KUBERNETES, "status")["status"]
    assert platform.words == [
        [*KUBECTL, "get", "deployment/linkflow-worker", "-o", "json"],
        [*KUBECTL, "get", "pods", "-l", "app=worker,tier in (a,b)", "-o", "json"],
        [*KUBECTL, "get", "endpointslices", "-o", "json"],
        [*KUBECTL, "get", "hpa", "-o", "json"],
    ]
    names = ("running", "desired", "ready", "restarts", "exit_code", "oom_killed", "waiting", "started_at", "rss")
    assert [status[name] for name in names] == [
        1, 3, 1, 2, 137, True, "ImagePullBackOff", "2026-11-23T03:00:00Z", None,
    ]  # fmt: skip


SHOWN = """LoadState=loaded
ActiveState=failed
SubState=failed
Result=oom-kill
MainPID=0
NRestarts=5
ExecMainStatus=9
MemoryCurrent=[not set]
MemoryMax=infinity
ActiveEnterTimestamp=Mon 2026-11-23 03:00:00 UTC
"""


def test_systemd_status_reads_its_properties(platform: Platform) -> None:
    platform.answer(([], 0, SHOWN, ""))
    status = ask(SYSTEMD, "status")["status"]
    assert platform.words[0][:4] == [*SYSTEMCTL, "show"]
    names = ("running", "restarts", "exit_code", "oom_killed", "rss", "memory_limit", "started_at")
    assert [status[name] for name in names] == [0, 5, 9, True, None, None, "2026-11-23T03:00:00Z"]
    platform.answer(([], 0, "LoadState=not-found\nActiveState=inactive\n", ""))
    with pytest.raises(TargetError, match="knows no unit"):
        ask(SYSTEMD, "status")


@pytest.mark.parametrize(
    ("code", "out", "running"), [(0, '{"running": 2, "rss": 5}\n', 2), (0, "fine", 1), (3, "inactive", 0)]
)
def test_a_status_command_answers_by_json_or_by_its_exit_code(
    code: int, out: str, running: int, platform: Platform
) -> None:
    platform.answer(([], code, out, ""))
    status = ask({"command": {"status": ["own", "status"]}}, "status")["status"]
    assert status["running"] == running and set(service_status.STATUS) <= set(status)


def test_a_platform_that_fails_is_an_error_with_its_last_word(platform: Platform) -> None:
    platform.answer(([], 1, "", "Cannot connect to the Docker daemon\n"))
    for settings in (COMPOSE, KUBERNETES, SYSTEMD, {"command": {"status": ["own"]}}):
        with pytest.raises(TargetError, match="exit 1: Cannot connect") as caught:
            ask(settings, "status")
        assert caught.value.code == "exit"
    with pytest.raises(TargetError, match="exit 1") as caught:
        ask(COMPOSE, "restart", "write")
    assert caught.value.happened == "unknown"


def test_a_platform_that_is_not_installed_did_not_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TargetError) as caught:
        ask(COMPOSE, "restart", "write")
    assert (caught.value.code, caught.value.happened) == ("not_found", "no")


@pytest.mark.parametrize(
    ("settings", "request_", "mend"),
    [
        ({"command": {"status": ["own"]}}, "restart", "add `restart:"),
        ({"systemd": {"unit": "x"}}, {"scale": 2}, "scale: list"),
        ({"kubernetes": {"deployment": "x"}}, "start", "add `replicas"),
        ({}, "status", "exactly one of"),
        ({**COMPOSE, **SYSTEMD}, "status", "exactly one of"),
    ],
)
def test_what_an_environment_does_not_map_says_what_to_add(
    settings: dict[str, Any], request_: object, mend: str
) -> None:
    with pytest.raises(TargetError, match=mend) as caught:
        ask(settings, request_, "write")
    assert (caught.value.code, caught.value.happened) == ("unsupported", "no")


def test_more_than_the_limit_is_refused_before_the_act(platform: Platform) -> None:
    platform.answer((["own", "status"], 0, '{"running": 5}', ""))
    settings = {"command": {"status": ["own", "status"], "restart": ["own", "restart"], "scale": ["own", "{replicas}"]}}
    with pytest.raises(Refused, match="would change 5 processes"):
        ask(settings, "restart", "write", affected=4)
    assert ["own", "restart"] not in platform.words
    assert ask(settings, {"scale": 8}, "write", affected=4)["affected"] == 3
    assert platform.words[-1] == ["own", "8"]


@pytest.mark.parametrize("value", ["4; touch x", "-1", "x", "1e3", 100000])
def test_a_number_that_is_none_is_refused(value: object, platform: Platform) -> None:
    with pytest.raises(Refused):
        ask(COMPOSE, {"scale": value}, "write")
    with pytest.raises(Refused):
        ask(COMPOSE, {"logs": {"lines": value}})
    with pytest.raises(Refused):
        ask(COMPOSE, {"logs": {"since": "15 parsecs"}})
    assert platform.words == []


@pytest.mark.parametrize("request_", ["explode", {"start": None, "stop": None}, {"scale": None}, {"status": 3}, {}, 7])
def test_a_request_that_cannot_be_meant_is_a_load_error(request_: object) -> None:
    with pytest.raises(ValidationError):
        service.Params.model_validate(request_)


def test_params_survive_being_written_out() -> None:
    for request in ("status", {"scale": "${{ n }}"}, {"logs": {"lines": 5}}, "restart"):
        params = service.Params.model_validate(request)
        assert service.Params.model_validate(params.model_dump()) == params


@pytest.mark.parametrize(
    ("request_", "shown"),
    [
        ("restart", "restart"),
        ({"scale": 4}, "scale to 4"),
        ({"logs": {"since": 60}}, "logs, the last 200 lines of the last 60 s"),
    ],
)
def test_what_is_shown(request_: object, shown: str) -> None:
    assert service.show(Call(id="x", request=request_)) == shown


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (COMPOSE, "compose project linkflow, service worker"),
        (KUBERNETES, "kubernetes prod/linkflow/linkflow-worker"),
        (SYSTEMD, "systemd unit linkflow-worker.service"),
        ({"command": {"status": ["own"]}}, "service worker by its own commands"),
    ],
)
def test_the_identity_names_what_would_be_touched(settings: dict[str, Any], name: str) -> None:
    session = service.connect(Target("worker", "service", settings), "read")
    assert session.identity().name == name
    session.close()


def test_a_call_can_be_cancelled_from_another_thread() -> None:
    session = service.connect(Target("worker", "service", {"command": {"status": ["sleep", "60"]}}), "read")
    timer = threading.Timer(0.2, session.cancel)
    timer.start()
    with pytest.raises(TargetError) as caught:
        session.call(Call(id="x", request="status", deadline=30))
    session.close()
    assert caught.value.code == "cancelled"
