"""Deletes jobs, each after it is in a file on this machine's disk, and sets single jobs aside.

It must never delete a job that the file does not hold, and never touch one that a worker runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import Refused
from ..executor import Json
from . import task_scripts
from .export import copy_jobs, free_part
from .failures import MOST_TASKS, members_of
from .files import append_row, export_file
from .operations import run_script
from .reading import Asking, checked_queue, queue_key, texts, time_of

MOST_DELETED = 200_000  # of one order; their payloads have to fit on the disk
_BATCH = 100  # a job in the middle of a long list is searched for
_MOST_ARCHIVED = 1000  # by name, each searched for in every list
_LOOK_EVERY = 0.5


def delete_pending(
    asking: Asking,
    queue: str,
    state: str,
    ids: Sequence[str] | None,
    oldest: int | None,
    export: tuple[str | None, str],
    most: int | None,
) -> dict[str, Json]:
    """Copy waiting jobs into a file, then delete them: those named, else that many of the oldest."""
    checked_queue(queue)
    if state != "pending" and not state.startswith("rbq:"):
        raise Refused(f"asynq: {state!r} holds no waiting jobs; expected pending or rbq:NAME, a quarantine")
    if (ids is None) == (oldest is None):
        raise Refused("asynq: delete_pending takes ids, or oldest: how many of the oldest")
    count = len(dict.fromkeys(ids)) if ids is not None else oldest or 0
    _bounded(count, MOST_TASKS if ids is not None else MOST_DELETED, most)
    first = export_file(export[0], queue, state, export[1])
    deleted, left = 0, count
    while left > 0:
        jobs = dict.fromkeys(ids, 0.0) if ids is not None else _oldest(asking, queue, state, left)
        deleted += _delete(asking, queue, state, jobs, free_part(first), deleted) if jobs else 0
        left -= len(jobs) or left
    return {"affected": deleted, "asked": count, "path": str(first)}


def delete_archived(
    asking: Asking, queue: str, ids: Sequence[str], export: tuple[str | None, str], most: int | None
) -> dict[str, Json]:
    """Copy failed jobs into a file, then delete them for good."""
    wanted = list(dict.fromkeys(ids))
    _bounded(len(wanted), MOST_TASKS, most)
    members = members_of(asking, checked_queue(queue), "archived")
    jobs = {job: members[job] for job in wanted if job in members}
    first = export_file(export[0], queue, "archived", export[1])
    deleted = _delete(asking, queue, "archived", jobs, free_part(first), 0) if jobs else 0
    return {"affected": deleted, "asked": len(wanted), "path": str(first)}


def archive_task(asking: Asking, queue: str, ids: Sequence[str], most: int | None) -> dict[str, Json]:
    """Put single jobs where nobody runs them. Of one whose worker died the lease is waited for, until the deadline."""
    wanted = list(dict.fromkeys(ids))
    _bounded(len(wanted), _MOST_ARCHIVED, most)
    names = ("archived", "pending", "retry", "scheduled", "active", "lease")
    keys = [queue_key(checked_queue(queue), name) for name in names]
    moved, there, held = 0, 0, 1
    while held:
        now = time_of(asking.ask([["TIME"]])[0])
        arguments: list[str | int | float] = [queue_key(queue, "t:"), now, *wanted]
        once, there, held = run_script(asking, task_scripts.ARCHIVE, keys, arguments, moved)
        moved += once
        pause = _LOOK_EVERY * asking.pace
        if not held or time.monotonic() + pause + 1 > asking.ends_at:
            break
        time.sleep(pause)
    return {"affected": moved, "asked": len(wanted), "archived": there, "held": held}


def _bounded(count: int, most_ever: int, most: int | None) -> None:
    limit = most_ever if most is None else min(most, most_ever)
    if count > limit:
        raise Refused(f"asynq: {count} jobs, and at most {limit} may be touched. Nothing was changed")


def _oldest(asking: Asking, queue: str, state: str, count: int) -> Mapping[str, float]:
    part = min(count, MOST_TASKS)
    found = texts(asking.ask([["LRANGE", queue_key(queue, state), -part, -1]])[0])
    return dict.fromkeys(reversed(found), 0.0)


def _delete(asking: Asking, queue: str, state: str, jobs: Mapping[str, float], path: Path, before: int) -> int:
    """Copy, then delete. What a worker took in between is not deleted, and the file says so."""
    _, _, copied = copy_jobs(asking, queue, state, jobs, path)
    script = task_scripts.DELETE_ARCHIVED if state == "archived" else task_scripts.DELETE_PENDING
    deleted: set[str] = set()
    for start in range(0, len(copied), _BATCH):
        arguments = [queue_key(queue, "t:"), *copied[start : start + _BATCH]]
        deleted |= set(texts(run_script(asking, script, [queue_key(queue, state)], arguments, before + len(deleted))))
    if kept := [job for job in copied if job not in deleted]:
        append_row(path, {"not_deleted": kept})
    return len(deleted)
