"""How full asynq's queues are and who works on them, in three requests of at most 25 commands for each queue.

It must never take an absent queue for an empty one: its counts are null.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..executor import Json
from ..redis_client.wire import Command, Reply
from .reading import (
    MOST_SERVERS,
    Asking,
    Server,
    checked_queue,
    live_names,
    number,
    queue_key,
    servers_from,
    texts,
    time_of,
)

_MOST_QUEUES = 100
_SCAN = 10_000  # keys looked at for queues that nobody registered
_OLDEST = 5  # a job put back by hand has no pending_since, so a few of the oldest are asked
_SUMMED = (
    "pending",
    "active",
    "scheduled",
    "retry",
    "archived",
    "completed",
    "lease",
    "lease_expired",
    "scheduled_due",
    "retry_due",
    "completed_expired",
    "processed",
    "failed",
    "processed_today",
    "failed_today",
    "processed_before",
    "enqueued",
)


def inspect(asking: Asking, queue: str | None) -> dict[str, Json]:
    """Every queue, or the one named, and the servers that are alive; sums over these queues stand beside them."""
    moment, server_names, registered, found = _discover(asking, None if queue is None else checked_queue(queue))
    names = sorted(registered | found) if queue is None else [queue]
    shown = names[:_MOST_QUEUES]
    tables, servers = _look(asking, shown, server_names, moment)
    queues = [_finish(table, name in registered, servers) for name, table in zip(shown, tables, strict=True)]
    serving = [server for server in servers if queue is None or _serves(server, queue)]
    return {
        **_totals(queues),
        "queues": queues,
        "servers": [_server_json(server) for server in servers],
        **_crew(serving),
        "truncated": len(names) > len(shown),
        "at": moment,
    }


def _discover(asking: Asking, queue: str | None) -> tuple[float, list[str], set[str], set[str]]:
    commands: list[Command] = [
        ["TIME"],
        ["ZREVRANGE", "asynq:servers", 0, MOST_SERVERS - 1, "WITHSCORES"],
        ["SMEMBERS", "asynq:queues"],
    ]
    if queue is None:
        commands.append(["SCAN", 0, "MATCH", "asynq:{*}:pending", "COUNT", _SCAN])
    replies = asking.ask(commands)
    moment = time_of(replies[0])
    pending_keys = texts(replies[3][1]) if queue is None else []
    found = {key.removeprefix("asynq:{").removesuffix("}:pending") for key in pending_keys}
    return moment, live_names(replies[1], moment), set(texts(replies[2])), found


def _look(
    asking: Asking, names: Sequence[str], server_names: Sequence[str], moment: float
) -> tuple[list[dict[str, Json]], list[Server]]:
    questions = [_questions(name, moment) for name in names]
    commands = [command for question in questions for _, command, _ in question]
    replies = asking.ask([*commands, *(["GET", name] for name in server_names)])
    servers = servers_from(server_names, replies[len(commands) :])
    tables, at = [], 0
    for question in questions:
        answered = replies[at : at + len(question)]
        tables.append({key: read(reply) for (key, _, read), reply in zip(question, answered, strict=True)})
        at += len(question)
    _add_oldest(asking, names, tables, moment)
    return tables, servers


def _questions(queue: str, moment: float) -> list[tuple[str, Command, Callable[[Reply], Json]]]:
    today = time.strftime("%Y-%m-%d", time.gmtime(moment))
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(moment - 86400))
    whole = int(moment)

    def key(part: str) -> str:
        return queue_key(queue, part)

    return [
        ("pending", ["LLEN", key("pending")], number),
        ("active", ["LLEN", key("active")], number),
        *((state, ["ZCARD", key(state)], number) for state in ("scheduled", "retry", "archived", "completed", "lease")),
        ("lease_expired", ["ZCOUNT", key("lease"), "-inf", f"({whole}"], number),
        ("scheduled_due", ["ZCOUNT", key("scheduled"), "-inf", whole], number),
        ("retry_due", ["ZCOUNT", key("retry"), "-inf", whole], number),
        ("completed_expired", ["ZCOUNT", key("completed"), "-inf", whole], number),
        ("paused", ["EXISTS", key("paused")], bool),
        ("paused_since", ["GET", key("paused")], number),
        ("processed", ["GET", key("processed")], number),
        ("failed", ["GET", key("failed")], number),
        ("processed_today", ["GET", key(f"processed:{today}")], number),
        ("processed_before", ["GET", key(f"processed:{yesterday}")], number),
        ("failed_today", ["GET", key(f"failed:{today}")], number),
        ("name", ["LRANGE", key("pending"), -_OLDEST, -1], texts),  # replaced by the name once the ids are used
    ]


def _add_oldest(asking: Asking, names: Sequence[str], tables: list[dict[str, Json]], moment: float) -> None:
    """How long the oldest pending job has waited: 0 without one, unknown where none of the oldest says since when."""
    tails = [table["name"] for table in tables]
    pairs = [(name, job) for name, tail in zip(names, tails, strict=True) for job in tail]
    replies = iter(asking.ask([["HGET", queue_key(name, f"t:{job}"), "pending_since"] for name, job in pairs]))
    for name, tail, table in zip(names, tails, tables, strict=True):
        since = [nanos for nanos in (number(next(replies)) for _ in tail) if nanos is not None]
        age = max(0.0, round(moment - min(since) / 1e9, 3)) if since else None
        table |= {"name": name, "oldest_pending": age if tail else 0}


def _finish(table: dict[str, Json], registered: bool, servers: Sequence[Server]) -> dict[str, Json]:
    name = str(table.pop("name"))
    serving = [server for server in servers if _serves(server, name)]
    sizes = [table[key] for key in ("pending", "active", "scheduled", "retry", "archived", "completed", "lease")]
    traces = table["paused"] or table["processed"] is not None or any(size != 0 for size in sizes)
    exists = bool(registered or traces)
    if exists:
        _count_absent_counters_as_zero(table)
    else:
        table = dict.fromkeys([*table, "enqueued"])
    return {"name": name, "exists": exists, "registered": registered, **table, **_crew(serving)}


def _count_absent_counters_as_zero(table: dict[str, Json]) -> None:
    for key in ("processed", "failed", "processed_today", "failed_today"):
        table[key] = table[key] or 0
    # A job that ended well is in processed and not in failed; every other one is still in a list or set.
    entered = [table[key] for key in ("pending", "active", "scheduled", "retry", "archived")]
    known = all(part is not None for part in entered)
    table["enqueued"] = sum(entered) + table["processed"] - table["failed"] if known else None


def _serves(server: Server, queue: str) -> bool:
    return queue in server.info.queues


def _crew(serving: Sequence[Server]) -> dict[str, Json]:
    taking = [server for server in serving if server.takes_jobs]
    capacity = sum(server.info.concurrency for server in taking)
    busy = sum(server.info.active_worker_count for server in serving)
    return {
        "consumers": len(taking),
        "capacity": capacity,
        "busy": busy,
        "util": round(busy / capacity, 4) if capacity else 0,
    }


def _totals(queues: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    if len(queues) == 1:
        return {key: value for key, value in queues[0].items() if key != "name"}
    known = [queue for queue in queues if queue["exists"]]
    sums = {key: _sum([queue[key] for queue in known]) for key in _SUMMED}
    since = [queue["paused_since"] for queue in known if queue["paused_since"] is not None]
    ages = [queue["oldest_pending"] for queue in known if queue["oldest_pending"] is not None]
    return {
        **sums,
        "exists": bool(known),
        "registered": all(queue["registered"] for queue in known),
        "paused": any(queue["paused"] for queue in known) if known else None,
        "paused_since": min(since) if since else None,
        "oldest_pending": max(ages) if ages else None,
    }


def _sum(values: Sequence[Any]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _server_json(server: Server) -> dict[str, Json]:
    info = server.info
    return {
        "id": server.id,
        "host": info.host,
        "pid": info.pid,
        "concurrency": info.concurrency,
        "queues": dict(info.queues),
        "strict": info.strict_priority,
        "status": info.status,
        "started_at": info.start,
        "active": info.active_worker_count,
    }
