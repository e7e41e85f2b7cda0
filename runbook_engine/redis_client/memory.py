"""Which kinds of key hold the memory of a Redis, and the removal of one kind: both walk with SCAN, a little at a time.

It must never stop the server: every request is small, and both end by their deadline with what they have.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import Refused, TargetError
from ..executor import Json
from .session import RedisSession
from .wire import Command, ServerError

_PAGE = 1000
_MOST_CLASSES = 1000
_SHOWN_CLASSES = 50
_PAUSE = 0.005  # between batches of UNLINK, so that others get their turn
_TASK_CLASS = re.compile(r"asynq:\{(.*)\}:t:\*")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
_DIGITS = re.compile(r"\d+")
_LISTS = ("pending", "active")
_SORTED = ("scheduled", "retry", "archived", "completed")


@dataclass(slots=True)
class _KeyClass:
    """What is known of the keys of one form."""

    keys: int = 0
    measured: int = 0
    bytes: int = 0
    without_ttl: int = 0


def class_of(key: str) -> str:
    """The form of a key: `session:cache:1234` → `session:cache:#`; the task hashes of each queue are one class."""
    if task := re.match(r"asynq:\{[^}]*\}:t:", key):
        return task[0] + "*"
    return _DIGITS.sub("#", _HEX.sub("<hex>", _UUID.sub("<uuid>", key)))[:200]


def attribute_memory(session: RedisSession, sample: int, scan_until: float, ends_at: float) -> Json:
    """Walk the keys until `scan_until` and measure about `sample` of them, each form of key at least once."""
    size, info = session.ask([["DBSIZE"], ["INFO", "memory"]], ends_at).replies
    stride = max(1, (size if isinstance(size, int) else 0) // sample)
    classes: dict[str, _KeyClass] = {}
    seen, complete = 0, False
    for keys, last in _pages(session, None, ends_at):
        _measure(session, classes, keys, seen, stride, ends_at)
        seen, complete = seen + len(keys), last
        if time.monotonic() >= scan_until:
            break
    return _attribution(classes, seen, complete, info) | {
        "orphan_hashes": _orphans(session, classes, complete, ends_at)
    }


def unlink_prefix(session: RedisSession, prefix: str, batch: int, limit: int | None, ends_at: float) -> dict[str, Json]:
    """UNLINK every key that begins with `prefix`. Counts first when there is a limit, and stops before passing it."""
    if "asynq:".startswith(prefix) or prefix.startswith("asynq:"):
        raise Refused(f"unlink: the prefix {prefix!r} covers asynq's queues. Use the operations under asynq:")
    if limit is not None:
        found = sum(len(keys) for keys, _ in _pages(session, prefix, ends_at))
        if found > limit:
            raise Refused(f"unlink: {found} keys begin with {prefix!r}; limit.affected is {limit}. Nothing was removed")
    affected = 0
    for keys, _ in _pages(session, prefix, ends_at):
        for start in range(0, len(keys), batch):
            room = batch if limit is None else min(batch, limit - affected)
            if room <= 0:
                return {"affected": affected, "complete": False}
            affected += _unlinked(session, keys[start : start + room], affected, ends_at)
            time.sleep(_PAUSE)
    return {"affected": affected, "complete": True}


def _unlinked(session: RedisSession, keys: Sequence[bytes], before: int, ends_at: float) -> int:
    try:
        reply = session.write([["UNLINK", *keys]], ends_at).replies[0]
    except TargetError as fault:
        happened = fault.happened if before == 0 else "unknown"
        raise TargetError(fault.code, f"{fault.message} (after {before} keys were removed)", happened) from fault
    return reply if isinstance(reply, int) else 0


def _pages(session: RedisSession, prefix: str | None, ends_at: float) -> Iterator[tuple[list[bytes], bool]]:
    pattern = [] if prefix is None else ["MATCH", re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"]
    cursor: bytes | int = 0
    while True:
        command: Command = ["SCAN", cursor, *pattern, "COUNT", _PAGE]
        # One page can be longer than COUNT: a whole bucket or a small, packed collection comes at once.
        reply = session.ask([command], ends_at, elements=100_000, size=64 << 20).replies[0]
        if isinstance(reply, ServerError):
            raise TargetError(reply.word, reply.message, "no")
        cursor = reply[0]
        yield reply[1], cursor == b"0"
        if cursor == b"0":
            return


def _measure(
    session: RedisSession, classes: dict[str, _KeyClass], keys: list[bytes], seen: int, stride: int, ends_at: float
) -> None:
    chosen: list[tuple[_KeyClass, bytes]] = []
    for index, key in enumerate(keys, start=seen):
        name = class_of(key.decode("utf-8", "replace"))
        if name not in classes and len(classes) >= _MOST_CLASSES:
            name = "(other)"
        found = classes.setdefault(name, _KeyClass())
        found.keys += 1
        if found.keys == 1 or index % stride == 0:
            chosen.append((found, key))
    for start in range(0, len(chosen), 500):
        _weigh(session, chosen[start : start + 500], ends_at)


def _weigh(session: RedisSession, chosen: Sequence[tuple[_KeyClass, bytes]], ends_at: float) -> None:
    commands: list[Command] = []
    for _, key in chosen:
        commands += [["MEMORY", "USAGE", key, "SAMPLES", 5], ["PTTL", key]]
    replies = session.ask(commands, ends_at).replies
    for (found, _), size, ttl in zip(chosen, replies[::2], replies[1::2], strict=True):
        if isinstance(size, int):  # nil when the key is gone meanwhile
            found.measured += 1
            found.bytes += size
            found.without_ttl += ttl == -1


def _attribution(classes: dict[str, _KeyClass], seen: int, complete: bool, info: object) -> dict[str, Json]:
    estimates = {name: _estimate(found) for name, found in classes.items()}
    total = sum(estimates.values())
    rows = [
        {
            "name": name,
            "n": found.keys,
            "bytes": estimates[name],
            "share": _share(estimates[name], total),
            "no_ttl_share": _share(found.without_ttl, found.measured),
        }
        for name, found in classes.items()
    ]
    rows.sort(key=lambda row: (-int(str(row["bytes"])), str(row["name"])))
    used = re.search(rb"used_memory:(\d+)", info) if isinstance(info, bytes) else None
    return {
        "classes": rows[:_SHOWN_CLASSES],
        "keys": seen,
        "complete": complete,
        "measured": sum(found.measured for found in classes.values()),
        "bytes": total,
        "used_memory": int(used[1]) if used else None,
        "queue_share": _share(sum(size for name, size in estimates.items() if name.startswith("asynq:")), total),
    }


def _estimate(found: _KeyClass) -> int:
    return round(found.bytes / found.measured * found.keys) if found.measured else 0


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _orphans(session: RedisSession, classes: dict[str, _KeyClass], complete: bool, ends_at: float) -> Json:
    """Task hashes of each queue that no list or set of it holds; unknown unless every key was seen."""
    if not complete:
        return None
    queues = {task[1]: found.keys for name, found in classes.items() if (task := _TASK_CLASS.fullmatch(name))}
    found: dict[str, Any] = {}
    for queue, hashes in list(queues.items())[:100]:
        held = session.ask(
            [["LLEN", f"asynq:{{{queue}}}:{state}"] for state in _LISTS]
            + [["ZCARD", f"asynq:{{{queue}}}:{state}"] for state in _SORTED]
            + [["SMEMBERS", f"asynq:{{{queue}}}:groups"]],
            ends_at,
        ).replies
        groups = [group.decode("utf-8", "replace") for group in held[-1]] if isinstance(held[-1], list) else []
        grouped = session.ask([["ZCARD", f"asynq:{{{queue}}}:g:{group}"] for group in groups[:1000]], ends_at).replies
        counts = Counter({"held": sum(count for count in [*held[:-1], *grouped] if isinstance(count, int))})
        found[queue] = max(0, hashes - counts["held"])
    return found
