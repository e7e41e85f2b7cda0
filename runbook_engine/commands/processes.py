"""Runs one local child process to its end, its deadline or its cancellation, and leaves nothing of it behind.

It must never go through a shell by itself, never read without a limit, and never wait for a pipe that a grandchild
still holds. Each command runs below a small guardian process (`guardian.py`): only a subreaper sees descendants that
left by a new session or a double fork, only another process can end them when this one is killed, and were the engine
itself the subreaper, daemons that a step started on purpose would become its zombies. It costs about 20 ms a command.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import Refused, TargetError
from .output import OUTPUT_CAP, Capture, last_line

CHUNK = 64 * 1024
LINGER = 1.0
"""Seconds to go on reading after the command ended, for output that is still in the pipe."""
ENDING = 4.0
"""Seconds within which the guardian has ended everything; beyond it the guardian itself is killed."""

GUARDIAN = str(Path(__file__).with_name("guardian.py"))

INHERITED = frozenset(
    {
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "SSH_AUTH_SOCK",
        "KUBECONFIG",
        "XDG_RUNTIME_DIR",
        "DBUS_SESSION_BUS_ADDRESS",
        "DOCKER_HOST",
        "DOCKER_CONTEXT",
        "DOCKER_CONFIG",
        "DOCKER_CERT_PATH",
        "DOCKER_TLS_VERIFY",
        "DOCKER_API_VERSION",
    }
)

Ended = Literal["itself", "deadline", "cancelled"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended. `exit_code` is negative when a signal ended it; the `dropped` are bytes beyond the cap."""

    exit_code: int
    stdout: str
    stderr: str
    stdout_dropped: int
    stderr_dropped: int
    seconds: float


class Cancellation:
    """A bell that another thread may ring.

    It stays rung until one call has heard it, so that a ring just before a start is not lost.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        # Closed with the object and not by `close`: another thread may be waiting on the descriptor.
        weakref.finalize(self, os.close, self._fd)
        self._closed = False

    def fileno(self) -> int:
        return self._fd

    def ring(self) -> None:
        os.eventfd_write(self._fd, 1)

    def heard(self) -> bool:
        """Whether it was rung; asking silences it, unless it was closed."""
        with contextlib.suppress(BlockingIOError):
            return os.eventfd_read(self._fd) > 0 or self._closed
        return self._closed

    def close(self) -> None:
        """Ring for good: what is in flight ends, and nothing starts any more."""
        self._closed = True
        self.ring()


def inherited_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The few variables that a command may see of ours, and `extra`."""
    kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("LC_")}
    return {"PATH": os.defpath} | kept | {"TERM": "dumb"} | dict(extra or {})


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    deadline: float,
    stdin: bytes = b"",
    cwd: str | None = None,
    keep: bool = False,
    cancellation: Cancellation | None = None,
    output_cap: int = OUTPUT_CAP,
) -> Finished:
    """Run it within `deadline` seconds; an exit code of any value is an answer.

    `keep` is for writes: what they leave in the background stays, and they may finish when the engine is killed.
    Otherwise nothing that the command started outlives the call. Raises TargetError `not_found`, `not_allowed`,
    `timeout`, `cancelled`, and Refused for a NUL.
    """
    _refuse_impossible(argv, env)
    if cancellation is not None and cancellation.heard():
        raise TargetError("cancelled", f"{argv[0]}: cancelled before it was started", "no")
    child = _Child(argv, env, stdin, cwd, keep, output_cap)
    try:
        ended = child.watch(deadline, cancellation)
        return _answer(child, argv[0], ended, deadline)
    finally:
        child.close()


def _guardian(control: int, keep: bool, drains: Sequence[int]) -> list[str]:
    words = [str(control), "keep" if keep else "end", ",".join(map(str, drains))]
    return [sys.executable, "-I", "-S", GUARDIAN, *words]


