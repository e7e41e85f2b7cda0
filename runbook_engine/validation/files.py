"""Finds and reads the files that are to be judged. It never waits for a pipe and never walks in a circle."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..catalog import LARGEST, SUFFIXES
from ..errors import Complaint, UsageError

STDIN = "<stdin>"
PLAYBOOK = "the playbook"  # among the libraries of a file with tests: no library can be called that


@dataclass(frozen=True, slots=True)
class Source:
    """One file and what it holds, or the complaint that says why that cannot be known."""

    path: str
    content: bytes = b""
    complaint: Complaint | None = None


def sources(names: Sequence[str], stdin: BinaryIO) -> Iterator[Source]:
    """Files by name, all playbooks, libraries, tests and settings of folders, `-` for standard input; each once."""
    seen: set[str] = set()
    for name in names:
        for source in _of_name(name, stdin):
            if source.path not in seen:
                seen.add(source.path)
                yield source


def _of_name(name: str, stdin: BinaryIO) -> Iterator[Source]:
    if name == "-":
        content = stdin.read(LARGEST + 1)
        yield Source(STDIN, content) if len(content) <= LARGEST else _refused(STDIN, _too_long("more"), "RB002")
    elif os.path.isdir(name):
        yield from _of_folder(name)
    elif os.path.lexists(name):
        yield _read(name)
    else:
        raise UsageError(f"{name} is neither a file nor a folder")


def _of_folder(folder: str) -> Iterator[Source]:
    """Links are followed, each real folder is walked once; what begins with a dot is no place for playbooks."""
    walked: set[tuple[int, int]] = set()
    troubles: list[OSError] = []
    found: list[str] = []
    for here, folders, files in os.walk(folder, onerror=troubles.append, followlinks=True):
        status = os.stat(here)
        if (status.st_dev, status.st_ino) in walked:
            folders.clear()
            continue
        walked.add((status.st_dev, status.st_ino))
        folders[:] = sorted(each for each in folders if not each.startswith("."))
        found += [str(Path(here, each)) for each in files if Path(each).suffix in SUFFIXES]
    for trouble in troubles:
        yield _refused(str(trouble.filename), f"cannot be read: {trouble.strerror or trouble}", "RB012")
    if not found and not troubles:  # nothing was checked: that is no success
        raise UsageError(f"{folder} holds no {' or '.join(f'*{each}' for each in SUFFIXES)}")
    for path in sorted(found):
        yield _read(path)


def _read(path: str) -> Source:
    try:
        # Without O_NONBLOCK a pipe that took the place of a file would be waited for.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return _refused(path, f"is {_kind(status.st_mode)} and no file", "RB012")
            content = file.read(LARGEST + 1)
    except OSError as error:
        return _refused(path, f"cannot be read: {error.strerror or error}", "RB012")
    if len(content) > LARGEST:
        return _refused(path, _too_long(str(max(status.st_size, len(content)))), "RB002")
    return Source(path, content)


def _too_long(size: str) -> str:
    return f"the file has {size} bytes, more than {LARGEST}. split it"


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a folder" if stat.S_ISDIR(mode) else "a device"


def _refused(path: str, message: str, code: str) -> Source:
    return Source(path, complaint=Complaint(path, 1, 1, message, code))
