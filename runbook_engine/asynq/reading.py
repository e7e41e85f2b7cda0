"""What every look at asynq has in common: the names of its keys, how replies are read, and which servers are alive.

It must never write, not even to remove the stale entries that asynq leaves: a look changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import Refused, TargetError
from ..redis_client.session import RedisSession
from ..redis_client.wire import Command, Reply, ServerError
from .wire import (
    ServerInfo,
    TaskMessage,
    WireError,
    WorkerInfo,
    decode_server_info,
    decode_task_message,
    decode_worker_info,
)

MOST_SERVERS = 200
_LARGEST_PAYLOAD = 1 << 20  # of a payload that is looked into for its workflow
_MEMBERS = 200_000
_BYTES = 64 << 20  # of all replies to one request: 400 messages with ordinary payloads
_STOPPED = ("stopped", "closed")


@dataclass(frozen=True, slots=True)
class Asking:
    """A session and the time by which its answers must be there. `pace` stretches asynq's own periods."""

    session: RedisSession
    ends_at: float
    pace: float = 1.0

    def ask(self, commands: Sequence[Command], whole: bool = False) -> list[Reply]:
        """The replies; a key of the wrong type reads as None, any other error is raised, with `whole` also a cut."""
        replies: list[Reply] = []
        for start in range(0, len(commands), 1000):
            part = commands[start : start + 1000]
            answer = self.session.ask(part, self.ends_at, _MEMBERS, _BYTES)
            if whole and answer.truncated:
                raise Refused(f"asynq: the reply is larger than {_BYTES >> 20} MiB")
            replies += answer.replies
        for reply in replies:
            if isinstance(reply, ServerError) and reply.word != "WRONGTYPE":
                raise TargetError(reply.word, f"asynq: {reply.message}", "no")
        return [None if isinstance(reply, ServerError) else reply for reply in replies]


@dataclass(frozen=True, slots=True)
class Server:
    """A worker process that was alive a moment ago."""

    id: str
    info: ServerInfo

    @property
    def takes_jobs(self) -> bool:
        return self.info.status not in _STOPPED


def queue_key(queue: str, part: str) -> str:
    return f"asynq:{{{queue}}}:{part}"


def checked_queue(queue: str) -> str:
    if not queue or len(queue) > 200 or any(char in "{}" or not char.isprintable() or char.isspace() for char in queue):
        raise Refused(f"asynq: {queue!r} is not the name of a queue; expected text without spaces and braces")
    return queue


def texts(reply: Reply) -> list[str]:
    """The members of a list or set; ids and names are UTF-8 in asynq."""
    return [item.decode("utf-8", "replace") for item in reply or [] if isinstance(item, bytes)]


def scored(reply: Reply) -> dict[str, float]:
    """WITHSCORES as member → score."""
    flat = reply or []
    return {
        member.decode("utf-8", "replace"): float(score) for member, score in zip(flat[::2], flat[1::2], strict=True)
    }


def number(reply: Reply) -> int | None:
    """A counter, which Redis keeps as text; None when it is absent or no number."""
    if isinstance(reply, int):
        return reply
    try:
        return int(reply) if isinstance(reply, bytes) else None
    except ValueError:
        return None


def time_of(reply: Reply) -> float:
    seconds, micros = reply
    return int(seconds) + int(micros) / 1e6


def live_names(reply: Reply, now: float) -> list[str]:
    """The members of asynq:servers or asynq:workers that have not expired; stale ones stay until somebody lists."""
    return [name for name, expires in scored(reply).items() if expires >= now]


def servers_from(names: Sequence[str], replies: Sequence[Reply]) -> list[Server]:
    """The servers whose own record is still there; it lives ten seconds past the last heartbeat."""
    found = []
    for name, raw in zip(names, replies, strict=True):
        info = server_info(raw)
        if info is not None:
            found.append(Server(name.removeprefix("asynq:servers:").strip("{}"), info))
    return found


def server_info(raw: Reply) -> ServerInfo | None:
    try:
        return decode_server_info(raw) if isinstance(raw, bytes) else None
    except WireError:
        return None


def task_message(raw: Reply) -> TaskMessage | None:
    try:
        return decode_task_message(raw) if isinstance(raw, bytes) else None
    except WireError:
        return None


def worker_infos(reply: Reply) -> Iterable[WorkerInfo]:
    for raw in (reply or [])[1::2]:
        try:
            yield decode_worker_info(raw)
        except WireError:
            continue


def workflow_of(payload: bytes) -> str | None:
    """The workflow a LinkFlow payload names. The rest of a payload is the user's and is not shown."""
    if len(payload) > _LARGEST_PAYLOAD:
        return None
    try:
        content: Any = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    found = content.get("workflow_id") if isinstance(content, Mapping) else None
    return found if isinstance(found, str) else None


def share(part: float, whole: float) -> float | None:
    """None when there is nothing to take a share of: no failures seen is not a share of 0."""
    return round(part / whole, 4) if whole else None
