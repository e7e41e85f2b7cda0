"""The status of a service out of what kubectl prints as JSON: deployment, pods, endpoint slices and autoscalers.

Pure. What the cluster does not say, or does not let this user read, is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from ..executor import Json
from .status import STATUS, any_of, latest, moment, total

_QUANTITIES: dict[str, Decimal] = {"": Decimal(1), "m": Decimal("0.001"), "k": Decimal(1000), "Ki": Decimal(1024)}
_QUANTITIES |= {letter: Decimal(1000) ** power for power, letter in enumerate("MGTPE", start=2)}
_QUANTITIES |= {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("MGTPE", start=2)}
PROBES = ("readinessProbe", "livenessProbe", "startupProbe")
DEBUG_LABEL = "runbook-engine/debug"


def items(document: Json) -> list[Mapping[str, Json]]:
    """The objects of a list."""
    found = document.get("items") if isinstance(document, dict) else []
    return [item for item in found or [] if isinstance(item, dict)]


def selector_of(found: Mapping[str, Json]) -> str:
    """A deployment's own selector, as `-l` wants it."""
    selector = (found.get("spec") or {}).get("selector") or {}
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for rule in selector.get("matchExpressions") or []:
        among = ",".join(rule.get("values") or [])
        forms = {
            "In": f"{rule['key']} in ({among})",
            "NotIn": f"{rule['key']} notin ({among})",
            "Exists": str(rule["key"]),
        }
        parts.append(forms.get(str(rule.get("operator")), f"!{rule['key']}"))
    return ",".join(parts)


def status_of_kubernetes(
    found: Mapping[str, Json],
    pods: Sequence[Mapping[str, Json]],
    slices: Sequence[Mapping[str, Json]] | None = None,
    autoscalers: Sequence[Mapping[str, Json]] | None = None,
    named: bool = False,
) -> dict[str, Json]:
    """From the deployment and its pods, each with the reason of its last end.

    `slices` and `autoscalers` are none where they could not be read; `named` when the slices are those of a service
    that the environment names, so that none of them means no endpoint.
    """
    processes = [_pod(pod) for pod in pods if DEBUG_LABEL not in _labels(pod)]
    ended = max(processes, key=lambda each: each["finished_at"] or "", default=None)
    waiting = sorted({each["waiting"] for each in processes if each["waiting"]})
    containers = _containers(found)
    images = sorted({image for each in processes for image in each["images"]})
    return {
        **STATUS,
        "running": sum(1 for each in processes if each["state"] == "Running"),
        "desired": (found.get("spec") or {}).get("replicas"),
        "ready": (found.get("status") or {}).get("readyReplicas") or 0,
        "restarts": total(processes, "restarts"),
        "exit_code": ended["exit_code"] if ended else None,
        "reason": ended["reason"] if ended else None,
        "oom_killed": any_of(processes, "oom_killed"),
        "started_at": latest(processes),
        "waiting": waiting[0] if waiting else None,
        "health": _health(processes),
        "memory_limit": _memory_limit(containers),
        "image": next((str(each["image"]) for each in containers if each.get("image")), None),
        "images": images,
        "endpoints_ready": _endpoints_ready(slices, {str(each["name"]) for each in processes}, named),
        "probe_paths": sorted(set(_probe_paths(containers))),
        **_autoscaler(found, autoscalers),
        "processes": processes,
    }


def _pod(pod: Mapping[str, Json]) -> dict[str, Json]:
    status: Mapping[str, Json] = pod.get("status") or {}
    containers: list[Mapping[str, Json]] = status.get("containerStatuses") or []
    states = [each.get("state") or {} for each in containers]
    ends = [end for each in containers if (end := _end(each))]
    last = max(ends, key=lambda end: str(end.get("finishedAt") or ""), default={})
    waits = [str(state["waiting"].get("reason")) for state in states if state.get("waiting")]
    started = [str(state["running"].get("startedAt")) for state in states if state.get("running")]
    return {
        "name": (pod.get("metadata") or {}).get("name"),
        "state": status.get("phase"),
        "ready": bool(containers) and all(each.get("ready") for each in containers),
        "restarts": sum(int(each.get("restartCount") or 0) for each in containers),
        "exit_code": last.get("exitCode"),
        "reason": last.get("reason") or status.get("reason"),
        "oom_killed": any(end.get("reason") == "OOMKilled" for end in ends),
        "finished_at": moment(last.get("finishedAt")),
        "started_at": moment(max(started, default=None)),
        "waiting": waits[0] if waits else _unscheduled(status),
        "image": next((each.get("image") for each in containers), None),
        "images": [str(each["image"]) for each in containers if each.get("image")],
        "image_id": next((digest_of(each.get("imageID")) for each in containers), None),
    }


