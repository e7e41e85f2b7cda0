"""Copies jobs of one state into a file, so that what is deleted afterwards can be brought back.

It must never change a job, and never leave half a file under the final name.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import Refused
from ..executor import Json
from ..redis_client.wire import Reply
from .failures import members_of
from .files import export_file, parts_of, write_file
from .reading import Asking, checked_queue, queue_key, texts, time_of

_PAGE = 20


def export(
    asking: Asking, queue: str, state: str, folder: str | None, name: str | None, ids: Sequence[str] | None
) -> dict[str, Json]:
    """Write one line of JSON for each job, its hash in base64, into a new file in `folder` for its owner alone."""
    checked_queue(queue)
    members = members_of(asking, queue, state)
    wanted = list(members) if ids is None else [job for job in dict.fromkeys(ids) if job in members]
    named = name if name is not None else str(int(time_of(asking.ask([["TIME"]])[0])))
    path = export_file(folder, queue, state, named)
    lines, digest, _ = copy_jobs(asking, queue, state, {job: members[job] for job in wanted}, path)
    return {
        "path": str(path),
        "sha256": digest,
        "lines": lines,
        "asked": len(wanted) if ids is None else len(ids),
        "affected": 0,
    }


def copy_jobs(
    asking: Asking, queue: str, state: str, jobs: Mapping[str, float], path: Path
) -> tuple[int, str, list[str]]:
    """Copy these jobs, each with its score, into a new file: how many there were, its digest, and their ids."""
    copied: list[str] = []
    lines, digest = write_file(path, _lines(asking, queue, state, jobs, copied))
    return lines, digest, copied


def free_part(first: Path) -> Path:
    """The first part of an export whose file is not there yet."""
    path = next((path for path in parts_of(first) if not path.exists()), None)
    if path is None:
        raise Refused(f"export: {first} has all the parts it may have. Give another name")
    return path


def _lines(asking: Asking, queue: str, state: str, jobs: Mapping[str, float], copied: list[str]) -> Iterator[bytes]:
    wanted = list(jobs)
    for start in range(0, len(wanted), _PAGE):
        page = wanted[start : start + _PAGE]
        hashes = asking.ask([["HGETALL", queue_key(queue, f"t:{job}")] for job in page], whole=True)
        locks = _locks(asking, page, hashes)
        for job, flat, lock in zip(page, hashes, locks, strict=True):
            if flat:
                row = {"id": job, "queue": queue, "state": state, "score": jobs[job], "hash": _fields(flat)}
                copied.append(job)
                yield json.dumps(row | ({"lock_ms": lock} if lock else {}), ensure_ascii=False).encode() + b"\n"


def _locks(asking: Asking, page: Sequence[str], hashes: Sequence[Reply]) -> list[int | None]:
    """How many milliseconds each job still holds its lock; None for one that holds none."""
    keys = [_lock_key(flat) for flat in hashes]
    asked = [(job, key) for job, key in zip(page, keys, strict=True) if key]
    replies = asking.ask([command for _, key in asked for command in (["GET", key], ["PTTL", key])])
    held = {
        job: replies[at * 2 + 1]
        for at, (job, _) in enumerate(asked)
        if replies[at * 2] == job.encode() and replies[at * 2 + 1] > 0
    }
    return [held.get(job) for job in page]


def _lock_key(flat: Reply) -> str:
    fields = dict(zip((flat or [])[::2], (flat or [])[1::2], strict=True))
    return next(iter(texts([fields.get(b"unique_key")])), "")


def _fields(flat: Reply) -> dict[str, str]:
    return {
        name.decode("utf-8", "replace"): base64.b64encode(value).decode("ascii")
        for name, value in zip(flat[::2], flat[1::2], strict=True)
    }
