"""One service of the sandbox: its processes, how they start, stop and scale, and what `docker inspect` would say."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import TargetError

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one process of a service is started and ended. `ready` waits for a server that cannot tell by itself."""

    command: Callable[[], list[str]]
    log_file: Path
    desired: int = 1
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 10.0
    ready: Callable[[subprocess.Popen[bytes]], None] | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Process:
    popen: subprocess.Popen[bytes]
    started_at: float
    image: str | None = None
    cpu: float = 0.0
    ticks: int = 0
    looked: float = 0.0


class Service:
    """Owns the processes of one service. Every pid is recorded with the guard before anybody relies on it."""

    def __init__(self, name: str, recipe: Recipe, record: Callable[[str, int, str], None]) -> None:
        self.name = name
        self.recipe = recipe
        self.desired = recipe.desired
        self.restarts = 0
        self.exit_code: int | None = None
        self.oom_killed = False
        self.image: str | None = None  # what a process is started from
        self.restart_after: float | None = None  # seconds, when whoever dies is to be replaced
        self.processes: list[Process] = []
        self._record = record
        self._due: list[float] = []
        self._lock = threading.RLock()

    def start(self) -> None:
        with self._lock:
            self.reap()
            self._renew()
            self._ensure()

    def stop(self) -> None:
        with self._lock:
            self._due.clear()
            self._end(list(self.processes))

    def restart(self, between: Callable[[], object] = lambda: None) -> None:
        with self._lock:
            self.stop()
            between()
            self._renew()
            self._ensure()

    def scale(self, desired: int) -> None:
        with self._lock:
            self.reap()
            self.desired = desired
            self._end(self.processes[desired:])
            self._ensure()

    def kill(self, number: int) -> None:
        """As the kernel would: nobody is asked, nothing is waited for, nobody is replaced."""
        with self._lock:
            self._due.clear()
            for process in self.processes:
                process.popen.send_signal(number)
            for process in self.processes:
                process.popen.wait(10)
            self.reap()

    def send(self, number: int) -> None:
        """A signal that nobody need die of: stop and continue."""
        for process in list(self.processes):
            process.popen.send_signal(number)

    def tick(self) -> None:
        """Called now and then: notices the dead, replaces them where that is wanted, measures the living."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self.reap()
            due = [moment for moment in self._due if moment <= time.monotonic()]
            self._due = [moment for moment in self._due if moment > time.monotonic()]
            for _ in due:
                self.restarts += 1
                os.close(self._spawn()[1])  # whether a replacement gets ready is not waited for
            for process in self.processes:
                _measure(process)
        finally:
            self._lock.release()

    def reap(self) -> None:
        for process in list(self.processes):
            code = process.popen.poll()
            if code is None:
                continue
            self._forget(process, code)
            if self.restart_after is not None:
                self._due.append(time.monotonic() + self.restart_after)

    def status(self) -> dict[str, Any]:
        alive = [process for process in list(self.processes) if process.popen.poll() is None]
        rows = [
            {
                "pid": process.popen.pid,
                "started_at": _iso(process.started_at),
                "rss": resident(process.popen.pid),
                "cpu": process.cpu,
                "image": process.image,
            }
            for process in alive
        ]
        return {
            "running": len(alive),
            "desired": self.desired,
            "restarts": self.restarts,
            "exit_code": self.exit_code,
            "oom_killed": self.oom_killed,
            "started_at": _iso(max(process.started_at for process in alive)) if alive else None,
            "cpu": round(sum(process.cpu for process in alive), 1),
            "rss": sum(resident(process.popen.pid) for process in alive),
            "image": next((process.image for process in alive), self.image),
            "images": sorted({process.image for process in alive if process.image}),
            "processes": rows,
        }

    def _renew(self) -> None:
        """Started by hand: what Docker counts and remembers begins anew."""
        self._due.clear()
        if len(self.processes) < self.desired:
            self.restarts, self.exit_code, self.oom_killed = 0, None, False

    def _ensure(self) -> None:
        fresh = [self._spawn() for _ in range(self.desired - len(self.processes))]
        for process, pipe in fresh:
            self._wait_ready(process, pipe)

    def _spawn(self) -> tuple[Process, int]:
        read, write = os.pipe()
        try:
            with self.recipe.log_file.open("ab") as out:
                popen = subprocess.Popen(
                    [*self.recipe.command(), *([] if self.recipe.ready else ["--ready", str(write)])],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    pass_fds=() if self.recipe.ready else (write,),
                    start_new_session=True,
                    **self.recipe.options,
                )
        finally:
            os.close(write)
        process = Process(popen, time.time(), self.image)
        self._record("+", popen.pid, self.name)
        self.processes.append(process)
        return process, read

    def _wait_ready(self, process: Process, pipe: int) -> None:
        try:
            if self.recipe.ready:
                self.recipe.ready(process.popen)
            elif not select.select([pipe], [], [], 20)[0] or not os.read(pipe, 1):
                raise TargetError("start", f"{self.name} did not start: {_last_line(self.recipe.log_file)}")
        finally:
            os.close(pipe)

    def _end(self, processes: list[Process]) -> None:
        for process in processes:
            process.popen.send_signal(self.recipe.stop_signal)
        deadline = time.monotonic() + self.recipe.stop_timeout
        for process in processes:
            try:
                process.popen.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.popen.send_signal(signal.SIGQUIT)
                time.sleep(0.1)
                process.popen.kill()
                process.popen.wait(10)
            self._forget(process, process.popen.returncode)

    def _forget(self, process: Process, code: int) -> None:
        self.processes.remove(process)
        self.exit_code = code if code >= 0 else 128 - code
        mark = oom_mark(self.recipe.log_file, process.popen.pid)
        self.oom_killed = mark.exists()
        mark.unlink(missing_ok=True)
        self._record("-", process.popen.pid, self.name)


def _last_line(log_file: Path) -> str:
    lines = log_file.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), f"{log_file} is empty")


def oom_mark(log_file: Path, pid: int) -> Path:
    """What a process leaves that plays the victim of the kernel's OOM killer: only a runtime could tell otherwise."""
    return log_file.with_name(f"{log_file.stem}.{pid}.oom")


def stand_in(module: str, folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"runbook_engine.sandbox.{module}", str(folder), *arguments]


def resident(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0


def _measure(process: Process) -> None:
    moment = time.monotonic()
    if moment - process.looked < 1.0:
        return
    with contextlib.suppress(OSError, ValueError):
        fields = Path(f"/proc/{process.popen.pid}/stat").read_text().rpartition(")")[2].split()
        ticks = int(fields[11]) + int(fields[12])
        if process.looked:
            process.cpu = round(100 * (ticks - process.ticks) / TICKS / (moment - process.looked), 1)
        process.ticks, process.looked = ticks, moment


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="microseconds")
