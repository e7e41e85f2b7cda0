"""Which jobs of an asynq queue failed and why, and which jobs match a filter: the lists that later steps act on.

It must never show a payload, only its size and the workflow it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from ..error_classes import classes_of, fingerprint
from ..errors import Refused
from ..executor import Json
from .makeup import counted, makeup, named_in
from .reading import (
    Asking,
    checked_queue,
    number,
    queue_key,
    scored,
    share,
    task_message,
    texts,
    time_of,
)
from .wire import TaskMessage

_SAMPLE = 200
_SHOWN = 50
_PAGE = 200  # messages asked for at once
MOST_TASKS = 10_000
SORTED_STATES = ("archived", "retry", "scheduled", "completed")
LIST_STATES = ("pending", "active")
_CLASSES = (
    "rate_limit",
    "timeout",
    "lease_expired",
    "db",
    "redis",
    "downstream",
    "auth",
    "panic",
    "config",
    "oom",
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are meant; what is None does not matter. `since` is unix seconds of the last failure or change."""

    type: str | None = None
    fingerprint: str | None = None
    error_class: str | None = None
    workflow_id: str | None = None
    since: float | None = None

    def fits(self, task: TaskMessage, at: float) -> bool:
        return (
            self.type in (None, task.type)
            and (self.since is None or at >= self.since)
            and (self.fingerprint is None or self.fingerprint == fingerprint(task.error_msg))
            and (self.error_class is None or self.error_class in classes_of(task.error_msg))
            and (self.workflow_id is None or self.workflow_id == named_in(task.payload)["workflow_id"])
        )


@dataclass(frozen=True, slots=True)
class _Failure:
    """One failed job of the sample and when it last failed, in unix seconds."""

    state: str
    task: TaskMessage
    at: float


def failures(asking: Asking, queue: str, since: float | None) -> dict[str, Json]:
    """Fingerprints and shares over 200 archived and 200 waiting for a retry; `since` keeps those of late."""
    checked_queue(queue)
    replies = asking.ask(
        [
            ["TIME"],
            ["ZREVRANGE", queue_key(queue, "archived"), 0, _SAMPLE - 1, "WITHSCORES"],
            ["ZREVRANGE", queue_key(queue, "retry"), 0, _SAMPLE - 1, "WITHSCORES"],
            ["ZCARD", queue_key(queue, "archived")],
            ["ZCARD", queue_key(queue, "retry")],
        ]
    )
    now = time_of(replies[0])
    fresh = asking.ask([["ZCOUNT", queue_key(queue, "archived"), "-inf" if since is None else now - since, "+inf"]])
    taken = [*_read_failures(asking, queue, "archived", scored(replies[1]))]
    taken += _read_failures(asking, queue, "retry", scored(replies[2]))
    kept = [failure for failure in taken if since is None or failure.at >= now - since]
    sizes = [len(failure.task.payload) for failure in kept]
    return {
        "name": queue,
        "archived": number(replies[3]),
        "retry": number(replies[4]),
        "archived_since": number(fresh[0]),
        "sampled": len(kept),
        "fingerprints": _fingerprints(kept),
        **_shares(kept),
        "payload_p50": median(sizes) if sizes else None,
        "payload_max": max(sizes, default=None),
        "retried_max": max((failure.task.retried for failure in kept), default=None),
        "newest_failure": max((failure.at for failure in kept), default=None),
        "top_workflow": _top(kept, "workflow_id"),
        "top_workspace": _top(kept, "workspace_id"),
        "at": now,
        "clock": now,
    }


def tasks(asking: Asking, queue: str, state: str, wanted: Filter, limit: int) -> dict[str, Json]:
    """The ids of the jobs in one state that fit, oldest first, and what they are: the list a later step is bound to."""
    checked_queue(queue)
    found = list(matching(asking, queue, state, wanted, limit + 1))
    kept = found[:limit]
    times = [at for _, _, at in kept if at]
    named = {named_in(task.payload)["workflow_id"] for _, task, _ in kept}
    size, now = asking.ask([["ZCARD" if state in SORTED_STATES else "LLEN", queue_key(queue, state)], ["TIME"]])
    return {
        "name": queue,
        "state": state,
        "ids": [job for job, _, _ in kept],
        "count": len(kept),
        "total": number(size),
        "truncated": len(found) > limit,
        "oldest": min(times, default=None),
        "newest": max(times, default=None),
        "payload_bytes": sum(len(task.payload) for _, task, _ in kept),
        "workflows": len(named - {None}),
        "types": sorted({task.type for _, task, _ in kept})[:_SHOWN],
        **makeup([task for _, task, _ in kept]),
        "clock": time_of(now),
    }


