# mypy: allow-untyped-calls
"""redis-py's connection, with a deadline over all its waits, a limit to what it reads, and nothing done by itself.

Its client is not used, because that retries. It must never log in, send or reconnect unless it is told to.
"""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from redis.backoff import NoBackoff
from redis.connection import Connection, DefaultParser
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

# Without its classes of errors redis-py hands every error over as the server wrote it, and takes none for a loss of
# the connection, as it otherwise does with LOADING and NOAUTH.
_PlainErrors = type("_PlainErrors", (DefaultParser,), {"EXCEPTION_CLASSES": {}})


class Link:
    """A connection that is opened once. Used by one thread at a time, except `hang_up`."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> None:
        self._connection = _Connection(host, port, tls, timeout)

    @property
    def fault(self) -> OSError | None:
        """What the socket said, which redis-py's errors do not tell."""
        bounded = self._connection.bounded
        return bounded.fault if bounded else self._connection.fault

    def open(self) -> None:
        """Connect, and send nothing. Raises OSError or ValueError."""
        try:
            self._connection.connect()
        except RedisError as fault:
            raise self.fault or ConnectionResetError(str(fault)) from fault

    def allow(self, ends_at: float, most: int) -> None:
        """Until when, and how many bytes, the next replies may take."""
        if self._connection.bounded:
            self._connection.bounded.allow(ends_at, most)

    def send(self, commands: Sequence[Sequence[bytes]]) -> None:
        """Send them at once. The name of a command is one word: redis-py would split it at a space."""
        self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)

    def read(self) -> Any:
        """The next reply: int, bytes, None, ResponseError, or a list of them."""
        try:
            return self._connection.read_response(disable_decoding=True)
        except ResponseError as refusal:
            return refusal

    def hang_up(self) -> None:
        if self._connection.bounded:
            self._connection.bounded.hang_up()

    def close(self) -> None:
        self._connection.disconnect()


class _Connection(Connection):
    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, timeout: float) -> None:
        super().__init__(
            host=host,
            port=port,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            socket_keepalive=True,
            parser_class=_PlainErrors,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            redis_connect_func=_attach_parser,
            protocol=2,
        )
        # redis-py's own TLS adds a named authority to those of the system instead of trusting it alone.
        self._tls = tls
        self.bounded: _BoundedSocket | None = None
        self.fault: OSError | None = None

    def _connect(self) -> _BoundedSocket:
        try:
            self.bounded = _BoundedSocket(self._open_socket())
        except OSError as fault:
            self.fault = fault
            raise
        return self.bounded

    def _open_socket(self) -> socket.socket:
        sock: socket.socket = super()._connect()
        try:
            return self._tls.wrap_socket(sock, server_hostname=self.host) if self._tls else sock
        except BaseException:
            sock.close()
            raise


def _attach_parser(connection: _Connection) -> None:
    """Instead of redis-py's own start, which sends HELLO, AUTH and CLIENT SETINFO."""
    connection._parser.on_connect(connection)


class _BoundedSocket:
    """The socket redis-py reads from: all waits together end by one deadline, and what may come in has a limit."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._ends_at = -math.inf
        self._most = self._room = 0
        self.fault: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def allow(self, ends_at: float, most: int) -> None:
        self._ends_at, self._most, self._room = ends_at, most, most

    def settimeout(self, timeout: float | None) -> None:
        """Nothing: a timeout for each single read would let a server that drips keep us forever."""

    def sendall(self, request: bytes) -> None:
        # A server at maxclients says so, closes, and resets what we send: its reason is still there to be read.
        with self._watched(), contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(request)

    def recv(self, size: int) -> bytes:
        with self._watched():
            chunk = self._sock.recv(size)
            self._count(len(chunk))
        return chunk

    def recv_into(self, buffer: bytearray) -> int:
        with self._watched():
            length = self._sock.recv_into(buffer)
            self._count(length)
        return length

    def hang_up(self) -> None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            left = self._ends_at - time.monotonic()
            if left <= 0:
                raise TimeoutError("no reply within the deadline")
            self._sock.settimeout(left)
            yield
        except TimeoutError as fault:
            self.fault = TimeoutError("no reply within the deadline")
            raise self.fault from fault
        except OSError as fault:
            self.fault = fault
            raise

    def _count(self, length: int) -> None:
        if length == 0:
            raise ConnectionResetError("the server closed the connection")
        self._room -= length
        if self._room < 0:
            raise OSError(f"the reply is larger than {self._most >> 20} MiB and was not read. Ask for a part of it")
