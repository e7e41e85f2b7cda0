"""One connection to a Redis server: what is asked is sent once, and every wait ends by the caller's deadline.

The protocol is redis-py's, behind redis_link. It must never reconnect: a loss is the caller's to judge.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import RedisError, ResponseError

from ..errors import TargetError
from .link import Link

Argument = str | bytes | int | float
Command = Sequence[Argument]
Reply = Any  # int | bytes | None | ServerError | list of them

MOST_ELEMENTS = 10_000
MOST_BYTES = 1 << 20
_LARGEST_REPLY = 64 << 20  # on the wire; redis-py takes up to six times that to hold it
_DEEPEST = 16
_LISTEN = 0.5  # seconds for a server to speak first
_WORD = re.compile(r"[A-Z][A-Z0-9]+")
_WORD_IN_SCRIPT = re.compile(r"@user_script: ?\d+: -?([A-Z][A-Z0-9]+) ")


@dataclass(frozen=True, slots=True)
class ServerError:
    """An error reply. `word` is its first word, which is stable across Redis 6 to 8 and Valkey."""

    word: str
    message: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The replies in the order of the commands. `truncated` says that something was left out of them."""

    replies: list[Reply]
    truncated: bool


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens and as whom to talk to it."""

    host: str = "127.0.0.1"
    port: int = 6379
    db: int = 0
    username: str | None = None
    password: str | None = None
    tls: bool = False
    ca: str | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisConnection:
    """An open connection. Used by one thread at a time, except `cancel`."""

    def __init__(self, link: Link, address: Address) -> None:
        self.address = address
        self._link = link
        self._cancelled = False
        self._broken: str | None = None

    def ask(
        self, commands: Sequence[Command], ends_at: float, elements: int = MOST_ELEMENTS, size: int = MOST_BYTES
    ) -> Answer:
        """Send all commands at once and read their replies. `ends_at` is monotonic. An error reply is a value."""
        if self._broken or self._cancelled:
            why = self._broken or "the call was cancelled"
            raise TargetError("cancelled" if self._cancelled else "reset", f"{self.address}: {why}", "no")
        if time.monotonic() >= ends_at:
            raise TargetError("timeout", f"{self.address}: no time was left to ask", "no")
        self._link.allow(ends_at, max(_LARGEST_REPLY, 4 * size))
        try:
            return self._exchange(commands, _Room(elements, size))
        except (RedisError, OSError, ValueError, RecursionError) as fault:
            raise self._lost(fault) from fault

    def _exchange(self, commands: Sequence[Command], room: _Room) -> Answer:
        self._link.send([_words(command) for command in commands])
        replies = [room.keep(self._link.read()) for _ in commands]
        return Answer(replies, room.truncated)

    def _lost(self, fault: Exception) -> TargetError:
        reason = self._link.fault or fault
        self.close()
        self._broken = f"the connection was lost before: {reason}"
        if self._cancelled:
            return TargetError("cancelled", f"{self.address}: the call was cancelled", "unknown")
        if isinstance(reason, OSError):
            return as_target_error(reason, self.address, "unknown")
        return TargetError("reset", f"{self.address}: the server does not speak Redis: {reason}", "unknown")

    def cancel(self) -> None:
        """Make a call in flight fail now. Redis has no cancel of its own for one call of one client."""
        self._cancelled = True
        self._link.hang_up()

    def close(self) -> None:
        self._broken = self._broken or "the connection is closed"  # redis-py would open another one
        self._link.close()


def open_connection(address: Address, timeout: float) -> RedisConnection:
    """Connect, log in and choose the database. Raises TargetError with happened 'no'."""
    ends_at = time.monotonic() + timeout
    connection = RedisConnection(_open(address, timeout), address)
    try:
        _log_in(connection, ends_at)
    except TargetError as fault:
        connection.close()
        reason = _reason_to_hang_up(address, ends_at) if fault.code == "reset" else None
        if reason:
            raise TargetError(reason.word, f"{address}: {reason.message}", "no") from fault
        raise TargetError(fault.code, fault.message, "no") from fault
    return connection


def _open(address: Address, timeout: float) -> Link:
    try:
        link = Link(address.host, address.port, _tls_context(address.ca) if address.tls else None, timeout)
        link.open()
    except (OSError, ValueError) as fault:
        raise as_target_error(fault, address, "no") from fault
    return link


def _reason_to_hang_up(address: Address, ends_at: float) -> ServerError | None:
    """What a server says to whoever comes and is silent. One that has no room for a client says so and closes; what was
    sent to it by then makes the kernel drop its words, and all that is left is a reset."""
    try:
        link = _open(address, max(0.05, ends_at - time.monotonic()))
    except TargetError:
        return None
    try:
        link.allow(min(ends_at, time.monotonic() + _LISTEN), _LARGEST_REPLY)
        said = link.read()
    except (RedisError, OSError, ValueError):
        return None
    finally:
        link.close()
    return error_from(str(said)) if isinstance(said, ResponseError) else None


def error_from(line: str) -> ServerError:
    """An error reply's text, with the word that says what kind it is."""
    first = line.split(" ", 1)[0]
    word = first if _WORD.fullmatch(first) else "ERR"
    if word == "ERR" and "max number of clients" in line:
        word = "MAXCLIENTS"
    if word == "ERR" and (inner := _WORD_IN_SCRIPT.search(line)):
        word = inner[1]  # Redis 6 wraps the error of a command that a script called
    return ServerError(word, line)


