"""The end of a log file: so much of it as a window needs, never more than a limit.

It must never wait for a file that is none (a pipe, a device), nor change what it reads.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from ..errors import TargetError
from .lines import read_line

BLOCK = 1 << 20
SLACK = 60.0
"""Seconds: lines of several processes do not stand quite in order."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Whole lines, oldest first. `truncated`: older ones of the window were left unread."""

    data: bytes
    truncated: bool


def tail(path: str, since: float, limit: int) -> Tail:
    """What the file says since then, unix time, read backwards until it is older."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise TargetError("not_a_file", f"log_file {path} is not a regular file, so it was not read", "no")
        return _backwards(descriptor, found.st_size, since, limit)
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _backwards(descriptor: int, size: int, since: float, limit: int) -> Tail:
    blocks: list[bytes] = []
    begun, least = size, max(0, size - limit)
    while begun > least:
        start = max(least, begun - BLOCK)
        blocks.insert(0, os.pread(descriptor, begun - start, start))
        begun = start
        if _is_older(blocks[0], since - SLACK):
            break
    data = b"".join(blocks)
    if begun == 0:
        return Tail(data, False)
    _, _, whole = data.partition(b"\n")
    return Tail(whole, begun == least)


def _is_older(block: bytes, than: float) -> bool:
    """By the first of its lines that has a time; the very first may be cut in half."""
    for line in block.split(b"\n", 100)[1:100]:
        at = read_line(line.decode("utf-8", "replace")).at
        if at is not None:
            return at < than
    return False


def _unreadable(path: str, error: OSError) -> TargetError:
    code = {2: "not_found", 13: "not_allowed"}.get(error.errno or 0, "unreadable")
    return TargetError(code, f"log_file {path}: {(error.strerror or str(error)).lower()}", "no")
