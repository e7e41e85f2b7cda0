"""`host:` what the kernel of this machine says: who listens on a port, how processes fare, memory, load and disks.

An environment names it where LinkFlow runs on the machine that `runbook` runs on; of any other machine it must never
speak. It only reads, works as an ordinary user, and never shows a command line.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Identity, Json, Target

KINDS = frozenset({"host"})
ANSWERS: Mapping[str, str] = {
    "listeners": "who listens on each of `ports`: port address pid name exe user uptime_s; "
    "of another user's process only port and address",
    "processes": "each of `pids`: pid alive name exe state uptime_s rss cpu (percent of a core) busiest_thread "
    "(percent of the look in which it ran or got no core) threads fds fd_limit listen_ports; what is hidden is none",
    "resources": "cores mem_available (bytes) mem_available_pct load_per_core disks: path free free_pct; "
    "psi_cpu psi_io psi_memory: percent of the last minute in which something waited; psi_cpu_10s … of ten seconds",
    "truncated": "more than 200 ports or pids were asked for, and only these were looked at",
}
MOST = 200
MOST_PID = 1 << 22
READS = "ports, pids, resources, disks and seconds"


class Params(BaseModel):
    """What to look at. `ports` and `pids` take one number or a list."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ports: int | str | tuple[int | str | None, ...] | None = None
    pids: int | str | tuple[int | str | None, ...] | None = None
    resources: bool | str = False
    disks: str | tuple[str, ...] = ()
    seconds: float | str = 0.2

    @model_validator(mode="after")
    def _something(self) -> Params:
        if not {"ports", "pids", "resources", "disks"} & self.model_fields_set:
            raise ValueError("say what to look at: ports, pids, resources or disks")
        return self


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in numbers. None: not asked for."""

    ports: tuple[int, ...] | None
    pids: tuple[int, ...] | None
    disks: tuple[str, ...] | None
    seconds: float


class Session:
    """Looks on a thread of its own: a disk whose server is gone may never answer."""

    def __init__(self, target: Target) -> None:
        # As with any driver, that it is missing shows here and not in the midst of a call.
        from runbook_engine.machine import processes, resources

        self._processes, self._resources = processes, resources
        self._name = target.name
        self._changed = threading.Condition()
        self._calls = self._cancelled = 0

    def identity(self) -> Identity:
        hostname = socket.gethostname()
        return Identity(f"this machine, {hostname}", {"kind": "host", "hostname": hostname, "boot": _boot()})

    def call(self, call: Call) -> Json:
        asked = _asked(_params(call.request))
        over = threading.Event()
        ends: list[Json | Exception] = []

        def work() -> None:
            end = self._look(asked, over)
            with self._changed:
                ends.append(end)
                self._changed.notify_all()

        with self._changed:
            self._calls += 1
            number = self._calls
            threading.Thread(target=work, daemon=True, name="host").start()
            self._changed.wait_for(lambda: bool(ends) or self._cancelled >= number, call.deadline)
        over.set()
        if not ends:
            raise self._unanswered(self._cancelled >= number, call.deadline)
        if isinstance(ends[0], Exception):
            raise TargetError("protocol", f"host {self._name}: {ends[0]}", "no") from ends[0]
        return ends[0]

    def cancel(self) -> None:
        with self._changed:
            self._cancelled = self._calls
            self._changed.notify_all()

    def close(self) -> None:
        """Nothing is open."""

    def _look(self, asked: Asked, over: threading.Event) -> Json | Exception:
        try:
            rows = None
            if asked.pids is not None:
                rows = self._processes.processes(asked.pids[:MOST], asked.seconds, over)
            return {
                "listeners": None if asked.ports is None else self._processes.listeners(asked.ports[:MOST]),
                "processes": rows,
                "resources": None if asked.disks is None else self._resources.resources(asked.disks),
                "truncated": len(asked.ports or ()) > MOST or len(asked.pids or ()) > MOST,
            }
        except (OSError, ValueError, RuntimeError) as error:
            return error

    def _unanswered(self, cancelled: bool, deadline: float) -> TargetError:
        # Nothing was to be changed, so nothing was.
        if cancelled:
            return TargetError("cancelled", f"host {self._name}: cancelled", "no")
        return TargetError("timeout", f"host {self._name}: no answer within {deadline:g} s", "no")


def _boot() -> str | None:
    """Of which start of this machine the answers are; none where the kernel has no such id."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None


def _params(request: Json) -> Params:
    try:
        return Params.model_validate(request)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(f"host: {where + ': ' if where else ''}{first['msg']}; it only reads {READS}") from error


def _asked(params: Params) -> Asked:
    disks = (params.disks,) if isinstance(params.disks, str) else params.disks
    wanted = params.resources in (True, "true") or bool(disks)
    return Asked(
        _numbers(params.ports, "ports", 65535),
        _numbers(params.pids, "pids", MOST_PID),
        (disks or ("/",)) if wanted else None,
        _seconds(params.seconds),
    )


def _numbers(value: Json, name: str, most: int) -> tuple[int, ...] | None:
    """One or many; an entry that is none (a process whose pid nobody told) is left out."""
    if value is None:
        return None
    many = value if isinstance(value, tuple) else (value,)
    return tuple(dict.fromkeys(_number(each, name, most) for each in many if each is not None))


def _number(value: int | str, name: str, most: int) -> int:
    try:
        number = int(value)
    except ValueError:
        number = 0
    if not 0 < number <= most or isinstance(value, bool):
        raise Refused(f"host: {name} {value!r} should be a whole number from 1 to {most}")
    return number


def _seconds(value: float | str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= 60.0:
        raise Refused(f"host: seconds {value!r} should be from 0 to 60: for so long the use of cpu is measured")
    return seconds


def least_effect(params: Any) -> tuple[Effect, str]:
    """Always reading."""
    Params.model_validate(params)
    return Effect.read, "host reads"


def bound_names(params: Any) -> frozenset[str]:
    """None: there is no code."""
    Params.model_validate(params)
    return frozenset()


def show(call: Call) -> str:
    """What is looked at."""
    asked = _asked(_params(call.request))
    parts = {
        "listeners on": asked.ports,
        "processes": asked.pids,
        "memory, load, pressure and the disks of": asked.disks,
    }
    return "; ".join(
        f"{what} {', '.join(map(str, value)) or 'none'}" for what, value in parts.items() if value is not None
    )


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    """Takes no settings. One that names a machine would be taken for that machine, and is refused."""
    if target.settings:
        found = ", ".join(sorted(target.settings))
        raise TargetError(
            "unsupported",
            f"target {target.name}: kind host is this machine and has no settings; found {found}. "
            "For another machine run runbook there",
            "no",
        )
    return Session(target)
