"""Outlives the supervisor by a moment: when its standard input ends, it ends every process that is still recorded.

Standard library only, started as a plain file, so that it is small and starts at once. It must never end a process
that was not recorded, nor one that took over a recorded pid.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time


def main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    recorded: dict[int, tuple[str, str]] = {}
    for line in sys.stdin:
        word, pid, name = line.split()
        if word == "+":
            recorded[int(pid)] = (started(int(pid)), name)
        else:
            recorded.pop(int(pid), None)
    end_all(recorded)
    for folder in sys.argv[1:]:
        shutil.rmtree(folder, ignore_errors=True)


def end_all(recorded: dict[int, tuple[str, str]]) -> None:
    """PostgreSQL is asked first (SIGQUIT is its 'at once'): killed outright it would leave its shared memory behind."""
    for pid, (since, name) in recorded.items():
        send(pid, since, signal.SIGQUIT if name == "postgres" else signal.SIGKILL)
    deadline = time.monotonic() + 1.2
    while time.monotonic() < deadline and any(started(pid) == since != "" for pid, (since, _) in recorded.items()):
        time.sleep(0.02)
    for pid, (since, _) in recorded.items():
        send(pid, since, signal.SIGKILL)


def send(pid: int, since: str, number: signal.Signals) -> None:
    if since and started(pid) == since:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def started(pid: int) -> str:
    """When the process began, in clock ticks; empty when it is gone or only a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return "" if fields[0] in "ZX" else fields[19]


if __name__ == "__main__":
    main()
