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
