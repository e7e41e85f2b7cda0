"""What faults tell the stand-ins to do differently: a small file, written by `break` and read by the processes."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from .state import write_private

KNOBS_FILE = "knobs.json"


@dataclass(frozen=True, slots=True)
class Flow:
    """Jobs that somebody sends on top of the ordinary load."""

    queue: str
    rate: float
    task_type: str = "workflow:execution"
    workflow: int | None = None
    most: int = 15000


@dataclass(frozen=True, slots=True)
class Knobs:
    job_seconds: float | None = None
    job_error: str | None = None
    hang_before: float = 0.0  # worker processes started before this moment hang; a fresh one has fresh connections
    crash_every: float | None = None
    concurrency: int | None = None
    flows: tuple[Flow, ...] = field(default=())
    redis_settings: tuple[str, ...] = ()  # lines of redis.conf, in force from the next start of Redis on
    poll_hangs_before: float = 0.0  # schedulers started before this moment keep their lock and poll nothing
    leader_dies: str | None = None  # the value in the lock of the scheduler that is to be killed
    api_port: int | None = None  # what PORT says to an API that starts
    deaf_before: float = 0.0  # an API started before this moment listens and never accepts
    bug: bool = False  # the route /exec panics
    debug_until: float = 0.0  # the API writes debug lines until this moment
    downstream: str | None = None  # the address of the integration that /exec calls
    doomed: dict[str, str] = field(default_factory=dict)  # task id → exit: it ends the worker; spin: it never ends
    memory_room: int | None = None  # bytes a worker may grow by before the kernel ends it
    leak: int = 0  # bytes that each job leaves behind
    leak_since: float = 0.0  # workers started before this moment have little room left
    worker_redis_port: int | None = None  # where workers that start look for Redis
    workflow_errors: dict[str, str] = field(default_factory=dict)  # workflow id → why its jobs fail
    visits: str = "GET /api/v1/health/live"  # the page that visitors look at
    visitors: int = 0  # how many at once
    visit_pause: float = 1.0  # seconds between two looks of one of them
    round_trip: float = 0.0  # seconds that a query of a list of workflows spends on the way
    row: int = 0  # the number of the workflow whose row is held
    busy_until: float = 0.0  # somebody else needs the processor until this moment
    worker_pool: int = 1  # connections to PostgreSQL that a worker opens at its start


class KnobReader:
    """The knobs as they are now, read again only when the file changed, and looked at 20 times a second at most."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / KNOBS_FILE
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        self._knobs = Knobs()

    def now(self) -> Knobs:
        moment = time.monotonic()
        if moment - self._looked < 0.05:
            return self._knobs
        self._looked = moment
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            self._stamp, self._knobs = stamp, load_knobs(self._path.parent)
        return self._knobs


def load_knobs(folder: Path) -> Knobs:
    try:
        document = json.loads((folder / KNOBS_FILE).read_text())
    except FileNotFoundError:
        return Knobs()
    return Knobs(**{**document, "flows": tuple(Flow(**flow) for flow in document["flows"])})


def turn(folder: Path, **changes: Any) -> None:
    """Change the named knobs and leave the others."""
    write_private(folder / KNOBS_FILE, json.dumps(asdict(replace(load_knobs(folder), **changes))))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_mtime_ns, status.st_ino
