"""Jobs whose worker died while it ran them: which, how often, how large. They tell a killer from its victims.

asynq notes such an attempt as `task lease expired`, and only once its lease has run out; until then the job is in the
active list and no living worker holds it. It must never load more than a bounded part of what payloads may hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..error_classes import classes_of
from ..executor import Json
from ..redis_client.wire import Command, Reply
from .makeup import counted, named_in
from .reading import (
    MOST_SERVERS,
    Asking,
    checked_queue,
    live_names,
    number,
    queue_key,
    task_message,
    texts,
    time_of,
    worker_infos,
)
from .wire import TaskMessage

_SAMPLE = 200
_SHOWN = 20
_ORDINARY = 1 << 20  # bytes of a message that is read with others
_AT_ONCE = 16 << 20
_LARGE = 4  # larger messages that are read, one by one
_LARGEST = 48 << 20
_FREE_AFTER = 20.0  # seconds a lease of 30 still has when its holder missed two heartbeats


@dataclass(frozen=True, slots=True)
class _Place:
    """A job of the sample: where it is, and whether a worker died with it of which its message says nothing yet."""

    state: str
    unheld: bool
    size: int


def deaths(asking: Asking, queue: str, since: float | None) -> dict[str, Json]:
    """Jobs that lost their worker, those with the most deaths first, then the largest; `since` keeps those of late."""
    now, places = _places(asking, checked_queue(queue))
    messages = _messages(asking, queue, places)
    rows = [_row(job, places[job], task) for job, task in messages.items()]
    died = [row for row in rows if row["deaths"] and (since is None or _recent(row, now - since))]
    died.sort(key=lambda row: (-int(str(row["deaths"])), -int(str(row["payload_bytes"])), str(row["id"])))
    workflows = counted((_text(row["workflow_id"]) for row in died), "workflow_id")
    return {
        "name": queue,
        "sampled": len(messages),
        "died": died[:_SHOWN],
        "died_count": len(died),
        "died_payload_max": max((int(str(row["payload_bytes"])) for row in died), default=None),
        "by_workflow": workflows,
        "truncated": len(messages) < len(places),
        "at": now,
    }


def _places(asking: Asking, queue: str) -> tuple[float, dict[str, _Place]]:
    now_reply, workers, active, retry, archived, newest, oldest = asking.ask(
        [
            ["TIME"],
            ["ZREVRANGE", "asynq:workers", 0, MOST_SERVERS - 1, "WITHSCORES"],
            ["LRANGE", queue_key(queue, "active"), -_SAMPLE, -1],
            ["ZREVRANGE", queue_key(queue, "retry"), 0, _SAMPLE - 1],
            ["ZREVRANGE", queue_key(queue, "archived"), 0, _SAMPLE - 1],
            ["LRANGE", queue_key(queue, "pending"), 0, _SAMPLE // 2 - 1],
            ["LRANGE", queue_key(queue, "pending"), -_SAMPLE // 2, -1],
        ]
    )
    now = time_of(now_reply)
    states = dict.fromkeys([*texts(newest), *texts(oldest)], "pending")
    states |= dict.fromkeys(texts(archived), "archived") | dict.fromkeys(texts(retry), "retry")
    states |= dict.fromkeys(texts(active), "active")
    unheld = _unheld(asking, queue, texts(active), live_names(workers, now), now)
    sizes = asking.ask([["HSTRLEN", queue_key(queue, f"t:{job}"), "msg"] for job in states])
    found = zip(states.items(), sizes, strict=True)
    return now, {job: _Place(state, job in unheld, number(size) or 0) for (job, state), size in found if number(size)}


def _unheld(asking: Asking, queue: str, active: Sequence[str], workers: Sequence[str], now: float) -> set[str]:
    """Active jobs that no living worker says it runs, and whose lease nobody has renewed for two heartbeats."""
    commands: list[Command] = [["ZSCORE", queue_key(queue, "lease"), job] for job in active]
    replies = asking.ask([*commands, *(["HGETALL", name] for name in workers)])
    held = {info.task_id for table in replies[len(active) :] for info in worker_infos(table)}
    latest = now + _FREE_AFTER * asking.pace
    pairs = zip(active, replies, strict=False)
    free = sorted(job for job, lease in pairs if job not in held and (lease is None or float(lease) < latest))
    # A job may end between two requests; only what is in the list a second time counts.
    found = asking.ask([["LPOS", queue_key(queue, "active"), job, "RANK", -1, "MAXLEN", 1000] for job in free])
    return {job for job, position in zip(free, found, strict=True) if position is not None}


def _messages(asking: Asking, queue: str, places: Mapping[str, _Place]) -> dict[str, TaskMessage]:
    """The messages, the small ones together, and of the large ones the few that are unheld or largest."""
    ordinary, taken = list[str](), 0
    for job, place in places.items():
        if place.size <= _ORDINARY and taken + place.size <= _AT_ONCE:
            ordinary.append(job)
            taken += place.size
    rest = [job for job, place in places.items() if _ORDINARY < place.size <= _LARGEST]
    rest.sort(key=lambda job: (not places[job].unheld, -places[job].size))
    replies = asking.ask([["HGET", queue_key(queue, f"t:{job}"), "msg"] for job in ordinary])
    large: list[Reply] = [
        reply for job in rest[:_LARGE] for reply in asking.ask([["HGET", queue_key(queue, f"t:{job}"), "msg"]])
    ]
    pairs = zip([*ordinary, *rest[:_LARGE]], [*replies, *large], strict=True)
    return {job: task for job, raw in pairs if (task := task_message(raw)) is not None}


def _row(job: str, place: _Place, task: TaskMessage) -> dict[str, Json]:
    return {
        "id": job,
        "type": task.type,
        **named_in(task.payload),
        "state": place.state,
        "payload_bytes": len(task.payload),
        "deaths": _noted(task, place.state) + (1 if place.unheld else 0),
        "unheld": place.unheld,
        "last": task.last_failed_at or None,
    }


def _noted(task: TaskMessage, state: str) -> int:
    """A message tells its last error only: who lost its worker last is taken to have lost it in every attempt."""
    if "lease_expired" not in classes_of(task.error_msg):
        return 0
    return task.retried + (1 if state == "archived" else 0)


def _recent(row: Mapping[str, Json], earliest: float) -> bool:
    return bool(row["unheld"]) or (isinstance(row["last"], int) and row["last"] >= earliest)


def _text(value: Json) -> str | None:
    return value if isinstance(value, str) else None
