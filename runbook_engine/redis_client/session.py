"""A session with one Redis server, shared by everything that talks to Redis: settings, identity, and who may send what.

It must never send a command twice, and in a read session none that the list of reads does not know.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import unquote, urlsplit

from ..errors import Refused, TargetError, UsageError
from ..executor import Effect, Identity, Json, Target
from .commands import complaint_about, effect_of
from .replies import info_table
from .wire import (
    MOST_BYTES,
    MOST_ELEMENTS,
    Address,
    Answer,
    Command,
    RedisConnection,
    ServerError,
    open_connection,
)

Mode = Literal["read", "write"]

# Errors that a script can only meet at its first write: nothing was written before.
_BEFORE_ANY_WRITE = frozenset(
    ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "LOADING", "MASTERDOWN", "BUSY", "NOAUTH", "CLUSTERDOWN", "MOVED")
)
# Out of memory Redis queues nothing, not even what it would carry out alone.
_NO_TRANSACTION = {"OOM": " A full Redis takes no transaction: send each command as a step of its own"}
_CONNECT_TIMEOUT = 3.0
_LARGEST_REQUEST = 2000  # commands in one pipeline


class RedisSession:
    """An open, logged-in connection and the rules of its mode."""

    def __init__(self, connection: RedisConnection, target: Target, mode: Mode) -> None:
        self.target = target
        self.mode = mode
        self._connection = connection
        self._flags: dict[str, bool] = {}  # command → the server itself calls it a write

    def ask(
        self, commands: Sequence[Command], ends_at: float, elements: int = MOST_ELEMENTS, size: int = MOST_BYTES
    ) -> Answer:
        """Send commands as they are, all at once, after checking each against the rules of this session."""
        if not commands:
            return Answer([], False)
        self._check(commands, ends_at)
        return self._connection.ask(commands, ends_at, elements, size)

    def write(self, commands: Sequence[Command], ends_at: float) -> Answer:
        """One command, or several as one transaction; raises unless every one of them succeeded."""
        if len(commands) == 1:
            answer = self.ask(commands, ends_at)
            self._raise_first_error(answer.replies, "no")
            return answer
        self._check(commands, ends_at)
        answer = self._connection.ask([["MULTI"], *commands, ["EXEC"]], ends_at)
        queued, executed = answer.replies[:-1], answer.replies[-1]
        self._raise_first_error([*queued, executed], "no", _NO_TRANSACTION)
        self._raise_first_error(executed, "unknown")  # the commands before it were carried out
        return Answer(executed, answer.truncated)

    def run_script(
        self, text: str, keys: Sequence[str], arguments: Sequence[str | bytes | int | float], ends_at: float
    ) -> Answer:
        """EVAL, in a write session only."""
        if self.mode == "read":
            raise Refused("a script is not run in a read session: it could write")
        answer = self._connection.ask([["EVAL", text, len(keys), *keys, *arguments]], ends_at)
        reply = answer.replies[0]
        if isinstance(reply, ServerError):
            untouched = reply.word in _BEFORE_ANY_WRITE or "compiling script" in reply.message
            self._raise_first_error(answer.replies, "no" if untouched else "unknown")
        return answer

    def identity(self) -> Identity:
        address = self._connection.address
        facts: dict[str, Json] = {"addr": str(address), "db": address.db}
        replies = self._connection.ask([["INFO", "server"], ["INFO", "replication"]], time.monotonic() + 5).replies
        info: dict[str, Json] = {}
        for reply in replies:
            info |= info_table(reply.decode("utf-8", "replace")) if isinstance(reply, bytes) else {}
        facts |= {name: info[name] for name in _IDENTITY_FIELDS if name in info}
        words = ["Redis", info.get("redis_version"), address, f"db {address.db}", _ROLES.get(str(info.get("role")))]
        return Identity(" ".join(str(word) for word in words if word), facts)

    def cancel(self) -> None:
        self._connection.cancel()

    def close(self) -> None:
        self._connection.close()

    def _check(self, commands: Sequence[Command], ends_at: float) -> None:
        if len(commands) > _LARGEST_REQUEST:
            raise Refused(f"{len(commands)} commands at once; at most {_LARGEST_REQUEST} are sent in one go")
        for command in commands:
            if complaint := complaint_about(command):
                raise Refused(complaint)
        if self.mode == "read":
            self._refuse_writes(commands, ends_at)

    def _refuse_writes(self, commands: Sequence[Command], ends_at: float) -> None:
        for command in commands:
            effect, why = effect_of(command)
            if effect > Effect.touch:
                raise Refused(f"{command[0]!s} is not sent in a read session: {why}")
        self._ask_the_server_which_write(commands, ends_at)
        for command in commands:
            if self._flags.get(str(command[0]).upper()) and effect_of(command)[0] is Effect.read:
                raise Refused(f"{command[0]!s} is not sent in a read session: this server says that it writes")

    def _ask_the_server_which_write(self, commands: Sequence[Command], ends_at: float) -> None:
        names = sorted({str(command[0]).upper() for command in commands} - self._flags.keys())
        if not names:
            return
        rows = self._connection.ask([["COMMAND", "INFO", *names]], ends_at).replies[0]
        # A server that hides COMMAND INFO leaves us our own list, which is the stricter one.
        known = rows if isinstance(rows, list) and len(rows) == len(names) else [None] * len(names)
        for name, row in zip(names, known, strict=True):
            self._flags[name] = isinstance(row, list) and len(row) > 2 and b"write" in (row[2] or [])

    def _raise_first_error(
        self, replies: Sequence[object], happened: Literal["no", "unknown"], hints: Mapping[str, str] | None = None
    ) -> None:
        for reply in replies:
            if isinstance(reply, ServerError):
                hint = (hints or {}).get(reply.word, "")
                raise TargetError(reply.word, f"{self._connection.address}: {reply.message}{hint}", happened)


def connect(target: Target, mode: Mode) -> RedisSession:
    """Open a session. Raises TargetError with happened 'no'."""
    timeout = target.settings.get("connect_timeout", _CONNECT_TIMEOUT)
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= 60:
        raise UsageError(f"target {target.name!r}: connect_timeout is {timeout!r}; expected seconds, up to 60")
    return RedisSession(open_connection(address_from(target), float(timeout)), target, mode)


def address_from(target: Target) -> Address:
    """`host port db username password tls ca`, or `url: redis[s]://user:password@host:port/db` for all but ca."""
    settings = {
        **_url_settings(target),
        **{name: value for name, value in target.settings.items() if value is not None},
    }
    port, db = settings.get("port", 6379), settings.get("db", 0)
    for name, value, most in (("port", port, 65535), ("db", db, 2**31)):
        if not str(value).isascii() or not str(value).isdigit() or int(value) > most:
            raise UsageError(f"target {target.name!r}: {name} is {value!r}; expected a number up to {most}")
    return Address(
        host=str(settings.get("host") or "127.0.0.1"),
        port=int(port),
        db=int(db),
        username=_text(settings, "username"),
        password=_text(settings, "password"),
        tls=settings.get("tls") is True,
        ca=_text(settings, "ca"),
    )


def _url_settings(target: Target) -> dict[str, Json]:
    url = target.settings.get("url")
    if url is None:
        return {}
    try:
        parts = urlsplit(str(url))
        port = parts.port
    except ValueError as fault:
        raise UsageError(f"target {target.name!r}: the url cannot be read: {fault}") from fault
    if parts.scheme not in ("redis", "rediss"):
        raise UsageError(
            f"target {target.name!r}: the url begins with {parts.scheme!r}; expected redis:// or rediss://"
        )
    found = {"host": parts.hostname, "port": port, "db": parts.path.strip("/") or None}
    secret = {
        "username": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
    }
    wanted: dict[str, Json] = {**found, **secret, "tls": parts.scheme == "rediss"}
    return {name: value for name, value in wanted.items() if value not in (None, "")}


def _text(settings: Mapping[str, Json], name: str) -> str | None:
    value = settings.get(name)
    return None if value in (None, "") else str(value)


_IDENTITY_FIELDS = ("run_id", "redis_version", "role", "tcp_port", "process_id")
_ROLES = {"master": "master", "slave": "replica"}
