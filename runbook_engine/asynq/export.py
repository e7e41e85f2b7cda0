"""Copies jobs of one state into a file, so that what is deleted afterwards can be brought back.

It must never leave half a file under the final name, nor one that others may read: payloads are the users' data.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..errors import Refused
from ..executor import Json
from .failures import members_of
from .reading import Asking, checked_queue, queue_key, time_of

_PAGE = 20


def export(asking: Asking, queue: str, state: str, folder: str, ids: Sequence[str] | None) -> dict[str, Json]:
    """Write one line of JSON for each job, its hash in base64, into a new file in `folder` for its owner alone."""
    checked_queue(queue)
    members = members_of(asking, queue, state)
    wanted = list(members) if ids is None else [job for job in dict.fromkeys(ids) if job in members]
    moment = int(time_of(asking.ask([["TIME"]])[0]))
    name = re.sub(r"[^\w.-]", "_", f"asynq-{queue}-{state}-{moment}")
    path = Path(folder) / f"{name}.ndjson"
    try:
        lines, digest = _write(path, _lines(asking, queue, state, wanted, members))
    except OSError as fault:
        raise Refused(
            f"export: {path}: {fault.strerror or fault}. Give the path of a folder you may write to"
        ) from fault
    return {
        "path": str(path),
        "sha256": digest,
        "lines": lines,
        "asked": len(wanted) if ids is None else len(ids),
        "affected": 0,
    }


def _lines(
    asking: Asking, queue: str, state: str, wanted: Sequence[str], members: Mapping[str, float]
) -> Iterator[bytes]:
    for start in range(0, len(wanted), _PAGE):
        page = wanted[start : start + _PAGE]
        hashes = asking.ask([["HGETALL", queue_key(queue, f"t:{job}")] for job in page], whole=True)
        for job, flat in zip(page, hashes, strict=True):
            fields = {
                name.decode("utf-8", "replace"): base64.b64encode(value).decode("ascii")
                for name, value in zip((flat or [])[::2], (flat or [])[1::2], strict=True)
            }
            if fields:
                row = {"id": job, "queue": queue, "state": state, "score": members[job], "hash": fields}
                yield json.dumps(row, ensure_ascii=False).encode() + b"\n"


def _write(path: Path, lines: Iterator[bytes]) -> tuple[int, str]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished, count, digest = path.with_suffix(".part"), 0, hashlib.sha256()
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            for line in lines:
                file.write(line)
                digest.update(line)
                count += 1
            file.flush()
            os.fsync(file.fileno())
        os.link(unfinished, path)  # unlike a rename, never over a file that is already there
    finally:
        os.unlink(unfinished)
    _sync_folder(path.parent)
    return count, digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
