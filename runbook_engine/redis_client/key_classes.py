"""Which keys are of one kind: what varies in a name (ids, numbers, digests) is left out of it. Pure.

It must never put two queues of asynq into one class: each is mended by itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

_TASK = re.compile(r"asynq:\{([^}]*)\}:t:(.*)", re.DOTALL)
_QUEUE = re.compile(r"(asynq:\{[^}]*\}:)(.*)", re.DOTALL)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_HEX = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
_DIGITS = re.compile(r"\d+")
_VARYING = re.compile(r"[#<*]")
_LONGEST = 200
_FEW = 3  # keys of one form that stand for themselves; with many siblings they are one kind
_MANY = 10


def class_of(key: str) -> str:
    """The form of a key: `session:cache:1234` → `session:cache:#`; the task hashes of each queue are one class."""
    if task := _TASK.fullmatch(key):
        return f"asynq:{{{task[1]}}}:t:*"
    queue = _QUEUE.fullmatch(key)
    fixed, varies = queue.groups() if queue else ("", key)
    return (fixed + _DIGITS.sub("#", _HEX.sub("<hex>", _UUID.sub("<uuid>", varies))))[:_LONGEST]


def task_of(key: str) -> tuple[str, str] | None:
    """Queue and id of a task hash."""
    found = _TASK.fullmatch(key)
    return (found[1], found[2]) if found else None


def prefix_of(name: str) -> str:
    """What all keys of a class begin with."""
    return _VARYING.split(name, maxsplit=1)[0]


def families(sizes: Iterable[tuple[str, int]]) -> dict[str, str]:
    """For names that nothing normalises, such as `profile:alice`: class → the class of them all, `profile:*`."""
    siblings: defaultdict[str, list[str]] = defaultdict(list)
    for name, keys in sizes:
        parent = name.rpartition(":")[0]
        if parent and keys <= _FEW and not name.startswith("asynq:"):
            siblings[f"{parent}:*"].append(name)
    return {name: family for family, names in siblings.items() if len(names) >= _MANY for name in names}