def matching(
    asking: Asking, queue: str, state: str, wanted: Filter, limit: int
) -> Iterator[tuple[str, TaskMessage, float]]:
    """Jobs in one state that fit, at most `limit`, oldest first, each with its message and the time of its state."""
    members = members_of(asking, queue, state)
    ids, found = list(members), 0
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        replies = asking.ask([["HMGET", queue_key(queue, f"t:{job}"), "msg", "pending_since"] for job in page])
        for job, reply in zip(page, replies, strict=True):
            raw, since = reply or (None, None)
            task = task_message(raw)
            at = _moment(task, members[job], state, number(since)) if task else 0.0
            if task is None or not wanted.fits(task, at):
                continue
            yield job, task, at
            found += 1
            if found >= limit:
                return


def members_of(asking: Asking, queue: str, state: str) -> Mapping[str, float]:
    """id → score (0 in a list), oldest first, at most 10 000. Asks for the members only, not for their messages."""
    if state in SORTED_STATES:
        return scored(asking.ask([["ZRANGE", queue_key(queue, state), 0, MOST_TASKS - 1, "WITHSCORES"]])[0])
    if state in LIST_STATES or state.startswith("rbq:"):
        ids = texts(asking.ask([["LRANGE", queue_key(queue, state), -MOST_TASKS, -1]])[0])
        return dict.fromkeys(reversed(ids), 0.0)
    known = ", ".join((*LIST_STATES, *SORTED_STATES, "rbq:ID"))
    raise Refused(f"asynq: {state!r} is not a state of jobs; expected one of {known}")


def _moment(task: TaskMessage, score: float, state: str, pending_since: int | None) -> float:
    """When a job came into its state, as far as it says: of one that waits that is not when it failed before."""
    if state not in SORTED_STATES:
        return (pending_since or 0) / 1e9
    return float(task.last_failed_at or task.completed_at or score)


def _read_failures(asking: Asking, queue: str, state: str, members: Mapping[str, float]) -> list[_Failure]:
    replies = asking.ask([["HGET", queue_key(queue, f"t:{job}"), "msg"] for job in members])
    read = ((task_message(raw), score) for raw, score in zip(replies, members.values(), strict=True))
    # A retry's score is when it is due, not when it failed.
    return [
        _Failure(state, task, float(task.last_failed_at or (score if state == "archived" else 0)))
        for task, score in read
        if task is not None
    ]


def _fingerprints(kept: Sequence[_Failure]) -> list[Json]:
    groups: dict[tuple[str, str], list[_Failure]] = {}
    for failure in kept:
        groups.setdefault((failure.task.type, fingerprint(failure.task.error_msg)), []).append(failure)
    rows = [
        {
            "type": task_type,
            "fingerprint": print_,
            "classes": sorted(classes_of(group[0].task.error_msg)),
            "count": len(group),
            "archived": sum(failure.state == "archived" for failure in group),
            "share": share(len(group), len(kept)),
            "first": min(failure.at for failure in group),
            "last": max(failure.at for failure in group),
            "workflows": len({named_in(failure.task.payload)["workflow_id"] for failure in group}),
            "top_workflow": _top(group, "workflow_id"),
        }
        for (task_type, print_), group in groups.items()
    ]
    return sorted(rows, key=lambda row: (-int(str(row["count"])), str(row["fingerprint"])))[:_SHOWN]


def _shares(kept: Sequence[_Failure]) -> dict[str, Json]:
    classes = [classes_of(failure.task.error_msg) for failure in kept]
    return {f"{name}_share": share(sum(name in found for found in classes), len(kept)) for name in _CLASSES}


def _top(kept: Sequence[_Failure], name: str) -> Json:
    """The workflow or workspace that most of them belong to, and which share of all of them."""
    rows = counted((named_in(failure.task.payload)[name] for failure in kept), name)
    return rows[0] if rows else {name: None, "count": 0, "share": None}
