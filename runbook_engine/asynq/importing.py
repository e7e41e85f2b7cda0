"""Brings back the jobs of an export: each as it was, none a second time.

It must never overwrite a job that exists, and never write before every line of every file has been read and understood.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import Refused
from ..executor import Json
from . import task_scripts
from .failures import SORTED_STATES
from .files import export_file, parts_of, read_file
from .operations import run_script
from .reading import Asking, checked_queue, queue_key

UNREFERENCED = "unreferenced"  # hashes that nothing held: nothing holds them afterwards either
_BATCH_JOBS = 200
_BATCH_BYTES = 4 << 20
_MOST_FIELDS = 100


@dataclass(frozen=True, slots=True)
class _Row:
    """One job as it stood when it was exported."""

    id: str
    score: float
    lock_ms: int
    fields: tuple[str | bytes, ...]  # names and values in turn

    @property
    def size(self) -> int:
        return sum(len(field) for field in self.fields)


def import_jobs(
    asking: Asking, queue: str, state: str, export: tuple[str | None, str], most: int | None
) -> dict[str, Json]:
    """Put jobs back into their state: as they were when nothing waits there, else behind what does, oldest first."""
    first = export_file(export[0], checked_queue(queue), state, export[1])
    files = [path for path in parts_of(first) if path == first or path.exists()]
    count = sum(1 for path in files for _ in _rows(path, queue, state))
    if most is not None and count > most:
        raise Refused(f"asynq: {count} jobs are in {first}; limit.affected is {most}. Nothing was put back")
    restored, existing = 0, 0
    for batch in _batches(row for path in files for row in _rows(path, queue, state)):
        once, there = _restore(asking, queue, state, batch, restored)
        restored, existing = restored + once, existing + there
    return {"affected": restored, "asked": count, "existing": existing, "path": str(first)}


def _rows(path: Path, queue: str, state: str) -> Iterator[_Row]:
    """The jobs of one file but those that it says were not deleted."""
    kept = {job for row in read_file(path) for job in _not_deleted(row)}
    for number, row in enumerate(read_file(path), 1):
        if isinstance(row, Mapping) and "not_deleted" in row:
            continue
        read = _row(row, queue, state)
        if read is None:
            raise Refused(f"import: {path}:{number}: is no job of {queue!r} in state {state!r}. Nothing was put back")
        if read.id not in kept:
            yield read


def _not_deleted(row: Json) -> list[str]:
    found = row.get("not_deleted") if isinstance(row, Mapping) else None
    return [str(job) for job in found] if isinstance(found, list) else []


def _row(row: Json, queue: str, state: str) -> _Row | None:
    if not isinstance(row, Mapping) or row.get("queue") != queue or row.get("state") != state:
        return None
    job, score, lock, hash_ = row.get("id"), row.get("score"), row.get("lock_ms", 0), row.get("hash")
    if not isinstance(job, str) or not isinstance(score, int | float) or not isinstance(lock, int):
        return None
    if not isinstance(hash_, Mapping) or "msg" not in hash_ or len(hash_) > _MOST_FIELDS:
        return None
    try:
        fields = [part for name, value in hash_.items() for part in (str(name), base64.b64decode(value, validate=True))]
    except (TypeError, ValueError, binascii.Error):
        return None
    return _Row(job, float(score), lock, tuple(fields))


def _batches(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    batch, size = list[_Row](), 0
    for row in rows:
        batch.append(row)
        size += row.size
        if len(batch) >= _BATCH_JOBS or size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _restore(asking: Asking, queue: str, state: str, batch: list[_Row], before: int) -> tuple[int, int]:
    kind = "zset" if state in SORTED_STATES else "hash" if state == UNREFERENCED else "list"
    arguments: list[str | bytes | int | float] = [queue_key(queue, "t:"), kind]
    for row in batch:
        arguments += [row.id, repr(row.score), row.lock_ms, len(row.fields), *row.fields]
    restored, existing = run_script(asking, task_scripts.IMPORT, [queue_key(queue, state)], arguments, before)
    return restored, existing