class _Child:
    """One guardian with its command, and the three descriptors that are read from it."""

    def __init__(
        self, argv: Sequence[str], env: Mapping[str, str], stdin: bytes, cwd: str | None, keep: bool, output_cap: int
    ) -> None:
        self.started = time.monotonic()
        self.captures: dict[int, Capture] = {}
        self.said = b""
        self.control, theirs = socket.socketpair()
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        self.stdout, self.stderr = self.captures[out], self.captures[err] = Capture(output_cap), Capture(output_cap)
        self.open = {out, err, self.control.fileno()}
        drains = (out, err) if keep else ()
        source = _memory_file(stdin)
        try:
            self.guardian = subprocess.Popen(
                [*_guardian(theirs.fileno(), keep, drains), *argv],
                stdin=source,
                stdout=out_end,
                stderr=err_end,
                env=dict(env),
                cwd=cwd,
                pass_fds=(theirs.fileno(), *drains),
                start_new_session=True,
            )
        except OSError as error:
            self._close_streams()
            raise _not_started(argv[0], error.errno or 0, cwd) from error
        finally:
            theirs.close()
            for fd in (out_end, err_end, source):
                os.close(fd)

    def watch(self, deadline: float, cancellation: Cancellation | None) -> Ended:
        """Read until the command is over, and at the deadline or a cancellation make it so."""
        limit = self.started + deadline
        if self._read_until(limit, cancellation):
            self._read_until(time.monotonic() + LINGER, None, output_too=True)
            return "itself"
        ended: Ended = "cancelled" if cancellation is not None and cancellation.heard() else "deadline"
        with contextlib.suppress(OSError):
            self.control.send(b"K")
        self._read_until(time.monotonic() + ENDING, None, output_too=True, survivors_too=True)
        return ended

    def _read_until(
        self,
        limit: float,
        cancellation: Cancellation | None,
        output_too: bool = False,
        survivors_too: bool = False,
    ) -> bool:
        """True when it is over (and read to its end), False at the limit or a cancellation."""
        while not self._over(output_too, survivors_too):
            left = limit - time.monotonic()
            bell = [] if cancellation is None else [cancellation.fileno()]
            if left <= 0:
                return False
            ready = _readable([*self.open, *bell], left)
            for fd in ready:
                if fd in self.open:
                    self._read(fd)
            if cancellation is not None and cancellation.fileno() in ready:
                return False
        return True

    def _over(self, output_too: bool, survivors_too: bool) -> bool:
        told = self.control.fileno() not in self.open or (self.code is not None and not survivors_too)
        return told and not (output_too and self.open & self.captures.keys())

    def _read(self, fd: int) -> None:
        try:
            chunk = os.read(fd, CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            self.open.discard(fd)
        elif fd in self.captures:
            self.captures[fd].add(chunk)
        else:
            self.said += chunk

    @property
    def code(self) -> int | None:
        return self._told(b"X")

    @property
    def errno(self) -> int | None:
        return self._told(b"E")

    @property
    def survivors(self) -> int:
        return self._told(b"S") or 0

    def _told(self, word: bytes) -> int | None:
        for line in self.said.split(b"\n")[:-1]:
            if line.startswith(word):
                return int(line[2:])
        return None

    def close(self) -> None:
        """Let go; the end of file on the control socket tells a guardian that still runs to end everything."""
        self._close_streams()
        try:
            self.guardian.wait(ENDING)
        except subprocess.TimeoutExpired:
            self.guardian.kill()
            self.guardian.wait()

    def _close_streams(self) -> None:
        self.control.close()
        for fd in self.captures:
            os.close(fd)


def _readable(fds: Sequence[int], seconds: float) -> list[int]:
    """Which can be read, by `poll`: `select` refuses descriptors from 1024 on."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(max(1, int(seconds * 1000)))]


def _answer(child: _Child, name: str, ended: Ended, deadline: float) -> Finished:
    if child.errno is not None:
        raise _not_started(name, child.errno, None)
    if ended != "itself":
        raise _cut_short(child, name, ended, deadline)
    if child.code is None:
        raise TargetError("lost", f"{name}: its guardian process was killed, nobody saw how it ended")
    return Finished(
        exit_code=child.code,
        stdout=child.stdout.text(),
        stderr=child.stderr.text(),
        stdout_dropped=child.stdout.dropped,
        stderr_dropped=child.stderr.dropped,
        seconds=time.monotonic() - child.started,
    )


def _cut_short(child: _Child, name: str, ended: Ended, deadline: float) -> TargetError:
    why = f"no end within {deadline:g} s, so it was ended" if ended == "deadline" else "cancelled, so it was ended"
    left = f"; {child.survivors} of its processes could not be ended" if child.survivors else ""
    spoken = last_line(child.stderr.text())
    code = "timeout" if ended == "deadline" else "cancelled"
    return TargetError(code, f"{name}: {why}{left}" + (f"; its last word was {spoken!r}" if spoken else ""))


def _not_started(name: str, errno: int, cwd: str | None) -> TargetError:
    if cwd is not None and not os.path.isdir(cwd):
        return TargetError("not_found", f"{name}: its working folder {cwd!r} does not exist here", "no")
    reason = os.strerror(errno).lower()
    code = {2: "not_found", 13: "not_allowed", 7: "too_long"}.get(errno, "not_started")
    return TargetError(code, f"{name}: {reason}; it was not started", "no")


def _refuse_impossible(argv: Sequence[str], env: Mapping[str, str]) -> None:
    for text in (*argv, *env.keys(), *env.values()):
        if "\0" in text:
            raise Refused(f"{argv[0]!r}: a NUL byte cannot be passed to a command, found in {text[:40]!r}")
        try:
            os.fsencode(text)
        except UnicodeEncodeError as error:
            raise Refused(f"{argv[0]!r}: half a Unicode character cannot be passed: {text[:40]!r}") from error


def _memory_file(content: bytes) -> int:
    """A file in memory as stdin: unlike a pipe it cannot fill up, so nobody has to feed it."""
    if not content:
        return os.open(os.devnull, os.O_RDONLY)
    fd = os.memfd_create("stdin")
    remaining = memoryview(content)
    while remaining:
        remaining = remaining[os.write(fd, remaining) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
