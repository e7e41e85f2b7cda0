"""Walks over the keys of a Redis with SCAN, a page at a time, and removes one kind of them.

It must never stop the server: every request is small, and the walk ends by the caller's deadline.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

from ..errors import Refused, TargetError
from ..executor import Json
from .session import RedisSession
from .wire import Command, ServerError

_PAGE = 1000
_PAUSE = 0.005  # between batches of UNLINK, so that others get their turn


def pages(session: RedisSession, prefix: str | None, ends_at: float) -> Iterator[tuple[list[bytes], bool]]:
    """The keys that begin with `prefix`, all without one; with each page whether it is the last."""
    pattern = [] if prefix is None else ["MATCH", re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"]
    cursor: bytes | int = 0
    while True:
        command: Command = ["SCAN", cursor, *pattern, "COUNT", _PAGE]
        # One page can be longer than COUNT: a whole bucket or a small, packed collection comes at once.
        reply = session.ask([command], ends_at, elements=100_000, size=64 << 20).replies[0]
        if isinstance(reply, ServerError):
            raise TargetError(reply.word, reply.message, "no")
        cursor = reply[0]
        yield reply[1], cursor == b"0"
        if cursor == b"0":
            return


def unlink_prefix(session: RedisSession, prefix: str, batch: int, limit: int | None, ends_at: float) -> dict[str, Json]:
    """UNLINK every key that begins with `prefix`. Counts first when there is a limit, and stops before passing it."""
    if "asynq:".startswith(prefix) or prefix.startswith("asynq:"):
        raise Refused(f"unlink: the prefix {prefix!r} covers asynq's queues. Use the operations under asynq:")
    if limit is not None:
        found = sum(len(keys) for keys, _ in pages(session, prefix, ends_at))
        if found > limit:
            raise Refused(f"unlink: {found} keys begin with {prefix!r}; limit.affected is {limit}. Nothing was removed")
    affected = 0
    for keys, _ in pages(session, prefix, ends_at):
        for start in range(0, len(keys), batch):
            room = batch if limit is None else min(batch, limit - affected)
            if room <= 0:
                return {"affected": affected, "complete": False}
            affected += _unlinked(session, keys[start : start + room], affected, ends_at)
            time.sleep(_PAUSE)
    return {"affected": affected, "complete": True}


def _unlinked(session: RedisSession, keys: Sequence[bytes], before: int, ends_at: float) -> int:
    try:
        reply = session.write([["UNLINK", *keys]], ends_at).replies[0]
    except TargetError as fault:
        happened = fault.happened if before == 0 else "unknown"
        raise TargetError(fault.code, f"{fault.message} (after {before} keys were removed)", happened) from fault
    return reply if isinstance(reply, int) else 0
