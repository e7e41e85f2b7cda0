"""`history`, `rollback` and `debug` of a service: what is asked, what is told, and what is refused before the act."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from platforms import Platform, ask, printed
from pydantic import ValidationError

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect
from runbook_engine.executors import service
from runbook_engine.services.debugging import debug_pod

COMPOSE = {"service": "worker", "compose": {"project": "deploy"}}
DOCKER_COMPOSE = ["docker", "compose", "-p", "deploy"]
KUBERNETES = {"kubernetes": {"namespace": "linkflow", "deployment": "linkflow-api"}}
KUBECTL = ["kubectl", "-n", "linkflow"]
SYSTEMD = {"systemd": {"unit": "linkflow-api"}}
NO_CONTAINER = "Error response from daemon: No such container: deploy-worker-debug\n"


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Platform(tmp_path)


def compose(platform: Platform, **more: tuple[int, str, str]) -> None:
    found = {
        "up": (0, "", ""),
        "config": (0, printed("docker/compose-config.json"), ""),
        "image": (0, printed("docker/image-ls.jsonl"), ""),
        "run": (0, "abc\n", ""),
        "logs": (1, "", NO_CONTAINER),
        "stop": (1, "", NO_CONTAINER),
        "ps": (0, printed("docker/compose-ps-2.27.jsonl"), ""),
        "inspect": (0, printed("docker/inspect.json"), ""),
        **more,
    }
    platform.answer(*[([word], *answer) for word, answer in found.items()])


def kubernetes(platform: Platform, deployment: str = "deployment", sets: str = "replicasets", **more: Any) -> None:
    found = {
        "undo": (0, "deployment.apps/linkflow-api rolled back\n", ""),
        "status": (0, 'deployment "linkflow-api" successfully rolled out\n', ""),
        "create": (0, "pod/linkflow-api-debug created\n", ""),
        "delete": (0, 'pod "linkflow-api-debug" deleted\n', ""),
        "pod": (0, "", ""),
        "replicasets": (0, printed(f"kubernetes/{sets}.json"), ""),
        "pods": (0, printed("kubernetes/pods.json"), ""),
        "deployment/linkflow-api": (0, printed(f"kubernetes/{deployment}.json"), ""),
        **more,
    }
    platform.answer(*[([word], *answer) for word, answer in found.items()])


def short(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["revision"], row["tag"], row["current"], row["differs"]) for row in rows]


def test_kubernetes_tells_the_revisions_of_this_deployment_oldest_first(platform: Platform) -> None:
    kubernetes(platform)
    found = ask(KUBERNETES, "history")
    assert short(found["revisions"]) == [
        ("5", "v1.4.1", False, True),
        ("6", "v1.4.2", False, True),
        ("7", "v1.5.0", True, None),
    ]
    assert found["current"]["digest"].startswith("sha256:") and "set image" in found["current"]["cause"]
    assert found["previous"]["revision"] == "6" and found["previous"]["deployed_at"] == "2026-11-19T15:31:20Z"
    assert found["managed_by"] is None
    assert set(found) == set(service.ANSWERS)


def test_after_a_rollback_the_previous_one_is_not_the_one_that_was_left(platform: Platform) -> None:
    document = json.loads(printed("kubernetes/replicasets.json"))
    number = "deployment.kubernetes.io/revision"
    document["items"][1]["metadata"]["annotations"][number] = "8"
    deployment = json.loads(printed("kubernetes/deployment.json"))
    deployment["metadata"]["annotations"][number] = "8"
    changed: dict[str, Any] = {
        "replicasets": (0, json.dumps(document), ""),
        "deployment/linkflow-api": (0, json.dumps(deployment), ""),
    }
    kubernetes(platform, **changed)
    found = ask(KUBERNETES, "history")
    assert (found["current"]["revision"], found["previous"]["revision"]) == ("8", "5")


def test_a_deployment_that_something_else_reconciles_says_by_what(platform: Platform) -> None:
    kubernetes(platform, "deployment-argocd")
    assert ask(KUBERNETES, "history")["managed_by"] == "argocd"


def test_compose_tells_the_tags_of_the_image_that_runs(platform: Platform) -> None:
    compose(platform)
    found = ask(COMPOSE, "history")
    assert short(found["revisions"]) == [
        ("v1.4.2", "v1.4.2", False, True),
        ("latest", "latest", False, False),
        ("v1.5.0", "v1.5.0", True, None),
    ]
    assert found["previous"]["revision"] == "v1.4.2"
    assert found["previous"]["built_at"] == "2026-11-19T16:20:33+01:00" and found["previous"]["age_s"] is None
    assert platform.words[-1] == [
        "docker", "image", "ls", "--no-trunc", "--format", "{{json .}}", "linkflow/worker",
    ]  # fmt: skip
    assert "swordfish" not in json.dumps(found)


HISTORY = {
    "revisions": [
        {"revision": "r1", "image": "linkflow/api:r1", "deployed_at": "2026-11-20T00:00:00Z"},
        {"revision": "r2", "image": "linkflow/api:r2", "deployed_at": "2026-11-23T00:00:00Z", "current": True},
    ]
}
OWN = {
    "service": "api",
    "command": {
        "status": ["own", "status"],
        "logs": ["own", "logs"],
        "history": ["own", "history"],
        "rollback": ["own", "rollback", "{service}", "{revision}"],
        "debug": ["own", "debug", "{seconds}"],
    },
}


def test_a_history_command_prints_its_revisions(platform: Platform) -> None:
    platform.answer((["history"], 0, json.dumps(HISTORY), ""))
    assert short(ask(OWN, "history")["revisions"]) == [("r1", "r1", False, True), ("r2", "r2", True, None)]
    platform.answer((["history"], 0, json.dumps(HISTORY["revisions"]), ""))
    assert ask(OWN, "history")["previous"]["revision"] == "r1"


def test_compose_goes_back_by_tag_without_building_and_keeps_the_number_of_replicas(platform: Platform) -> None:
    compose(platform)
    answer = ask(COMPOSE, {"rollback": {"to": "v1.4.2"}}, "write", affected=5)
    words = platform.words[-1]
    at = words.index("--wait-timeout")
    assert words[:at] + words[at + 2 :] == [
        *DOCKER_COMPOSE, "up", "-d", "--no-deps", "--no-build", "-t", "35", "--scale", "worker=2", "--wait", "worker",
    ]  # fmt: skip
    assert answer["affected"] == 1


def test_compose_gives_the_tag_as_the_variable_of_the_file(platform: Platform) -> None:
    compose(platform)
    program = platform.folder / "env"
    program.write_text((platform.folder / "docker").read_text())
    program.chmod(0o755)
    ask({**COMPOSE, "compose": {"project": "deploy", "tag": "LINKFLOW_TAG"}}, {"rollback": {"to": "v1.4.2"}}, "write")
    assert platform.words[-1][:4] == ["env", "LINKFLOW_TAG=v1.4.2", "docker", "compose"]


def test_a_compose_file_that_does_not_take_the_tag_is_refused_before_the_act(platform: Platform) -> None:
    fixed = json.loads(printed("docker/compose-config.json"))
    fixed["services"]["worker"]["image"] = "linkflow/worker:v1.5.0"
    compose(platform, config=(0, json.dumps(fixed), ""))
    with pytest.raises(Refused, match=r"still runs linkflow/worker:v1\.5\.0 for worker"):
        ask(COMPOSE, {"rollback": {"to": "v1.4.2"}}, "write")
    assert not any("up" in words for words in platform.words)


def test_kubernetes_goes_back_by_number_and_waits_for_the_rollout(platform: Platform) -> None:
    kubernetes(platform)
    answer = ask(KUBERNETES, {"rollback": {"to": 6}}, "write")
    undone, waited = platform.words[-2:]
    assert undone == [*KUBECTL, "rollout", "undo", "deployment/linkflow-api", "--to-revision=6"]
    assert waited[:-1] == [*KUBECTL, "rollout", "status", "deployment/linkflow-api"]
    assert waited[-1].startswith("--timeout=1") and "successfully rolled out" in answer["logs"]


def test_a_rollout_that_does_not_get_ready_failed_and_may_have_happened(platform: Platform) -> None:
    kubernetes(platform, status=(1, "", "error: timed out waiting for the condition\n"))
    with pytest.raises(TargetError, match="timed out waiting") as caught:
        ask(KUBERNETES, {"rollback": {"to": "6"}}, "write")
    assert caught.value.happened == "unknown"


def test_own_commands_go_back_by_revision(platform: Platform) -> None:
    platform.answer((["history"], 0, json.dumps(HISTORY), ""))
    ask(OWN, {"rollback": {"to": "r1"}}, "write")
    assert platform.words == [["own", "history"], ["own", "rollback", "api", "r1"]]


def test_the_revision_that_runs_already_is_nothing_to_do(platform: Platform) -> None:
    platform.answer((["history"], 0, json.dumps(HISTORY), ""))
    answer = ask(OWN, {"rollback": {"to": "r2"}}, "write")
    assert platform.words == [["own", "history"]] and (answer["affected"], answer["lines"]) == (0, ["r2 runs already"])


def test_two_revisions_that_both_say_latest_are_refused_with_the_reason(platform: Platform) -> None:
    kubernetes(platform, sets="replicasets-latest")
    with pytest.raises(Refused, match=r"both say \S+/api:latest: going back would run"):
        ask(KUBERNETES, {"rollback": {"to": "6"}}, "write")
    assert not any("undo" in words for words in platform.words)


def test_a_tag_of_the_very_image_that_runs_is_refused(platform: Platform) -> None:
    compose(platform)
    with pytest.raises(Refused, match="are the same image"):
        ask(COMPOSE, {"rollback": {"to": "latest"}}, "write")
    assert not any("up" in words for words in platform.words)


def test_a_revision_that_nobody_knows_is_refused_with_those_there_are(platform: Platform) -> None:
    kubernetes(platform)
    with pytest.raises(Refused, match="no revision '3'; there are 5, 6, 7"):
        ask(KUBERNETES, {"rollback": {"to": "3"}}, "write")
    assert not any("undo" in words for words in platform.words)


def test_a_history_that_cannot_be_had_before_a_rollback_means_that_nothing_happened(platform: Platform) -> None:
    platform.answer(([], 1, "", "Unable to connect to the server\n"))
    with pytest.raises(TargetError, match="before rollback") as caught:
        ask(KUBERNETES, {"rollback": {"to": "6"}}, "write")
    assert caught.value.happened == "no"


@pytest.mark.parametrize(
    ("request_", "mend"),
    [
        ("history", "history: list"),
        ({"rollback": {"to": "1"}}, "history: list"),
        ({"debug": {"for": 60}}, "debug: list that does"),
        ("debugging", "debug: list that does"),
    ],
)
def test_systemd_has_neither_versions_nor_a_debug_mode_that_ends(request_: Any, mend: str, platform: Platform) -> None:
    with pytest.raises(TargetError, match=mend) as caught:
        ask(SYSTEMD, request_, "write")
    assert (caught.value.code, caught.value.happened) == ("unsupported", "no")
    assert platform.words == []


@pytest.mark.parametrize(
    ("request_", "mend"),
    [
        ("history", "add `history: "),
        ({"rollback": {"to": "1"}}, r'add `rollback: \[program, rollback, "\{revision\}"\]`'),
        ({"debug": {"for": 60}}, r'add `debug: \[program, debug, "\{seconds\}"\]`'),
        ("debugging", "add `debug: "),
    ],
)
def test_own_commands_that_are_not_there_say_what_to_add(request_: Any, mend: str, platform: Platform) -> None:
    with pytest.raises(TargetError, match=mend):
        ask({"command": {"status": ["own"]}}, request_, "write")
    assert platform.words == []


@pytest.mark.parametrize("to", ["--all", "v1; touch x", "", "a/b", "x" * 200, "../r1"])
def test_a_revision_that_is_no_tag_is_refused(to: str, platform: Platform) -> None:
    with pytest.raises(Refused, match="should be a tag or a number"):
        ask(OWN, {"rollback": {"to": to}}, "write")
    assert platform.words == []


def test_a_session_for_reading_neither_goes_back_nor_switches_debug_on(platform: Platform) -> None:
    for request in ({"rollback": {"to": "r1"}}, {"debug": {"for": 60}}):
        with pytest.raises(Refused, match="for reading"):
            ask(OWN, request)
    assert platform.words == []


def test_the_effects_and_what_is_shown() -> None:
    rollback, debug, off = {"rollback": {"to": "r1"}}, {"debug": {"for": "15m"}}, {"debug": {"for": 0}}
    assert [service.least_effect(each)[0] for each in ("history", "debugging", debug, rollback)] == [
        Effect.read, Effect.read, Effect.reversible, Effect.disruptive,
    ]  # fmt: skip
    shown = [service.show(Call("x", each)) for each in (rollback, debug, off, "history")]
    assert shown == ["roll back to r1", "debug mode for 900 s", "end debug mode", "history"]


@pytest.mark.parametrize("request_", ["rollback", "debug", {"rollback": None}, {"rollback": {}}, {"debug": {"to": 1}}])
def test_a_rollback_to_nowhere_and_debug_for_ever_are_load_errors(request_: Any) -> None:
    with pytest.raises(ValidationError):
        service.Params.model_validate(request_)


def test_params_survive_being_written_out() -> None:
    for request in ({"rollback": {"to": "${{ x }}"}}, {"debug": {"for": "${{ y }}"}}, "history", "debugging"):
        params = service.Params.model_validate(request)
        for written in (params.model_dump(by_alias=True), params.model_dump()):
            assert service.Params.model_validate(written) == params


def test_debug_mode_of_own_commands_gets_the_seconds_after_which_it_ends(platform: Platform) -> None:
    ask(OWN, {"debug": {"for": "15m"}}, "write")
    ask(OWN, {"debug": {"for": 0}}, "write")
    assert platform.words == [["own", "debug", "900"], ["own", "debug", "0"]]
    for wrong in ("for ever", 7200):
        with pytest.raises(Refused):
            ask(OWN, {"debug": {"for": wrong}}, "write")


def test_debug_lines_are_counted_in_the_log(platform: Platform) -> None:
    lines = '{"level":"debug","message":"one"}\n{"level":"info","message":"debugging"}\n\x1b[90m3:04PM\x1b[0m DBG two\n'
    platform.answer((["status"], 0, '{"running": 1, "debug": 42}', ""), (["logs"], 0, lines, ""))
    found = ask(OWN, "debugging")["debug"]
    assert (found["on"], found["seconds_left"], found["lines"]) == (True, 42, 2) and "two" in found["last"]


def test_compose_starts_one_more_container_that_ends_itself(platform: Platform) -> None:
    compose(platform)
    ask(COMPOSE, {"debug": {"for": "15m"}}, "write")
    assert platform.words[-1] == [
        *DOCKER_COMPOSE, "run", "-d", "--rm", "--no-deps", "--use-aliases", "--name", "deploy-worker-debug",
        "-e", "APP_DEBUG=true", "--entrypoint", "timeout", "worker", "900", "/app/worker", "--config",
        "/app/configs/config.yaml",
    ]  # fmt: skip
    ask(COMPOSE, {"debug": {"for": 0}}, "write")
    assert platform.words[-1] == ["docker", "stop", "-t", "35", "deploy-worker-debug"]
    assert ask(COMPOSE, "debugging")["debug"]["on"] is False


def test_kubernetes_starts_one_more_pod_with_a_deadline_of_its_own(platform: Platform) -> None:
    kubernetes(platform)
    ask(KUBERNETES, {"debug": {"for": "15m"}}, "write")
    assert platform.words[-1] == [*KUBECTL, "create", "-f", "-"]
    assert ask(KUBERNETES, "debugging")["debug"]["on"] is False
    ask(KUBERNETES, {"debug": {"for": 0}}, "write")
    assert platform.words[-1] == [*KUBECTL, "delete", "pod", "linkflow-api-debug", "--ignore-not-found"]


def test_a_debug_pod_that_met_its_deadline_makes_room_for_the_next(platform: Platform) -> None:
    kubernetes(platform, pod=(0, '{"status": {"phase": "Failed", "reason": "DeadlineExceeded"}}', ""))
    ask(KUBERNETES, {"debug": {"for": 60}}, "write")
    assert [words[3] for words in platform.words] == ["get", "delete", "get", "get", "create"]


def test_the_debug_pod_is_served_like_the_others_and_adopted_by_nobody() -> None:
    pod = debug_pod(json.loads(printed("kubernetes/deployment.json")), "d", 900, {"APP_DEBUG": "true"})
    assert pod["metadata"]["labels"]["app"] == "linkflow-api"
    assert "pod-template-hash" not in pod["metadata"]["labels"]
    assert (pod["spec"]["activeDeadlineSeconds"], pod["spec"]["restartPolicy"]) == (900, "Never")
    named = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
    assert named == {"DATABASE_PASSWORD": None, "APP_DEBUG": "true"}
