"""Removes ids from a queue whose jobs are gone, as an eviction leaves them: workers draw them and find nothing.

It must never remove an id that has a message; that is asked again in the very step that removes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import Refused
from ..executor import Json
from . import scripts
from .operations import run_script
from .reading import Asking, checked_queue, number, queue_key, texts

MOST_IDS = 200_000  # looked at in one order
_SHOWN = 50
_PAGE = 1000
_BATCH = 100  # each is searched for in both lists


def drop_ghosts(asking: Asking, queue: str, most: int | None) -> dict[str, Json]:
    """Look through the pending and active ids, the oldest first, and remove those without a job. Their ids are told."""
    prefix = queue_key(checked_queue(queue), "t:")
    # In this order: an id that is taken meanwhile moves from the first list to the second, never back.
    looked = [job for state in ("pending", "active") for page in _pages(asking, queue, state) for job in page]
    ghosts = list(_without_message(asking, prefix, list(dict.fromkeys(looked))))
    if most is not None and len(ghosts) > most:
        raise Refused(f"asynq: {len(ghosts)} ids have no job; limit.affected is {most}. Nothing was removed")
    keys = [queue_key(queue, part) for part in ("active", "pending", "lease")]
    dropped = 0
    for start in range(0, len(ghosts), _BATCH):
        arguments = [prefix, *ghosts[start : start + _BATCH]]
        dropped += run_script(asking, scripts.DROP_GHOSTS, keys, arguments, before=dropped)
    return {"affected": dropped, "asked": len(ghosts), "ids": ghosts[:_SHOWN], "truncated": len(looked) >= MOST_IDS}


def _pages(asking: Asking, queue: str, state: str) -> Iterator[Sequence[str]]:
    """From the end from which workers take, towards the newest."""
    key = queue_key(queue, state)
    length = min(number(asking.ask([["LLEN", key]])[0]) or 0, MOST_IDS)
    for end in range(0, length, _PAGE):
        yield texts(asking.ask([["LRANGE", key, -(end + _PAGE), -(end + 1)]])[0])


def _without_message(asking: Asking, prefix: str, ids: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(ids), _PAGE):
        page = ids[start : start + _PAGE]
        replies = asking.ask([["HEXISTS", f"{prefix}{job}", "msg"] for job in page])
        yield from (job for job, there in zip(page, replies, strict=True) if there == 0)
