"""Task hashes that no list or set of their queue holds: asynq up to 0.24 leaves them when it trims its archive.

It must never remove one that it saw only once, nor one whose message may be the only copy of a job that never ran.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import Refused
from ..executor import Json
from ..redis_client.scanning import pages
from ..redis_client.wire import Command
from . import scripts
from .export import copy_jobs, free_part
from .files import export_file
from .operations import run_script
from .reading import Asking, checked_queue, queue_key, texts

_MOST_HASHES = 1_000_000
_PAGE = 10_000
_BATCH = 200
_SHOWN = 20
_WEIGHED = 200
_SETS = ("archived", "completed", "retry", "scheduled")
_NO_MESSAGE = "without a message"


@dataclass(frozen=True, slots=True)
class _Found:
    """Ids that nothing holds, each with the state its hash names."""

    states: dict[str, str]
    truncated: bool

    @property
    def purgeable(self) -> list[str]:
        return sorted(id_ for id_, state in self.states.items() if state in (*_SETS, _NO_MESSAGE))


def unreferenced(asking: Asking, queue: str) -> dict[str, Json]:
    """How many hashes nothing holds, by the state they name, and what those take that may be removed."""
    found = _look(asking, checked_queue(queue))
    purgeable = found.purgeable
    return {
        "count": len(purgeable),
        "total": len(found.states),
        "states": dict(Counter(found.states.values())),
        "ids": purgeable[:_SHOWN],
        "bytes": _weight(asking, queue, purgeable),
        "truncated": found.truncated,
    }


def purge_unreferenced(
    asking: Asking, queue: str, apart: float, export: tuple[str | None, str], most: int | None
) -> dict[str, Json]:
    """Look twice, `apart` seconds between; copy what both looks found into a file; remove each that is still unheld."""
    first = _look(asking, checked_queue(queue)).purgeable
    if asking.ends_at - time.monotonic() < apart:
        raise Refused(f"asynq: the two looks are {apart:g} s apart; give the action a longer timeout")
    time.sleep(apart)
    second = set(_look(asking, queue).purgeable)
    agreed = [id_ for id_ in first if id_ in second]
    if most is not None and len(agreed) > most:
        raise Refused(f"asynq: {len(agreed)} hashes are unheld; limit.affected is {most}. Nothing was removed")
    path = free_part(export_file(export[0], queue, "unreferenced", export[1]))
    lines, digest, copied = copy_jobs(asking, queue, "unreferenced", dict.fromkeys(agreed, 0.0), path)
    keys = [queue_key(queue, part) for part in (*_SETS, "lease", "pending", "active")]
    affected = 0
    for start in range(0, len(copied), _BATCH):
        arguments = [queue_key(queue, "t:"), *copied[start : start + _BATCH]]
        affected += run_script(asking, scripts.PURGE_UNREFERENCED, keys, arguments, before=affected)
    return {"affected": affected, "asked": len(agreed), "path": str(path), "sha256": digest, "lines": lines}


def _look(asking: Asking, queue: str) -> _Found:
    """The hashes first, then who holds them: a job that comes meanwhile is held, one that goes is asked for below."""
    prefix = queue_key(queue, "")
    hashes: set[str] = set()
    holders: list[bytes] = []
    truncated = False
    for keys, _ in pages(asking.session, prefix, asking.ends_at):
        tasks = {key.decode("utf-8", "replace").removeprefix(f"{prefix}t:") for key in keys if _is_task(key, prefix)}
        hashes |= tasks
        holders += [key for key in keys if not _is_task(key, prefix)]
        if len(hashes) > _MOST_HASHES:
            truncated = True
            break
    for members in _members(asking, holders):
        hashes.difference_update(members)
    return _Found(dict(_states(asking, queue, sorted(hashes))), truncated)


def _is_task(key: bytes, prefix: str) -> bool:
    return key.startswith(f"{prefix}t:".encode())


def _members(asking: Asking, holders: Sequence[bytes]) -> Iterator[Iterable[str]]:
    """The members of every list and set of the queue, a page at a time; also of what somebody has set aside."""
    types = asking.ask([["TYPE", key] for key in holders])
    for key, kind in zip(holders, types, strict=True):
        read = {b"list": ("LLEN", "LRANGE"), b"zset": ("ZCARD", "ZRANGE")}.get(kind)
        if read is None:
            continue
        size = asking.ask([[read[0], key]])[0] or 0
        for start in range(0, size + _PAGE, _PAGE):  # a page more than there were: it may grow meanwhile
            yield texts(asking.ask([[read[1], key, start, start + _PAGE - 1]])[0])


def _states(asking: Asking, queue: str, ids: Sequence[str]) -> Iterator[tuple[str, str]]:
    commands: list[Command] = []
    for id_ in ids:
        key = queue_key(queue, f"t:{id_}")
        commands += [["HGET", key, "state"], ["HEXISTS", key, "msg"], ["EXISTS", key]]
    replies = asking.ask(commands)
    for id_, state, message, there in zip(ids, replies[::3], replies[1::3], replies[2::3], strict=True):
        if there:
            yield id_, (state.decode("utf-8", "replace") if state else "unknown") if message else _NO_MESSAGE


def _weight(asking: Asking, queue: str, ids: Sequence[str]) -> int:
    sample = ids[:: max(1, len(ids) // _WEIGHED)][:_WEIGHED]
    sizes = asking.ask([["MEMORY", "USAGE", queue_key(queue, f"t:{id_}"), "SAMPLES", 5] for id_ in sample])
    known = [size for size in sizes if isinstance(size, int)]
    return round(sum(known) / len(known) * len(ids)) if known else 0
