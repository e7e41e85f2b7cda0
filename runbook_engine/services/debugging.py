"""Debug mode that ends by itself: one more replica with its switch on and a lifetime of its own.

The running replicas are never touched, so nothing has to be put back; whoever asked for it may be gone when it ends.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence

from ..errors import Refused, TargetError
from ..executor import Json
from . import mappings
from .kubernetes import DEBUG_LABEL
from .looking import deployment_of, running_container, status_of
from .mappings import Mapped
from .running import Runner, failed
from .status import epoch, read_json

LONGEST = 3600
LINES = 500
ENDED = ("Failed", "Succeeded")
SWITCH: Mapping[str, str] = {"APP_DEBUG": "true"}
NEW = 60
"""Seconds within which a line counts."""
TIME = re.compile(r'"time"\s*:\s*"([^"]{10,40})"')
DEBUG_LINE = re.compile(r'"level"\s*:\s*"debug"|\bDBG\b|\blevel=debug\b|\bDEBUG\b')


def enable(runner: Runner, service: Mapped, seconds: int, limit: float) -> str:
    """Debug mode for so many seconds; 0 ends it now."""
    match service.kind:
        case "command":
            return runner.act(mappings.command_words(service, "debug", mappings.Values(seconds=seconds)), limit)
        case "compose":
            return _by_compose(runner, service, seconds, limit) if seconds else _stop_container(runner, service, limit)
        case "kubernetes":
            return _by_kubernetes(runner, service, seconds, limit) if seconds else _delete_pod(runner, service, limit)
        case _:
            raise _unsupported(service, "debug")


def look(runner: Runner, service: Mapped, limit: float) -> dict[str, Json]:
    """Whether it is on, and what it has written at level debug."""
    match service.kind:
        case "command":
            mappings.command_words(service, "debug")
            left = status_of(runner, service, limit)["debug"]
            words = mappings.act_words(service, "logs", mappings.Values(lines=LINES, since=NEW))
            on = left > 0 if isinstance(left, int | float) else bool(left) if left is not None else None
            return _seen(on, left, runner.read(words, limit, both=True), None)
        case "compose":
            return _look_at(runner, ["docker", "logs", "--tail", str(LINES), name_of(service)], name_of(service), limit)
        case "kubernetes":
            if _phase(runner, service, limit) in (*ENDED, None):
                return _seen(False, None, "", name_of(service))
            words = [*mappings.kubectl(service), "logs", f"pod/{name_of(service)}", f"--tail={LINES}"]
            return _look_at(runner, words, name_of(service), limit)
        case _:
            raise _unsupported(service, "debugging")


def _look_at(runner: Runner, words: Sequence[str], name: str, limit: float) -> dict[str, Json]:
    """The replica's own log: whoever has none is not there."""
    finished = runner.run(words, limit)
    if finished.exit_code == 0:
        return _seen(True, None, finished.stdout + finished.stderr, name)
    if _is_gone(finished.stderr):
        return _seen(False, None, "", name)
    raise failed(words, finished)


def _seen(on: bool | None, left: Json, text: str, name: str | None) -> dict[str, Json]:
    now = time.time()
    found = [line for line in text.splitlines() if DEBUG_LINE.search(line) and not _is_old(line, now)]
    return {
        "on": on,
        "seconds_left": left,
        "lines": len(found),
        "last": found[-1][:500] if found else None,
        "name": name,
    }


def _is_old(line: str, now: float) -> bool:
    """What an earlier debug mode left in the log is no sign that this one works; a line without a time may be new."""
    found = TIME.search(line)
    written = epoch(found[1]) if found else None
    return written is not None and now - written > NEW


def name_of(service: Mapped) -> str:
    """Always the same, so that there is never a second one."""
    if service.kind == "kubernetes":
        return f"{mappings.deployment(service)}-debug"
    project = service.settings.get("project")
    return f"{project}-{service.service}-debug" if project else f"{service.service}-debug"