def as_target_error(fault: Exception, address: Address, happened: Literal["no", "unknown"]) -> TargetError:
    return TargetError(_code_of(fault), f"{address}: {str(fault) or type(fault).__name__}", happened)


def _code_of(fault: Exception) -> str:
    match fault:
        case socket.gaierror() | UnicodeError():
            return "dns"
        case TimeoutError():
            return "timeout"
        case ssl.SSLError():
            return "tls"
        case ConnectionRefusedError():
            return "refused"
        case OSError() if fault.errno in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN):
            return "unreachable"
        case _:
            return "reset"


def _tls_context(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as fault:
        raise ssl.SSLError(f"the certificate file {ca!r} cannot be used: {fault}") from fault


def _words(command: Command) -> list[bytes]:
    return [part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape") for part in command]


def _log_in(connection: RedisConnection, ends_at: float) -> None:
    address, needed = connection.address, list[Command]()
    if address.password is not None:
        user = [address.username] if address.username else []
        needed.append(["AUTH", *user, address.password])
    if address.db:
        needed.append(["SELECT", address.db])
    replies = connection.ask([*needed, ["CLIENT", "SETNAME", "runbook"]], ends_at).replies
    for index, reply in enumerate(replies):
        if isinstance(reply, ServerError) and (index < len(needed) or reply.word in ("NOAUTH", "MAXCLIENTS")):
            raise TargetError(reply.word, f"{address}: {reply.message}", "no")


@dataclass(slots=True)
class _Room:
    """What of the replies is kept. redis-py has each reply whole in memory first, up to the limit of the socket."""

    elements: int
    size: int
    truncated: bool = False

    def keep(self, reply: Reply, depth: int = 0) -> Reply:
        match reply:
            case ResponseError():
                return error_from(str(reply))
            case bytes():
                kept = reply[: self.size]
                self.size -= len(kept)
                self.truncated = self.truncated or len(kept) < len(reply)
                return kept
            case list():
                return self._keep_items(reply, depth + 1)
            case _:
                return reply

    def _keep_items(self, items: list[Reply], depth: int) -> list[Reply]:
        if depth > _DEEPEST:
            raise ValueError(f"lists more than {_DEEPEST} deep")
        kept = []
        for item in items:
            if self.elements <= 0:
                self.truncated = True
                break
            self.elements -= 1
            kept.append(self.keep(item, depth))
        return kept
