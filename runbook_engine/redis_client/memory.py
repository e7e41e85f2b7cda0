"""Which kinds of key hold the memory of a Redis, and what asynq's queues hold of it, from a bounded sample.

It must never stop the server or write: SCAN walks, MEMORY USAGE weighs, and both end by their deadline with what they
have. Numbers of keys are counted, sizes are estimated.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..executor import Json
from .key_classes import class_of, families, prefix_of, task_of
from .scanning import pages
from .session import RedisSession
from .wire import Command

_MOST_CLASSES = 5000
_SHOWN_CLASSES = 50
_MOST_QUEUES = 100
_ALWAYS = 20  # keys of every class that are weighed whatever the stride: few of a kind may be very unlike
_LISTS = ("pending", "active")
_SORTED = ("scheduled", "retry", "archived", "completed")
STATES = (*_LISTS, *_SORTED)


@dataclass(slots=True)
class _KeyClass:
    """What is known of the keys of one form."""

    keys: int = 0
    measured: int = 0
    bytes: int = 0
    without_ttl: int = 0

    @property
    def average(self) -> float:
        return self.bytes / self.measured if self.measured else 0.0

    def add(self, other: _KeyClass) -> None:
        self.keys += other.keys
        self.measured += other.measured
        self.bytes += other.bytes
        self.without_ttl += other.without_ttl


@dataclass(slots=True)
class _Look:
    """What the walk has found so far; `tasks` are the weighed task hashes by queue and the state they name."""

    session: RedisSession
    ends_at: float
    stride: int
    classes: dict[str, _KeyClass] = field(default_factory=dict)
    tasks: dict[tuple[str, str], _KeyClass] = field(default_factory=dict)
    aside: list[bytes] = field(default_factory=list)  # lists of jobs that somebody set aside: they hold them still
    seen: int = 0
    complete: bool = False


def attribute_memory(session: RedisSession, sample: int, scan_until: float, ends_at: float) -> Json:
    """Walk the keys until `scan_until` and weigh about `sample` of them, some of each form of key at least."""
    size, info = session.ask([["DBSIZE"], ["INFO", "memory"]], ends_at).replies
    keys_there = size if isinstance(size, int) else 0
    look = _Look(session, ends_at, max(1, keys_there // sample))
    for keys, last in pages(session, None, ends_at):
        _measure(look, keys)
        look.seen, look.complete = look.seen + len(keys), last
        if time.monotonic() >= scan_until:
            break
    _merge_families(look.classes)
    # A walk that was cut short has seen a part of the keys that is as good as any.
    factor = 1.0 if look.complete or not look.seen else max(1.0, keys_there / look.seen)
    return _attribution(look, factor, info)


def _measure(look: _Look, keys: Sequence[bytes]) -> None:
    chosen: list[tuple[_KeyClass, bytes]] = []
    look.aside += [key for key in keys if b"}:rbq:" in key]
    for index, key in enumerate(keys, start=look.seen):
        name = class_of(key.decode("utf-8", "replace"))
        if name not in look.classes and len(look.classes) >= _MOST_CLASSES:
            name = "(other)"
        found = look.classes.setdefault(name, _KeyClass())
        found.keys += 1
        if found.keys <= _ALWAYS or index % look.stride == 0:
            chosen.append((found, key))
    for start in range(0, len(chosen), 500):
        _weigh(look, chosen[start : start + 500])


def _weigh(look: _Look, chosen: Sequence[tuple[_KeyClass, bytes]]) -> None:
    commands: list[Command] = []
    for _, key in chosen:
        state: Command = ["HGET", key, "state"] if b"}:t:" in key else ["EXISTS", key]
        commands += [["MEMORY", "USAGE", key, "SAMPLES", 5], ["PTTL", key], state]
    replies = look.session.ask(commands, look.ends_at).replies
    for (found, key), size, ttl, state in zip(chosen, replies[::3], replies[1::3], replies[2::3], strict=True):
        if not isinstance(size, int):
            continue  # the key is gone meanwhile
        weighed = [found]
        if task := task_of(key.decode("utf-8", "replace")):
            word = state.decode("utf-8", "replace") if isinstance(state, bytes) else ""
            weighed.append(look.tasks.setdefault((task[0], word), _KeyClass()))
        for each in weighed:
            each.measured += 1
            each.bytes += size
            each.without_ttl += ttl == -1


def _merge_families(classes: dict[str, _KeyClass]) -> None:
    for name, family in families([(name, found.keys) for name, found in classes.items()]).items():
        classes.setdefault(family, _KeyClass()).add(classes.pop(name))


def _attribution(look: _Look, factor: float, info: object) -> dict[str, Json]:
    sizes = {name: round(found.average * found.keys * factor) for name, found in look.classes.items()}
    total = sum(sizes.values())
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "prefix": prefix_of(name),
            "n": round(found.keys * factor),
            "bytes": sizes[name],
            "share": _share(sizes[name], total),
            "no_ttl_share": _share(found.without_ttl, found.measured),
        }
        for name, found in look.classes.items()
    ]
    rows.sort(key=lambda row: (-row["bytes"], row["name"]))
    used = re.search(rb"used_memory:(\d+)", info) if isinstance(info, bytes) else None
    queues = _queues(look, factor, sizes, total)
    return {
        "classes": rows[:_SHOWN_CLASSES],
        "keys": look.seen,
        "complete": look.complete,
        "measured": sum(found.measured for found in look.classes.values()),
        "bytes": total,
        "used_memory": int(used[1]) if used else None,
        "queue_share": _share(sum(size for name, size in sizes.items() if name.startswith("asynq:")), total),
        "queues": queues,
        "states": _all_states(queues, total),
        **_all_orphans(queues, total),
        "orphan_hashes": {queue["name"]: queue["orphans"] for queue in queues} if look.complete else None,
    }


def _queues(look: _Look, factor: float, sizes: Mapping[str, int], total: int) -> list[dict[str, Any]]:
    """Each queue: what the jobs in each state take with the list or set that holds them, and hashes nobody holds."""
    names = [task[0] for name in look.classes if (task := task_of(name))]
    held = _held(look, names[:_MOST_QUEUES])
    return [_queue(look, name, counts, factor, sizes, total) for name, counts in held.items()]


def _queue(
    look: _Look, name: str, counts: Mapping[str, int], factor: float, sizes: Mapping[str, int], total: int
) -> dict[str, Any]:
    prefix = f"asynq:{{{name}}}:"
    hashes = look.classes[f"{prefix}t:*"]
    states: dict[str, dict[str, Any]] = {}
    for state in STATES:
        weighed = look.tasks.get((name, state))
        average = weighed.average if weighed else hashes.average
        size = round(average * counts[state]) + (sizes.get(prefix + state, 0) if counts[state] else 0)
        states[state] = {"n": counts[state], "bytes": size, "share": _share(size, total)}
    mine = sum(size for key, size in sizes.items() if key.startswith(prefix))
    orphans = max(0, hashes.keys - sum(counts.values())) if look.complete else None
    lost = round(orphans * _orphan_average(look, name, hashes, counts)) if orphans is not None else None
    return {
        "name": name,
        "hashes": round(hashes.keys * factor),
        "bytes": mine,
        "share": _share(mine, total),
        "states": states,
        "orphans": orphans,
        "orphan_bytes": lost,
        "orphan_share": _share(lost, total) if lost is not None else None,
    }


def _orphan_average(look: _Look, queue: str, hashes: _KeyClass, counts: Mapping[str, int]) -> float:
    """The size of the hashes whose state names more jobs than its list or set holds: those are the orphans."""
    weight = size = 0.0
    for (name, state), weighed in look.tasks.items():
        if name == queue:
            excess = weighed.measured / hashes.measured * hashes.keys - counts.get(state, 0)
            weight, size = weight + max(0.0, excess), size + max(0.0, excess) * weighed.average
    return size / weight if weight else hashes.average


def _held(look: _Look, queues: Sequence[str]) -> dict[str, Counter[str]]:
    """How many jobs each list and set of each queue holds; `other` are those that wait for a group or are set aside."""
    held: dict[str, Counter[str]] = {}
    for queue in queues:
        prefix = f"asynq:{{{queue}}}:"
        commands: list[Command] = [["LLEN", prefix + state] for state in _LISTS]
        commands += [["ZCARD", prefix + state] for state in _SORTED]
        commands.append(["SMEMBERS", f"{prefix}groups"])
        replies = look.session.ask(commands, look.ends_at).replies
        counts = [count if isinstance(count, int) else 0 for count in replies[:-1]]
        groups = replies[-1][:1000] if isinstance(replies[-1], list) else []
        others: list[Command] = [["ZCARD", prefix.encode() + b"g:" + group] for group in groups]
        others += [["LLEN", name] for name in look.aside[:1000] if name.startswith(prefix.encode())]
        sizes = look.session.ask(others, look.ends_at).replies
        grouped = sum(count for count in sizes if isinstance(count, int))
        held[queue] = Counter(dict(zip(STATES, counts, strict=True)) | {"other": grouped})
    return held


def _all_states(queues: Sequence[Mapping[str, Any]], total: int) -> dict[str, Json]:
    summed = {state: [queue["states"][state] for queue in queues] for state in STATES}
    return {
        state: {
            "n": sum(row["n"] for row in rows),
            "bytes": (size := sum(row["bytes"] for row in rows)),
            "share": _share(size, total),
        }
        for state, rows in summed.items()
    }


def _all_orphans(queues: Sequence[Mapping[str, Any]], total: int) -> dict[str, Json]:
    """Unknown unless every key was seen."""
    if any(queue["orphans"] is None for queue in queues):
        return {"orphans": None, "orphan_share": None}
    size = sum(queue["orphan_bytes"] for queue in queues)
    return {"orphans": sum(queue["orphans"] for queue in queues), "orphan_share": _share(size, total)}


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None
