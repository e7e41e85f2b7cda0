"""Who is connected to a Redis: its CLIENT LIST grouped, so that ten thousand connections are a few lines.

It must never name a client by anything but its id when it is to be ended: addresses and names are used again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import TargetError
from ..executor import Json
from .replies import json_of
from .session import RedisSession
from .wire import ServerError

_ELEMENTS = 1000
_BYTES = 64 << 20  # ten thousand clients are about 4 MB
_MOST_GROUPS = 50
_MOST_IDS = 1000


def connected_clients(session: RedisSession, idle: float, ends_at: float) -> Json:
    """Groups by address, name, user and kind, the largest first; `idle` are seconds without a command."""
    command = ["CLIENT", "LIST"]
    answer = session.ask([command], ends_at, elements=_ELEMENTS, size=_BYTES)
    reply = answer.replies[0]
    if isinstance(reply, ServerError):
        raise TargetError(reply.word, reply.message, "no")
    listed = json_of(command, reply)
    rows: list[Mapping[str, Any]] = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    groups: defaultdict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[_group_of(row)].append(row)
    summed = [_summed(key, members, idle, len(rows)) for key, members in groups.items()]
    summed.sort(key=lambda group: (-group["n"], group["addr"], group["name"]))
    largest = max(rows, key=_buffers, default=None)
    return {
        "connected": len(rows),
        "idle": sum(group["idle"] for group in summed),
        "buffers": sum(_buffers(row) for row in rows),
        "groups": summed[:_MOST_GROUPS],
        "largest": _client(largest) if largest else None,
    }


def _group_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    library = str(row.get("lib-name") or "")
    return (
        _host(str(row.get("addr") or "")),
        str(row.get("name") or ""),
        str(row.get("user") or ""),
        library,
        _kind(row),
    )


def _host(address: str) -> str:
    """The port is another one for every connection."""
    return address.rpartition(":")[0] or address


def _kind(row: Mapping[str, Any]) -> str:
    flags = str(row.get("flags") or "")
    named = {"S": "replica", "M": "master", "P": "pubsub"}
    return next((kind for flag, kind in named.items() if flag in flags), "normal")


def _summed(key: tuple[str, ...], members: Sequence[Mapping[str, Any]], idle: float, everybody: int) -> dict[str, Any]:
    address, name, user, library, kind = key
    still = sorted((row for row in members if _number(row, "idle") >= idle), key=lambda row: -_number(row, "idle"))
    commands = Counter(str(row.get("cmd") or "") for row in members)
    return {
        "addr": address,
        "name": name,
        "user": user,
        "library": library,
        "kind": kind,
        "n": len(members),
        "share": round(len(members) / everybody, 4),
        "idle": len(still),
        "idle_max": max(_number(row, "idle") for row in members),
        "age_min": min(_number(row, "age") for row in members),
        "buffers": sum(_buffers(row) for row in members),
        "last": commands.most_common(1)[0][0],
        "idle_ids": [_number(row, "id") for row in still[:_MOST_IDS]],
    }


def _client(row: Mapping[str, Any]) -> dict[str, Json]:
    names = ("id", "addr", "name", "user", "age", "idle", "cmd")
    return {**{name: row.get(name) for name in names}, "kind": _kind(row), "buffers": _buffers(row)}


def _buffers(row: Mapping[str, Any]) -> int:
    """What waits to be read by it and what it has sent and nobody has read."""
    return _number(row, "omem") + _number(row, "qbuf")


def _number(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    return value if isinstance(value, int) else 0
