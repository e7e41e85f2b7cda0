"""The same status of a service out of what docker compose, kubernetes, systemd or a command of one's own prints.

Pure. It must never invent a figure: what a platform does not say is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from ..errors import TargetError
from ..executor import Json
from .mappings import Mapped, unit

STATUS: Mapping[str, Json] = {
    "running": None,
    "desired": None,
    "ready": None,
    "restarts": None,
    "exit_code": None,
    "oom_killed": None,
    "started_at": None,
    "cpu": None,
    "rss": None,
    "memory_limit": None,
    "waiting": None,
    "reason": None,
    "health": None,
    "image": None,
    "images": [],
    "endpoints_ready": None,
    "probe_paths": None,
    "autoscaled": None,
    "autoscaler": None,
    "debug": None,
    "processes": [],
}
_UNITS = {"b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "tb": 1000**4}
_UNITS |= {"kib": 1024, "mib": 1024**2, "gib": 1024**3, "tib": 1024**4}
_SYSTEMD_REASONS = {"oom-kill": "OOMKilled", "success": None, "": None}


def read_json(text: str, what: str) -> Json:
    """A document, or one document a line: `docker compose ps` changed from the first to the second with 2.21."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise TargetError("protocol", f"{what} did not print JSON but {text[:80]!r}") from error


def rows(document: Json) -> list[Mapping[str, Json]]:
    found = document if isinstance(document, list) else [document]
    return [row for row in found if isinstance(row, dict)]


def status_of_command(exit_code: int, text: str, what: str) -> dict[str, Json] | None:
    """From its JSON; or, as init scripts answer, from the exit code: 0 runs, 3 does not. None: it failed."""
    if exit_code == 0 and text.lstrip().startswith("{"):
        document = read_json(text, what)
        if isinstance(document, dict):
            return {**STATUS, **document}
    if exit_code in (0, 3):
        return {**STATUS, "running": int(exit_code == 0)}
    return None


def status_of_compose(
    listed: Sequence[Mapping[str, Json]], inspected: Sequence[Mapping[str, Json]], stats: Sequence[Mapping[str, Json]]
) -> dict[str, Json]:
    """From `ps`, `inspect` and `stats`; the last two may lack a container that has just gone."""
    details = {str(row.get("Id")): row for row in inspected}
    usage = {str(row.get("ID") or row.get("Container")): row for row in stats}
    found = [(row, _of(details, row)) for row in listed]
    return _summary([_container(row, detail, _of(usage, row)) for row, detail in found if not is_one_off(detail)])


def is_one_off(detail: Mapping[str, Json]) -> bool:
    """What `docker compose run` started is none of the service's own containers."""
    labels = (detail.get("Config") or {}).get("Labels") or {}
    return str(labels.get("com.docker.compose.oneoff")) == "True"


def _of(found: Mapping[str, Mapping[str, Json]], row: Mapping[str, Json]) -> Mapping[str, Json]:
    """By id, however shortened either side is."""
    wanted = str(row.get("ID"))
    return next((item for key, item in found.items() if key.startswith(wanted) or wanted.startswith(key)), {})


def _container(row: Mapping[str, Json], detail: Mapping[str, Json], usage: Mapping[str, Json]) -> dict[str, Json]:
    state: Mapping[str, Json] = detail.get("State") or {}
    name = str(state.get("Status") or row.get("State") or "")
    health = (state.get("Health") or {}).get("Status") or row.get("Health") or None
    runs = name == "running"
    return {
        "id": row.get("ID"),
        "pid": state.get("Pid") or None,
        "name": row.get("Name"),
        "state": name,
        "health": health,
        "ready": runs and health in (None, "healthy"),
        "exit_code": None if runs else state.get("ExitCode", row.get("ExitCode")),
        "oom_killed": state.get("OOMKilled"),
        "restarts": detail.get("RestartCount"),
        "started_at": moment(state.get("StartedAt")),
        "finished_at": moment(state.get("FinishedAt")),
        "memory_limit": (detail.get("HostConfig") or {}).get("Memory") or None,
        "reason": _reason(state, runs),
        "image": (detail.get("Config") or {}).get("Image") or row.get("Image"),
        "image_id": detail.get("Image"),
        "cpu": _percent(usage.get("CPUPerc")),
        "rss": _size(str(usage.get("MemUsage") or "").partition("/")[0]),
    }


