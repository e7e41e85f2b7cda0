"""The status of a service out of what docker compose, docker and kubectl print in full."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from platforms import Platform, ask, printed

from runbook_engine.services.kubernetes import digest_of, quantity

COMPOSE = {"service": "worker", "compose": {"project": "deploy"}}
KUBERNETES = {"kubernetes": {"namespace": "linkflow", "deployment": "linkflow-api"}}
FORBIDDEN = (
    'Error from server (Forbidden): endpointslices.discovery.k8s.io is forbidden: User "runbook" cannot list resource '
    '"endpointslices" in API group "discovery.k8s.io" in the namespace "linkflow"\n'
)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return Platform(tmp_path)


def of_compose(platform: Platform, listed: str) -> Any:
    platform.answer(
        (["ps"], 0, printed(f"docker/{listed}"), ""),
        (["inspect"], 0, printed("docker/inspect.json"), ""),
        (["stats"], 0, printed("docker/stats.jsonl"), ""),
    )
    return ask(COMPOSE, "status")["status"]


@pytest.mark.parametrize("listed", ["compose-ps-2.20.json", "compose-ps-2.27.jsonl"])
def test_compose_tells_why_one_ended_how_the_other_fares_and_what_both_run(listed: str, platform: Platform) -> None:
    status = of_compose(platform, listed)
    names = ("running", "ready", "restarts", "exit_code", "reason", "oom_killed", "health", "image", "memory_limit")
    assert [status[name] for name in names] == [
        1, 1, 4, 137, "OOMKilled", True, "healthy", "linkflow/worker:v1.5.0", 536870912,
    ]  # fmt: skip
    assert status["images"] == ["linkflow/worker:v1.5.0"]
    assert [(each["state"], each["pid"], each["reason"]) for each in status["processes"]] == [
        ("running", 41231, None),
        ("exited", None, "OOMKilled"),
    ]
    assert status["processes"][0]["image_id"].startswith("sha256:")


def test_a_container_that_compose_ran_once_is_none_of_the_services_own(platform: Platform) -> None:
    status = of_compose(platform, "compose-ps-2.27.jsonl")
    assert all(each["name"] != "deploy-worker-debug" for each in status["processes"])


def test_what_docker_knows_of_a_container_never_shows_its_environment(platform: Platform) -> None:
    assert "swordfish" not in json.dumps(of_compose(platform, "compose-ps-2.27.jsonl"))


def of_kubernetes(
    platform: Platform, pods: str = "pods", settings: dict[str, Any] = KUBERNETES, **answers: tuple[int, str, str]
) -> Any:
    found = {
        "endpointslices": (0, printed("kubernetes/endpointslices.json"), ""),
        "hpa": (0, printed("kubernetes/hpa.json"), ""),
        "pods": (0, printed(f"kubernetes/{pods}.json"), ""),
        "deployment/linkflow-api": (0, printed("kubernetes/deployment.json"), ""),
        **answers,
    }
    platform.answer(*[([word], *answer) for word, answer in found.items()])
    return ask(settings, "status")["status"]


def test_kubernetes_tells_four_pods_that_fail_in_four_ways_apart(platform: Platform) -> None:
    status = of_kubernetes(platform)
    assert [(each["state"], each["ready"], each["waiting"], each["reason"]) for each in status["processes"]] == [
        ("Running", True, None, None),
        ("Running", False, None, None),
        ("Running", False, "CrashLoopBackOff", "OOMKilled"),
        ("Pending", False, "ImagePullBackOff", None),
    ]
    names = ("desired", "ready", "restarts", "exit_code", "reason", "oom_killed", "waiting", "health")
    assert [status[name] for name in names] == [4, 1, 6, 137, "OOMKilled", True, "CrashLoopBackOff", "unhealthy"]


def test_kubernetes_tells_who_is_served_by_which_probe_and_within_what_limits(platform: Platform) -> None:
    status = of_kubernetes(platform)
    assert status["endpoints_ready"] == 1
    assert status["probe_paths"] == ["/api/v1/health/live", "/health/ready"]
    assert (status["autoscaled"], status["autoscaler"]) == (True, {"name": "linkflow-api", "min": 2, "max": 10})
    assert status["memory_limit"] == 512 * 1024 * 1024
    assert status["image"] == "registry.example.org/linkflow/api:v1.5.0" and len(status["images"]) == 1


def test_what_this_user_may_not_read_is_none_and_costs_nothing_else(platform: Platform) -> None:
    status = of_kubernetes(platform, endpointslices=(1, "", FORBIDDEN), hpa=(1, "", FORBIDDEN))
    assert status["endpoints_ready"] is status["autoscaled"] is status["autoscaler"] is None
    assert (status["ready"], status["desired"]) == (1, 4)


def test_a_deployment_without_a_service_has_no_endpoints_to_tell_of(platform: Platform) -> None:
    nobody = (0, '{"apiVersion": "v1", "items": [], "kind": "List"}', "")
    status = of_kubernetes(platform, endpointslices=nobody, hpa=nobody)
    assert status["endpoints_ready"] is None and status["autoscaled"] is False
    named = {"kubernetes": {**KUBERNETES["kubernetes"], "endpoints": "linkflow-api-service"}}
    assert of_kubernetes(platform, settings=named, endpointslices=nobody)["endpoints_ready"] == 0
    asked = next(words for words in reversed(platform.words) if "endpointslices" in words)
    assert asked[5:7] == ["-l", "kubernetes.io/service-name=linkflow-api-service"]


def test_a_pod_that_no_node_takes_says_so(platform: Platform) -> None:
    status = of_kubernetes(platform, pods="pods-unscheduled")
    assert (status["running"], status["waiting"], status["health"]) == (0, "Unschedulable", None)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("512Mi", 512 << 20),
        ("1.5Gi", 3 << 29),
        ("1G", 10**9),
        ("134217728", 134217728),
        ("128974848000m", 128974848),
        ("64Ki", 65536),
        ("100k", 100000),
        ("1e9", 10**9),
        (None, None),
        ("much", None),
    ],
)
def test_quantities_of_kubernetes(text: str | None, size: int | None) -> None:
    assert quantity(text) == size


def test_a_digest_is_found_however_it_is_written() -> None:
    digest = "sha256:" + "a" * 64
    assert digest_of(f"docker-pullable://linkflow/api@{digest}") == digest_of(f"x/y@{digest}") == digest
    assert digest_of("") is digest_of("linkflow/api:latest") is None
