"""What the workers of one asynq queue are running, and which ids nobody runs although the queue says so.

It must never name an id that only just moved: whatever looks lost is asked for a second time before it is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..executor import Json
from ..redis_client.wire import Command, Reply
from .reading import (
    MOST_SERVERS,
    Asking,
    checked_queue,
    live_names,
    number,
    queue_key,
    share,
    task_message,
    texts,
    time_of,
    worker_infos,
    workflow_of,
)
from .wire import WorkerInfo

_SAMPLE = 200
_TAIL = 50
_SHOWN = 50
_LEASE = 30.0  # seconds that a lease is given for; a heartbeat renews it every five
_QUIET = 10.0  # without two heartbeats in a row the holder is gone
_OVERDUE = 90.0  # a live server would have recovered an expired lease by then: 30 s of grace, a tick every 60 s


@dataclass(frozen=True, slots=True)
class _Sample:
    """What the queue and the live workers said at one moment."""

    now: float
    active_count: int | None
    ids: list[str]
    pending: list[str]  # oldest first
    running: list[WorkerInfo]
    held: frozenset[str]


def active(asking: Asking, queue: str) -> dict[str, Json]:
    """Running jobs of the queue, how long and what; ids that are orphaned, without lease, or without message."""
    checked_queue(queue)
    sample = _take(asking, queue)
    leases, hashes, messages = _details(asking, queue, sample)
    lost = _lost(asking, queue, sample, leases, hashes, messages)
    return {
        "name": queue,
        "active": sample.active_count,
        "sampled": len(sample.ids),
        **_running(sample),
        **lost,
        "pending_top_workflow": _top_workflow(messages),
        "at": sample.now,
    }


def _take(asking: Asking, queue: str) -> _Sample:
    now_reply, workers, count, ids, newest, oldest = asking.ask(
        [
            ["TIME"],
            ["ZREVRANGE", "asynq:workers", 0, MOST_SERVERS - 1, "WITHSCORES"],
            ["LLEN", queue_key(queue, "active")],
            ["LRANGE", queue_key(queue, "active"), -_SAMPLE, -1],
            ["LRANGE", queue_key(queue, "pending"), 0, _SAMPLE // 2 - 1],
            ["LRANGE", queue_key(queue, "pending"), -_SAMPLE // 2, -1],
        ]
    )
    now = time_of(now_reply)
    tables = asking.ask([["HGETALL", name] for name in live_names(workers, now)])
    workers_now = [worker for table in tables for worker in worker_infos(table)]
    return _Sample(
        now=now,
        active_count=number(count),
        ids=texts(ids),
        pending=list(dict.fromkeys([*reversed(texts(oldest)), *reversed(texts(newest))])),
        running=[worker for worker in workers_now if worker.queue == queue],
        held=frozenset(worker.task_id for worker in workers_now),
    )


def _details(
    asking: Asking, queue: str, sample: _Sample
) -> tuple[dict[str, float | None], dict[str, bool], dict[str, Reply]]:
    """Lease of each active id; whether its message is there; the message of each pending id sampled."""
    commands: list[Command] = [["ZSCORE", queue_key(queue, "lease"), job] for job in sample.ids]
    commands += [["HEXISTS", queue_key(queue, f"t:{job}"), "msg"] for job in sample.ids]
    commands += [["HGET", queue_key(queue, f"t:{job}"), "msg"] for job in sample.pending]
    replies = asking.ask(commands)
    size = len(sample.ids)
    scores = [None if score is None else float(score) for score in replies[:size]]
    return (
        dict(zip(sample.ids, scores, strict=True)),
        {job: reply == 1 for job, reply in zip(sample.ids, replies[size : 2 * size], strict=True)},
        dict(zip(sample.pending, replies[2 * size :], strict=True)),
    )


def _lost(
    asking: Asking,
    queue: str,
    sample: _Sample,
    leases: Mapping[str, float | None],
    hashes: Mapping[str, bool],
    messages: Mapping[str, Reply],
) -> dict[str, Json]:
    ghosts = [job for job in sample.ids if not hashes[job]]
    no_lease = [job for job in sample.ids if hashes[job] and leases[job] is None]
    free = [job for job in sample.ids if hashes[job] and job not in sample.held]
    orphans = [job for job in free if _expired_for(leases[job], sample.now, _OVERDUE * asking.pace)]
    unheld = [job for job in free if _expired_for(leases[job], sample.now, (_QUIET - _LEASE) * asking.pace)]
    missing = [job for job in sample.pending[:_TAIL] if messages[job] is None]
    still_active = _still_there(asking, queue, "active", {*ghosts, *no_lease, *orphans, *unheld})
    still_pending = _still_there(asking, queue, "pending", set(missing))

    def kept(ids: list[str], there: set[str]) -> list[str]:
        return [job for job in ids if job in there]

    missing_still = kept(missing, still_pending)
    return {
        "orphans": kept(orphans, still_active),
        "unheld": kept(unheld, still_active),
        "no_lease": kept(no_lease, still_active),
        "ghosts": kept(ghosts, still_active),
        "pending_missing_msg": len(missing_still),
        "pending_missing_ids": missing_still,
    }


def _expired_for(lease: float | None, now: float, seconds: float) -> bool:
    return lease is None or now - lease > seconds


def _still_there(asking: Asking, queue: str, state: str, ids: set[str]) -> set[str]:
    """A job may end between two requests; only what is in the list a second time counts."""
    ordered = sorted(ids)
    found = asking.ask([["LPOS", queue_key(queue, state), job, "RANK", -1, "MAXLEN", 1000] for job in ordered])
    return {job for job, position in zip(ordered, found, strict=True) if position is not None}


def _running(sample: _Sample) -> dict[str, Json]:
    rows = sorted((_row(worker, sample.now) for worker in sample.running), key=lambda row: -float(str(row["seconds"])))
    unknown = not rows and sample.active_count != 0
    return {
        "longest_s": None if unknown else (rows[0]["seconds"] if rows else 0),
        "past_deadline": None if unknown else sum(0 < worker.deadline < sample.now for worker in sample.running),
        "by_type": _counted([str(row["type"]) for row in rows], "type"),
        "running": rows[:_SHOWN],
        "running_count": len(rows),
        "running_top": {
            "type": _top([str(row["type"]) for row in rows]),
            "workflow": _top([row["workflow_id"] for row in rows]),
        },
    }


def _row(worker: WorkerInfo, now: float) -> dict[str, Json]:
    return {
        "id": worker.task_id,
        "type": worker.task_type,
        "workflow_id": workflow_of(worker.task_payload),
        "seconds": round(max(0.0, now - worker.start), 3),
        "overdue": 0 < worker.deadline < now,
        "payload_bytes": len(worker.task_payload),
        "worker": f"{worker.host}:{worker.pid}",
    }


def _counted(values: Sequence[str], name: str) -> list[Json]:
    counts = Counter(values).most_common(_SHOWN)
    return [{name: value, "count": count, "share": share(count, len(values))} for value, count in counts]


def _top(values: Sequence[Json]) -> Json:
    """The value most of them have, and which share of all of them."""
    known = Counter(value for value in values if value is not None).most_common(1)
    if not known:
        return {"id": None, "count": 0, "share": None}
    return {"id": known[0][0], "count": known[0][1], "share": share(known[0][1], len(values))}


def _top_workflow(messages: Mapping[str, Reply]) -> Json:
    tasks = [task for task in (task_message(raw) for raw in messages.values()) if task is not None]
    top = _top([workflow_of(task.payload) for task in tasks])
    return {"workflow_id": top["id"], "count": top["count"], "share": top["share"], "sampled": len(tasks)}