def _reason(state: Mapping[str, Json], runs: bool) -> str | None:
    """Why it ended, in the words of kubernetes; docker's own error where it could not even start."""
    if state.get("OOMKilled"):
        return "OOMKilled"
    if state.get("Error"):
        return str(state["Error"])
    # Of one that was started again docker forgets the exit code.
    if runs or moment(state.get("FinishedAt")) is None:
        return None
    return "Error" if state.get("ExitCode") else "Completed"


def _summary(processes: list[dict[str, Json]]) -> dict[str, Json]:
    ended = [each for each in processes if each["state"] != "running"]
    last = max(ended, key=lambda each: each["finished_at"] or "", default=None)
    images = sorted({str(each["image"]) for each in processes if each["image"]})
    return {
        **STATUS,
        "running": len(processes) - len(ended),
        "ready": sum(1 for each in processes if each["ready"]),
        "restarts": total(processes, "restarts"),
        "exit_code": last["exit_code"] if last else None,
        "reason": (last or next((each for each in processes if each["reason"]), {})).get("reason"),
        "health": _worst([str(each["health"]) for each in processes if each["health"]]),
        "image": images[0] if images else None,
        "images": images,
        "oom_killed": any_of(processes, "oom_killed"),
        "started_at": latest(processes),
        "cpu": total(processes, "cpu"),
        "rss": total(processes, "rss"),
        "memory_limit": max((each["memory_limit"] for each in processes if each["memory_limit"]), default=None),
        "processes": processes,
    }


def _worst(healths: Sequence[str]) -> str | None:
    return next((name for name in ("unhealthy", "starting", "healthy") if name in healths), None)


def status_of_systemd(text: str, service: Mapped) -> dict[str, Json]:
    """From `systemctl show`; a unit that does not exist is an error, not a stopped service."""
    shown = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if shown.get("LoadState") == "not-found":
        raise TargetError("not_found", f"systemd knows no unit {unit(service)}", "no")
    result = shown.get("Result", "")
    runs = shown.get("ActiveState") in ("active", "reloading")
    rss = _number(shown.get("MemoryCurrent"))
    pid = _number(shown.get("MainPID"))
    process = {"id": pid, "pid": pid, "name": unit(service), "state": shown.get("SubState"), "rss": rss}
    return {
        **STATUS,
        "running": int(runs),
        "ready": int(runs),
        "restarts": _number(shown.get("NRestarts")),
        "exit_code": None if runs else _number(shown.get("ExecMainStatus")),
        "reason": _SYSTEMD_REASONS.get(result, result),
        "oom_killed": result == "oom-kill",
        "started_at": _systemd_moment(shown.get("ActiveEnterTimestamp", "")),
        "rss": rss,
        "memory_limit": _number(shown.get("MemoryMax")),
        "processes": [process] if runs else [],
    }


def moment(value: Json) -> str | None:
    """ISO with at most microseconds; docker's year 1 means never."""
    if not isinstance(value, str) or not value or value.startswith("0001-"):
        return None
    return re.sub(r"(\.\d{6})\d+", r"\1", value)


def epoch(text: str | None) -> float | None:
    """Seconds since 1970 of an ISO time; one without a zone is in UTC."""
    try:
        found = datetime.fromisoformat(moment(text) or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _systemd_moment(value: str) -> str | None:
    try:
        return datetime.strptime(value, "%a %Y-%m-%d %H:%M:%S UTC").isoformat() + "Z"
    except ValueError:
        return None


def _number(value: str | None) -> int | None:
    """systemd writes `[not set]`, `infinity` or 2⁶⁴-1 for what it does not know."""
    number = int(value) if value and value.isdecimal() else None
    return None if number is None or number >= 2**64 - 1 else number


def _percent(value: Json) -> float | None:
    found = re.match(r"[\d.]+", str(value or ""))
    return float(found[0]) if found else None


def _size(text: str) -> int | None:
    found = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]+)\s*", text)
    unit_size = _UNITS.get(found[2].lower()) if found else None
    return int(float(found[1]) * unit_size) if found and unit_size else None


def total(processes: Sequence[Mapping[str, Json]], key: str) -> Json:
    known = [each[key] for each in processes if each.get(key) is not None]
    return sum(known) if known else None


def any_of(processes: Sequence[Mapping[str, Json]], key: str) -> bool | None:
    known = [bool(each[key]) for each in processes if each.get(key) is not None]
    return any(known) if known else None


def latest(processes: Sequence[Mapping[str, Json]]) -> str | None:
    return max((each["started_at"] for each in processes if each["started_at"]), default=None)