def _end(container: Mapping[str, Json]) -> Mapping[str, Json]:
    now, before = container.get("state") or {}, container.get("lastState") or {}
    found: Mapping[str, Json] = now.get("terminated") or before.get("terminated") or {}
    return found


def _unscheduled(status: Mapping[str, Json]) -> str | None:
    """A pod without a node has no containers yet; its condition says why."""
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "Unschedulable")
    return None


def _health(processes: Sequence[Mapping[str, Json]]) -> str | None:
    running = [each for each in processes if each["state"] == "Running"]
    if not running:
        return None
    return "healthy" if all(each["ready"] for each in running) else "unhealthy"


def digest_of(image_id: Json) -> str | None:
    """`docker-pullable://name@sha256:…` and `name@sha256:…` are the same to us."""
    found = re.search(r"sha256:[0-9a-f]{64}", str(image_id or ""))
    return found[0] if found else None


def _labels(item: Mapping[str, Json]) -> Mapping[str, Json]:
    labels: Mapping[str, Json] = (item.get("metadata") or {}).get("labels") or {}
    return labels


def _containers(found: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    template = ((found.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [each for each in template.get("containers") or [] if isinstance(each, dict)]


def _probe_paths(containers: Sequence[Mapping[str, Json]]) -> Iterator[str]:
    for container in containers:
        for probe in PROBES:
            path = ((container.get(probe) or {}).get("httpGet") or {}).get("path")
            if path:
                yield str(path)


def _memory_limit(containers: Sequence[Mapping[str, Json]]) -> int | None:
    limits = [quantity(((each.get("resources") or {}).get("limits") or {}).get("memory")) for each in containers]
    return next((limit for limit in limits if limit), None)


def quantity(value: Json) -> int | None:
    """`512Mi`, `1.5Gi`, `1e9` or bytes."""
    text = str(value or "")
    plain = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE]\d+)?)([A-Za-z]*)", text)
    if not plain or plain[2] not in _QUANTITIES:
        return None
    return int(Decimal(plain[1]) * _QUANTITIES[plain[2]])


def _endpoints_ready(slices: Sequence[Mapping[str, Json]] | None, pods: set[str], named: bool) -> int | None:
    """How many of the pods a service sends requests to. Without a service that knows them there is nothing to say."""
    if slices is None:
        return None
    known, ready = False, set()
    for endpoint in (each for found in slices for each in found.get("endpoints") or []):
        name = str((endpoint.get("targetRef") or {}).get("name"))
        if name in pods:
            known = True
            # `ready` that is not said means yes: so the API defines it.
            if (endpoint.get("conditions") or {}).get("ready") is not False:
                ready.add(name)
    return len(ready) if known or named else None


def _autoscaler(found: Mapping[str, Json], autoscalers: Sequence[Mapping[str, Json]] | None) -> dict[str, Json]:
    if autoscalers is None:
        return {"autoscaled": None, "autoscaler": None}
    name = (found.get("metadata") or {}).get("name")
    for each in autoscalers:
        spec = each.get("spec") or {}
        wanted = spec.get("scaleTargetRef") or {}
        if wanted.get("kind") == "Deployment" and wanted.get("name") == name:
            told = {
                "name": (each.get("metadata") or {}).get("name"),
                "min": spec.get("minReplicas") or 1,
                "max": spec.get("maxReplicas"),
            }
            return {"autoscaled": True, "autoscaler": told}
    return {"autoscaled": False, "autoscaler": None}