def _switch(service: Mapped) -> Mapping[str, str]:
    given = service.settings.get("debug")
    return {str(name): str(value) for name, value in given.items()} if isinstance(given, Mapping) else SWITCH


def _by_compose(runner: Runner, service: Mapped, seconds: int, limit: float) -> str:
    """A one-off container below `timeout`, which ends it; the image has to bring that program."""
    running = running_container(runner, service, limit)
    config = (running or {}).get("Config") or {}
    command = [*(config.get("Entrypoint") or []), *(config.get("Cmd") or [])]
    if not command:
        raise Refused(f"service: {service.service} has no container whose command could be repeated; start it first")
    settings = [word for name, value in _switch(service).items() for word in ("-e", f"{name}={value}")]
    words = [*mappings.compose(service), "run", "-d", "--rm", "--no-deps", "--use-aliases", "--name", name_of(service)]
    return runner.act(
        [*words, *settings, "--entrypoint", "timeout", service.service, str(seconds), *map(str, command)], limit
    )


def _stop_container(runner: Runner, service: Mapped, limit: float) -> str:
    words = ["docker", "stop", "-t", str(mappings.STOP_SECONDS), name_of(service)]
    finished = runner.run(words, limit, keep=True)
    if finished.exit_code != 0 and not _is_gone(finished.stderr):
        raise failed(words, finished)
    return finished.stdout


def _by_kubernetes(runner: Runner, service: Mapped, seconds: int, limit: float) -> str:
    """A pod of the deployment's own template that the cluster itself ends at its deadline."""
    if _phase(runner, service, limit) in ENDED:
        _delete_pod(runner, service, limit)
    found, _ = deployment_of(runner, service, limit)
    pod = debug_pod(found, name_of(service), seconds, _switch(service))
    # By standard input: a template may hold values that nobody should find in a list of processes.
    return runner.act([*mappings.kubectl(service), "create", "-f", "-"], limit, stdin=json.dumps(pod).encode())


def debug_pod(found: Mapping[str, Json], name: str, seconds: int, switch: Mapping[str, str]) -> dict[str, Json]:
    """Without the hash of the template no replica set adopts it; with the other labels the service still serves it."""
    template = (found.get("spec") or {}).get("template") or {}
    metadata, spec = template.get("metadata") or {}, dict(template.get("spec") or {})
    first, *others = spec.get("containers") or [{}]
    kept = [each for each in first.get("env") or [] if each.get("name") not in switch]
    switched = [{"name": key, "value": value} for key, value in switch.items()]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != "pod-template-hash"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": {**labels, DEBUG_LABEL: "true"},
            "annotations": dict(metadata.get("annotations") or {}),
        },
        "spec": {
            **spec,
            "containers": [{**first, "env": [*kept, *switched]}, *others],
            "restartPolicy": "Never",
            "activeDeadlineSeconds": seconds,
        },
    }


def _phase(runner: Runner, service: Mapped, limit: float) -> str | None:
    """Of the debug pod; one that met its deadline stays listed as Failed. None when there is none."""
    words = [*mappings.kubectl(service), "get", "pod", name_of(service), "--ignore-not-found", "-o", "json"]
    text = runner.read(words, limit)
    pod = read_json(text, "kubectl") if text.strip() else {}
    return str((pod.get("status") or {}).get("phase")) if pod else None


def _delete_pod(runner: Runner, service: Mapped, limit: float) -> str:
    words = [*mappings.kubectl(service), "delete", "pod", name_of(service), "--ignore-not-found"]
    return runner.act(words, limit)


def _is_gone(spoken: str) -> bool:
    return "No such container" in spoken or "NotFound" in spoken or "not found" in spoken


def _unsupported(service: Mapped, verb: str) -> TargetError:
    return mappings.unsupported(
        service, verb, "nothing would end it by itself; map the service to command: with a debug: list that does"
    )
