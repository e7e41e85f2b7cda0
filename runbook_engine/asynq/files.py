"""The files that jobs are copied into before they are deleted, and read from when they are brought back.

A file is never left half under its final name, never readable by others, and never one that somebody else may change:
payloads are the users' data, and what stands in it is written into queues again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import Refused
from ..executor import Json

LONGEST_LINE = 128 << 20  # one job; asynq itself keeps payloads of up to 512 MiB
MOST_PARTS = 100
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def folder_for(given: str | None) -> Path:
    """Where exports are kept: the folder named, else `exports` in the user's state folder. Creates nothing."""
    if given is not None:
        return Path(given).expanduser().absolute()
    if os.environ.get("RUNBOOK_STATE"):
        return Path(os.environ["RUNBOOK_STATE"]).expanduser().absolute() / "exports"
    home = os.environ.get("XDG_STATE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path("~/.local/state").expanduser()
    return base / "runbook" / "exports"


def export_file(given: str | None, queue: str, state: str, name: str) -> Path:
    """The first file of an export. Later parts of the same name end in `.2.ndjson`, `.3.ndjson`, and so on."""
    if not _NAME.fullmatch(name):
        raise Refused(f"export: {name!r} cannot name a file; expected up to 100 letters, digits, and . _ -")
    return folder_for(given) / f"{re.sub(r'[^A-Za-z0-9_.-]', '_', f'asynq-{queue}-{state}')}-{name}.ndjson"


def parts_of(first: Path) -> Iterator[Path]:
    """The names that the parts of one export may have, in their order."""
    yield first
    for number in range(2, MOST_PARTS + 1):
        yield first.with_name(f"{first.stem}.{number}.ndjson")


def write_file(path: Path, lines: Iterable[bytes]) -> tuple[int, str]:
    """A new file for its owner alone, complete and on the disk when this returns. How many lines, and its digest."""
    try:
        make_private(path.parent)
        return _write(path, lines)
    except OSError as fault:
        raise Refused(
            f"export: {path}: {fault.strerror or fault}. Give the path of a folder you may write to"
        ) from fault


def read_file(path: Path) -> Iterator[Json]:
    """The rows of a file that only its owner can have written."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as fault:
        raise Refused(
            f"import: {path}: {fault.strerror or fault}. Without the export nothing can be put back"
        ) from fault
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (os.geteuid(), 0) or found.st_mode & 0o022:
            raise Refused(f"import: {path}: is not a plain file that only this user can have written")
        number = 0
        while line := file.readline(LONGEST_LINE):
            number += 1
            try:
                yield json.loads(line)
            except (ValueError, RecursionError) as fault:
                raise Refused(
                    f"import: {path}:{number}: is not a line of JSON ({fault}). Nothing was put back"
                ) from fault


def append_row(path: Path, row: Json) -> None:
    """One more line to a file that is complete, on the disk when this returns."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
    with os.fdopen(handle, "wb") as file:
        file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.stat()
    sticky = found.st_mode & stat.S_ISVTX  # /tmp: others may write, but not touch what is ours
    if found.st_mode & 0o022 and not sticky:
        raise Refused(f"export: {folder}: others may write there. `chmod 700` it, or give another path")


def _write(path: Path, lines: Iterable[bytes]) -> tuple[int, str]:
    unfinished, count, digest = path.with_suffix(".part"), 0, hashlib.sha256()
    unfinished.unlink(missing_ok=True)  # of a run that was killed before anything was deleted
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
