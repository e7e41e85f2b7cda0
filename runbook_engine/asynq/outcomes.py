"""What became of jobs that were given another attempt: how many ended well, how many failed again, how many wait."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Refused
from ..executor import Json
from .failures import MOST_TASKS
from .reading import Asking, checked_queue, queue_key, scored, share, time_of

_PAGE = 500


def outcomes(asking: Asking, queue: str, ids: Sequence[str], since: float | None) -> dict[str, Json]:
    """Of these ids: completed or gone, archived since then, waiting or running, and those nobody has touched yet."""
    wanted = list(dict.fromkeys(ids))
    if len(wanted) > MOST_TASKS:
        raise Refused(f"asynq: {len(wanted)} ids; outcomes takes at most {MOST_TASKS}")
    states: list[str | None] = []
    for start in range(0, len(wanted), _PAGE):
        page = wanted[start : start + _PAGE]
        replies = asking.ask([["HGET", queue_key(checked_queue(queue), f"t:{job}"), "state"] for job in page])
        states += [reply.decode("ascii", "replace") if isinstance(reply, bytes) else None for reply in replies]
    archived = [job for job, state in zip(wanted, states, strict=True) if state == "archived"]
    now, again = _archived_since(asking, queue, archived, since)
    succeeded = sum(state in (None, "completed") for state in states)
    return {
        "name": queue,
        "asked": len(wanted),
        "succeeded": succeeded,
        "failed_again": again,
        "untouched": len(archived) - again,
        "open": len(wanted) - succeeded - len(archived),
        "success_share": share(succeeded, succeeded + again),
        "at": now,
    }


def _archived_since(asking: Asking, queue: str, archived: Sequence[str], since: float | None) -> tuple[float, int]:
    now = time_of(asking.ask([["TIME"]])[0])
    if since is None or not archived:
        return now, 0
    members = scored(
        asking.ask([["ZRANGEBYSCORE", queue_key(queue, "archived"), f"({since}", "+inf", "WITHSCORES"]])[0]
    )
    return now, sum(job in members for job in archived)
