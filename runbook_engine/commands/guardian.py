"""Runs one local command beneath itself, so that all it starts can be ended with it, even when the engine was killed.

It runs as a script of its own (`python -I -S guardian.py CONTROL KEEP DRAINS COMMAND…`), imports nothing of the
package, and must never outlive its command. As the subreaper of everything below it, no descendant escapes it by a new
session or a double fork.

Control socket, from here: `E errno` the command could not be started, `X code` it ended, `S count` processes that could
not be ended. To here: `K` end everything; end of file, the engine is gone: a read is ended, a write (`keep`) goes on.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
TERM_GRACE = 1.0
LEFTOVER_GRACE = 0.3
KILL_LIMIT = 2.0
TICK = 0.05
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


class Guardian:
    """One command and everything below it."""

    def __init__(self, control: int, keep: bool, drains: list[int]) -> None:
        self.control = control
        self.keep = keep
        self.drains = drains
        self.wakeup = _wake_on_child()
        self.command = 0
        self.code: int | None = None

    def start(self, command: list[str]) -> int:
        """Start it in a session of its own; answers 0 or the errno of exec."""
        failed, fail = os.pipe()
        self.command = os.fork()
        if self.command == 0:
            _become(command, fail)
        os.close(fail)
        errno = os.read(failed, 16)
        os.close(failed)
        return int(errno or b"0")

    def watch(self) -> None:
        """Until the command ended by itself, the engine asks for its end, or the engine is gone."""
        engine = [self.control]
        while self.reap() and self.code is None:
            ready = readable([self.wakeup, *engine, *([] if engine else self.drains)], None)
            _empty(self.wakeup, ready)
            if self.control in ready:
                if os.read(self.control, 1) == b"K" or not self.keep:
                    return self.end(TERM_GRACE)
                engine = []
            self._drain(ready)
        self.tell(f"X {self.code}")
        return None if self.keep else self.end_leftovers()

    def _drain(self, ready: list[int]) -> None:
        """Without the engine nobody reads; a write must not die of a broken pipe for that."""
        for fd in [fd for fd in self.drains if fd in ready]:
            if not os.read(fd, 65536):
                self.drains.remove(fd)

    def end(self, grace: float) -> None:
        """TERM to everything, KILL to what is still there after the grace, and say how it ended."""
        for pid in descendants(os.getpid()):
            _send(pid, signal.SIGTERM)
            _send(pid, signal.SIGCONT)
        self._wait_for_all(grace)
        survivors = self.kill_all()
        self.tell(f"X {self.code if self.code is not None else -signal.SIGKILL}")
        self.tell(f"S {survivors}")

    def end_leftovers(self) -> None:
        self._wait_for_all(LEFTOVER_GRACE)
        self.kill_all()

    def kill_all(self) -> int:
        """Freeze first, so that nobody can fork away between the look and the kill."""
        limit = time.monotonic() + KILL_LIMIT
        while self.reap() and time.monotonic() < limit:
            frozen: set[int] = set()
            while (found := set(descendants(os.getpid()))) - frozen and time.monotonic() < limit:
                for pid in found - frozen:
                    _send(pid, signal.SIGSTOP)
                frozen |= found
            for pid in frozen:
                _send(pid, signal.SIGKILL)
            self._wait_for_all(TICK)
        return len(descendants(os.getpid())) if self.reap() else 0

    def reap(self) -> bool:
        """Collect the dead; False when nothing is left below."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.command:
                self.code = os.waitstatus_to_exitcode(status)

    def tell(self, line: str) -> None:
        try:
            os.write(self.control, line.encode() + b"\n")
        except OSError:
            self.drains.clear()  # nobody listens any more

    def _wait_for_all(self, seconds: float) -> None:
        limit = time.monotonic() + seconds
        while self.reap() and (left := limit - time.monotonic()) > 0:
            ready = readable([self.wakeup], min(left, TICK))
            _empty(self.wakeup, ready)


def descendants(root: int) -> list[int]:
    """Everything below `root` that still runs; zombies only wait for their parent."""
    parents: dict[int, tuple[int, str]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as stat:
                    state, parent = stat.read().rpartition(")")[2].split()[:2]
            except (OSError, ValueError):
                continue
            parents[int(name)] = (int(parent), state)
    found = [root]
    for pid in found:
        found.extend(child for child, (parent, _) in parents.items() if parent == pid)
    return [pid for pid in found[1:] if parents[pid][1] not in "ZX"]


def readable(fds: list[int], seconds: float | None) -> list[int]:
    """Which can be read, by `poll`: `select` refuses descriptors from 1024 on."""
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(None if seconds is None else max(1, int(seconds * 1000)))]


def _wake_on_child() -> int:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return reader


def _empty(fd: int, ready: list[int]) -> None:
    if fd in ready:
        os.read(fd, 4096)


def _become(command: list[str], fail: int) -> None:
    try:
        signal.set_wakeup_fd(-1)
        os.setsid()
        for number in (*IGNORED, signal.SIGPIPE, signal.SIGCHLD, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.execvp(command[0], command)
    except OSError as error:
        os.write(fail, str(error.errno).encode())
    finally:
        os._exit(127)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _let_go_of_streams() -> None:
    """The command alone holds its pipes: when it and its children are gone, the engine must see the end of file."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)


def main(control: int, keep: bool, drains: list[int], command: list[str]) -> None:
    for fd in (control, *drains):
        os.set_inheritable(fd, False)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    guardian = Guardian(control, keep, drains)
    errno = guardian.start(command)
    _let_go_of_streams()
    if errno:
        guardian.tell(f"E {errno}")
    else:
        guardian.watch()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "keep", [int(fd) for fd in sys.argv[3].split(",") if fd], sys.argv[4:])
