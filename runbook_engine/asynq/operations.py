"""Changes to asynq's queues: bounded, atomic step by step, harmless when repeated. The Lua is in asynq_scripts.

It must never act on "whatever matches now" beyond what it was given: an id list, a limit, a cut-off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..errors import Refused, TargetError
from ..executor import Json
from ..redis_client.wire import Reply
from . import scripts
from .failures import MOST_TASKS, Filter, matching
from .reading import Asking, checked_queue, number, queue_key, time_of

_Arguments = Sequence[str | bytes | int | float]

MOST_JOBS = 1_000_000_000
_BATCH = 200
_PURGE_BATCH = 500
_RESTORE_BATCH = 1000
_QUARANTINE = re.compile(r"[A-Za-z0-9_.:/-]{1,100}")
_EXPIRED_LEASE = 60  # seconds ago; asynq recovers what expired more than 30 s ago


def pause(asking: Asking, queue: str) -> dict[str, Json]:
    """Stop workers from taking jobs of the queue; those running go on."""
    _must_exist(asking, queue)
    key = queue_key(queue, "paused")
    now = int(time_of(asking.ask([["TIME"]])[0]))
    done = asking.session.write([["SET", key, now, "NX"]], asking.ends_at).replies[0] is not None
    return {"affected": int(done), "since": now if done else number(asking.ask([["GET", key]])[0])}


def resume(asking: Asking, queue: str, since: Json) -> dict[str, Json]:
    """Let workers take jobs again. With `since`, only when the queue is still paused since then."""
    expected = "" if since is None else str(since)
    return {"affected": run_script(asking, scripts.RESUME, [_key(queue, "paused")], [expected])}


def quarantine(asking: Asking, queue: str, name: str, most: int | None) -> dict[str, Json]:
    """Put all pending jobs aside under a name. Works while Redis is out of memory."""
    keys = [_key(queue, "pending"), _key(queue, _quarantine(name))]
    moved, there = run_script(asking, scripts.QUARANTINE, keys, [MOST_JOBS if most is None else most])
    if moved < 0:
        raise Refused(f"asynq: {there} jobs are pending; limit.affected is {most}. Nothing was moved")
    return {"affected": moved, "quarantined": there}


def restore(asking: Asking, queue: str, name: str, most: int | None) -> dict[str, Json]:
    """Put quarantined jobs back: as they were when nothing is pending, else behind what is, the oldest first."""
    keys = [_key(queue, _quarantine(name)), _key(queue, "pending")]
    there = number(asking.ask([["LLEN", keys[0]]])[0]) or 0
    if most is not None and there > most:
        raise Refused(f"asynq: {there} jobs are in quarantine; limit.affected is {most}. Nothing was moved")
    moved, dropped, left = 0, 0, there
    while left:
        arguments: _Arguments = [_RESTORE_BATCH, queue_key(queue, "t:")]
        batch = run_script(asking, scripts.RESTORE, keys, arguments, before=moved + dropped)
        moved, dropped, left = moved + batch[0], dropped + batch[1], batch[2]
    return {"affected": moved, "dropped": dropped}


def retry_archived(
    asking: Asking, queue: str, wanted: Filter, limit: int, ids: Sequence[str] | None, most: int | None
) -> dict[str, Json]:
    """Give archived jobs one more attempt: those named, else up to `limit` of those that fit, the oldest first."""
    checked_queue(queue)
    chosen = _bounded(_chosen(asking, queue, wanted, limit, ids), most)
    nanos = int(time_of(asking.ask([["TIME"]])[0]) * 1e9)
    keys = [_key(queue, "archived"), _key(queue, "pending")]
    affected = 0
    for batch in _batches(chosen):
        arguments: _Arguments = [queue_key(queue, "t:"), nanos, *batch]
        affected += run_script(asking, scripts.RETRY_ARCHIVED, keys, arguments, before=affected)
    return {"affected": affected, "asked": len(chosen), "ids": chosen}


def delete_archived(asking: Asking, queue: str, ids: Sequence[str], most: int | None) -> dict[str, Json]:
    """Remove archived jobs for good."""
    keys, affected = [_key(queue, "archived")], 0
    for batch in _batches(_bounded(list(dict.fromkeys(ids)), most)):
        arguments = [queue_key(queue, "t:"), *batch]
        affected += run_script(asking, scripts.DELETE_ARCHIVED, keys, arguments, before=affected)
    return {"affected": affected, "asked": len(ids)}


def purge_completed(asking: Asking, queue: str, before: float | None, most: int | None) -> dict[str, Json]:
    """Remove the records of completed jobs that expire by `before`, by now without it; works out of memory too."""
    key, cutoff = _key(queue, "completed"), before
    if cutoff is None:
        cutoff = time_of(asking.ask([["TIME"]])[0])
    count = number(asking.ask([["ZCOUNT", key, "-inf", cutoff]])[0]) or 0
    if most is not None and count > most:
        raise Refused(f"asynq: {count} records expire by {cutoff}; limit.affected is {most}. Nothing was removed")
    affected, left = 0, count
    while affected < count and left:
        arguments: _Arguments = [queue_key(queue, "t:"), cutoff, min(_PURGE_BATCH, count - affected)]
        removed, left = run_script(asking, scripts.PURGE_COMPLETED, [key], arguments, before=affected)
        affected += removed
        left = left if removed else 0
    return {"affected": affected}


def repair(
    asking: Asking, queue: str, orphans: Sequence[str], ghosts: Sequence[str], most: int | None
) -> dict[str, Json]:
    """Give orphans an expired lease, so that asynq recovers them, and drop ids whose message is gone."""
    _bounded([*orphans, *ghosts], most)
    prefix, leased, dropped = queue_key(checked_queue(queue), "t:"), 0, 0
    past = int(time_of(asking.ask([["TIME"]])[0]) - _EXPIRED_LEASE * max(1.0, asking.pace))
    lists = [_key(queue, "active"), _key(queue, "lease")]
    for batch in _batches(orphans):
        leased += run_script(asking, scripts.LEASE_ORPHANS, lists, [prefix, past, *batch], before=leased)
    keys = [_key(queue, "active"), _key(queue, "pending"), _key(queue, "lease")]
    for batch in _batches(ghosts):
        dropped += run_script(asking, scripts.DROP_GHOSTS, keys, [prefix, *batch], before=leased + dropped)
    return {"affected": leased + dropped, "leased": leased, "dropped": dropped}


def _chosen(asking: Asking, queue: str, wanted: Filter, limit: int, ids: Sequence[str] | None) -> list[str]:
    if ids is not None:
        return list(dict.fromkeys(ids))
    return [job for job, _, _ in matching(asking, queue, "archived", wanted, limit)]


def _bounded(ids: list[str], most: int | None) -> list[str]:
    limit = MOST_TASKS if most is None else min(most, MOST_TASKS)
    if len(ids) > limit:
        raise Refused(f"asynq: {len(ids)} jobs, and at most {limit} may be touched. Nothing was changed")
    return ids


def _must_exist(asking: Asking, queue: str) -> None:
    known, pending = asking.ask(
        [["SISMEMBER", "asynq:queues", checked_queue(queue)], ["EXISTS", queue_key(queue, "pending")]]
    )
    if not known and not pending:
        raise Refused(f"asynq: there is no queue {queue!r} here. `asynq: {{inspect: null}}` lists those there are")


def _key(queue: str, part: str) -> str:
    return queue_key(checked_queue(queue), part)


def _quarantine(name: str) -> str:
    if not _QUARANTINE.fullmatch(name):
        raise Refused(f"asynq: {name!r} cannot name a quarantine; expected up to 100 letters, digits, and . _ : / -")
    return f"rbq:{name}"


def _batches(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _BATCH):
        yield ids[start : start + _BATCH]


def run_script(asking: Asking, script: str, keys: Sequence[str], arguments: _Arguments, before: int = 0) -> Reply:
    """One script. When an earlier batch changed something, a failure can no longer say that nothing happened."""
    try:
        return asking.session.run_script(script, keys, arguments, asking.ends_at).replies[0]
    except TargetError as fault:
        if not before:
            raise
        raise TargetError(fault.code, f"{fault.message} (after {before} were changed)", "unknown") from fault
