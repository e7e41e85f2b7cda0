"""One HTTP request and its response on a socket of our own, under one deadline and one byte limit.

It must never retry, and never decompress or read beyond its limits. What failed before the request left says so
(`happened` is `no`); after that nobody can know.
"""

from __future__ import annotations

import http.client
import queue
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from .errors import TargetError
from .executor import Json

BODY_CAP = 1024 * 1024
CHUNK = 64 * 1024
CONNECT_TIMEOUT = 3.0
RESOLVE_TIMEOUT = 5.0
HEAD_ERRORS = (http.client.HTTPException, OSError, ValueError)

Address = tuple[socket.AddressFamily, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of a target."""

    scheme: str
    host: str
    port: int
    ca: str | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Json]) -> Origin:
        url = str(settings.get("url") or "")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise TargetError("settings", f"http target: url {url!r}: {error}", "no") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise TargetError("settings", f"http target: url {url!r} should look like http://localhost:8090", "no")
        if parts.path not in ("", "/"):
            raise TargetError("settings", f"http target: url {url!r} must have no path; it belongs into the step", "no")
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
        return cls(parts.scheme, host, port or (443 if parts.scheme == "https" else 80), settings.get("ca"))

    @property
    def default_port(self) -> int:
        return 443 if self.scheme == "https" else 80

    @property
    def key(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == self.default_port else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}"

    def tls(self) -> ssl.SSLContext | None:
        """One context a session: making one costs 20 ms."""
        if self.scheme == "http":
            return None
        try:
            return ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise TargetError("settings", f"http target: ca {self.ca!r} cannot be used: {error}", "no") from error


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body was kept up to the limit."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    truncated: bool

    def text(self) -> str:
        found = re.search(r"charset=\"?([\w.:-]+)", self.headers.get("content-type", ""))
        try:
            return self.body.decode(found[1] if found else "utf-8", "replace")
        except (LookupError, UnicodeError):
            return self.body.decode("utf-8", "replace")


def resolve(origin: Origin) -> list[Address]:
    """The addresses behind its name, in a thread of its own: the system's resolver knows no deadline."""
    answers: queue.SimpleQueue[list[Address] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
            answers.put([(family, address) for family, _, _, _, address in found])
        except OSError as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name="resolve").start()
    try:
        found = answers.get(timeout=RESOLVE_TIMEOUT)
    except queue.Empty as error:
        raise TargetError("dns", f"{origin.url}: no answer from the resolver", "no") from error
    if isinstance(found, OSError):
        raise TargetError("dns", f"{origin.url}: the name cannot be resolved: {found.strerror}", "no") from found
    return found


class Exchange:
    """Performs one request at a time; another thread may cancel the one in flight."""

    def __init__(self, origin: Origin, addresses: Sequence[Address], context: ssl.SSLContext | None) -> None:
        self._origin = origin
        self._addresses = addresses
        self._context = context
        self._lock = threading.Lock()
        self._plug: socket.socket | None = None
        self._ended: Literal["", "cancelled", "timeout"] = ""

    def perform(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, limit: float) -> Response:
        """One request until `limit` (monotonic)."""
        self._ended = ""
        place = f"{method} {self._origin.url}{path}"
        timer = threading.Timer(max(0.0, limit - time.monotonic()), self._end, ("timeout",))
        timer.daemon = True
        timer.start()
        connection = http.client.HTTPConnection(self._origin.host, self._origin.port)
        try:
            connection.sock = self._connect(place, limit)
            return self._converse(connection, method, path, headers, body, place)
        finally:
            timer.cancel()
            connection.close()
            self._unplug()

    def cancel(self) -> None:
        self._end("cancelled")

    def _end(self, why: Literal["cancelled", "timeout"]) -> None:
        """Shut the connection down, which wakes whoever reads from it."""
        with self._lock:
            self._ended = self._ended or why
            if self._plug is not None:
                try:
                    self._plug.shutdown(socket.SHUT_RDWR)
                except OSError:
                    return  # not connected yet, or already gone

    def _unplug(self) -> None:
        with self._lock:
            if self._plug is not None:
                self._plug.close()
                self._plug = None

    def _connect(self, place: str, limit: float) -> socket.socket:
        last: OSError = OSError("the name has no address")
        for family, address in self._addresses:
            if self._ended:
                break
            try:
                return self._encrypted(self._open(family, address, limit), place)
            except OSError as error:
                last = error
                self._unplug()
        raise self._failure(last, place, sent=False) from last

    def _open(self, family: socket.AddressFamily, address: tuple[Any, ...], limit: float) -> socket.socket:
        plug = socket.socket(family, socket.SOCK_STREAM)
        try:
            # A second handle on the same connection: wrapping in TLS replaces the first while another thread looks.
            with self._lock:
                self._plug = plug.dup()
            plug.settimeout(max(0.001, min(CONNECT_TIMEOUT, limit - time.monotonic())))
            plug.connect(address)
            plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plug.settimeout(max(0.001, limit - time.monotonic()))
        except OSError:
            plug.close()
            raise
        return plug

    def _encrypted(self, plug: socket.socket, place: str) -> socket.socket:
        if self._context is None:
            return plug
        try:
            return self._context.wrap_socket(plug, server_hostname=self._origin.host)
        except (OSError, ValueError) as error:
            plug.close()
            if self._ended or isinstance(error, TimeoutError):
                raise self._failure(error, place, sent=False) from error
            reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error
            raise TargetError("tls", f"{place}: no TLS connection: {reason}", "no") from error

    def _converse(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
        place: str,
    ) -> Response:
        if self._ended:
            raise self._failure(TimeoutError(), place, sent=False)
        try:
            all_headers = {"Host": self._origin.authority, "Connection": "close", **headers}
            connection.request(method, path, body=body, headers=all_headers)
            response = connection.getresponse()
        except HEAD_ERRORS as error:
            raise self._failure(error, place, sent=True, silent=True) from error
        try:
            read = _read(response)
        except HEAD_ERRORS as error:
            raise self._failure(error, place, sent=True) from error
        if self._ended:  # a body without a length ends with the connection, also when we shut it down
            raise self._failure(TimeoutError(), place, sent=True)
        return read

    def _failure(self, error: Exception, place: str, *, sent: bool, silent: bool = False) -> TargetError:
        """What went wrong, in the closed list's words."""
        happened: Literal["no", "unknown"] = "unknown" if sent else "no"
        if self._ended == "cancelled":
            return TargetError("cancelled", f"{place}: cancelled", happened)
        if self._ended == "timeout" or isinstance(error, TimeoutError):
            if silent:
                return TargetError("empty", f"{place}: the connection was accepted, but no answer came", happened)
            what = "the body did not end in time" if sent else "no connection in time"
            return TargetError("timeout", f"{place}: {what}", happened)
        if silent and isinstance(error, http.client.RemoteDisconnected):
            return TargetError("empty", f"{place}: the connection was closed without an answer", happened)
        code, what = _transport_error(error, sent)
        return TargetError(code, f"{place}: {what}", happened)


def _transport_error(error: Exception, sent: bool) -> tuple[str, str]:
    match error:
        case ConnectionRefusedError():
            return "refused", "connection refused"
        case ConnectionResetError() | BrokenPipeError() | ConnectionAbortedError():
            return "reset", "the connection was reset"
        case http.client.IncompleteRead():
            return "reset", "the connection was closed in the middle of the body"
        case ssl.SSLError():
            return "tls", f"TLS failed: {error.reason}"
        case http.client.HTTPException() | ValueError():
            return "protocol", f"what came is not HTTP: {type(error).__name__}"
        case _:
            return "reset" if sent else "unreachable", str(getattr(error, "strerror", None) or error).lower()


def _read(response: http.client.HTTPResponse) -> Response:
    """The body up to the limit; a compressed one is decompressed up to the same limit."""
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = bytearray()
    while len(body) <= BODY_CAP and (chunk := response.read1(CHUNK)):
        body += chunk
    # `read1` does not complain when the connection ends too early.
    if response.length and len(body) <= BODY_CAP:
        raise http.client.IncompleteRead(bytes(body), response.length)
    kept, truncated = bytes(body[:BODY_CAP]), len(body) > BODY_CAP
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        kept, more = _inflate(kept)
        truncated = truncated or more
    return Response(response.status, headers, kept, truncated)


def _inflate(data: bytes) -> tuple[bytes, bool]:
    """Decompressed up to the limit, and whether there was more; what cannot be decompressed stays as it is."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        plain = inflater.decompress(data, BODY_CAP)
    except zlib.error:
        return data, False
    return plain, bool(inflater.unconsumed_tail)
