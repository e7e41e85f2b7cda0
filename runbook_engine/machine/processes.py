"""Who listens on which port of this machine, and how its processes fare.

It must never show a command line: arguments hold secrets. What the kernel hides from this user is none, not zero.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import psutil

from ..executor import Json

T = TypeVar("T")
HIDDEN = (psutil.Error, OSError, NotImplementedError)
"""Gone meanwhile, somebody else's, or not told by this system."""


def listeners(ports: Collection[int]) -> list[dict[str, Json]] | None:
    """Who holds these ports, by IPv4 and IPv6. Another user's socket is seen, its process is not."""
    sockets = told(lambda: psutil.net_connections(kind="tcp"))
    if sockets is None:
        return None
    found = {
        (each.laddr.port, each.laddr.ip, each.pid)
        for each in sockets
        if each.laddr and each.status == psutil.CONN_LISTEN and each.laddr.port in ports
    }
    return [_listener(*each) for each in sorted(found, key=lambda key: (key[0], key[1], key[2] or 0))]


def _listener(port: int, address: str, pid: int | None) -> dict[str, Json]:
    process = None if pid is None else told(lambda: psutil.Process(pid))
    return {
        "port": port,
        "address": address,
        "pid": pid,
        "name": process and told(process.name),
        "exe": process and (told(process.exe) or None),
        "user": process and told(process.username),
        "uptime_s": process and uptime(process),
    }


def processes(pids: Sequence[int], seconds: float, over: threading.Event) -> list[dict[str, Json]]:
    """One entry for each pid, also for those that are gone. For `seconds`, or until `over`, cpu is measured."""
    found = {pid: told(partial(psutil.Process, pid)) for pid in pids}
    before = {pid: _spent(process) for pid, process in found.items()}
    wanted = {pid: _wanted(pid) for pid in pids}
    began = time.monotonic()
    if any(spent is not None for spent in before.values()):
        over.wait(seconds)
    rows = []
    for pid, process in found.items():
        row = _row(pid, process)
        spent, earlier = _spent(process), before[pid]
        if row["alive"] and spent is not None and earlier is not None:
            elapsed = max(0.001, time.monotonic() - began)
            row["cpu"] = round(100 * (spent - earlier) / elapsed, 1)
            row["busiest_thread"] = _busiest(wanted[pid], _wanted(pid), elapsed)
        rows.append(row)
    return rows


def _row(pid: int, process: psutil.Process | None) -> dict[str, Json]:
    gone: dict[str, Json] = dict.fromkeys(
        (
            "name",
            "exe",
            "state",
            "uptime_s",
            "rss",
            "cpu",
            "busiest_thread",
            "threads",
            "fds",
            "fd_limit",
            "listen_ports",
        )
    )
    state = process and told(process.status)
    if process is None or state is None:
        return {"pid": pid, "alive": False, **gone}
    memory = told(process.memory_info)
    return {
        "pid": pid,
        # A zombie has ended: only its parent has not looked yet.
        "alive": state not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD),
        **gone,
        "name": told(process.name),
        "exe": told(process.exe) or None,
        "state": state,
        "uptime_s": uptime(process),
        "rss": memory and memory.rss,
        "threads": told(process.num_threads),
        "fds": told(process.num_fds),
        "fd_limit": _descriptor_limit(process),
        "listen_ports": _ports(process),
    }


def _ports(process: psutil.Process) -> list[int] | None:
    """By the process's own eyes: in a container it listens in a network of its own."""
    # `connections` until psutil 5.9, a deprecated name of the same from 6 on.
    ask = getattr(process, "net_connections", None) or process.connections
    sockets = told(lambda: ask(kind="tcp"))
    return (
        None if sockets is None else sorted({each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN})
    )


def _descriptor_limit(process: psutil.Process) -> int | None:
    limits = told(lambda: process.rlimit(psutil.RLIMIT_NOFILE))
    return limits[0] if limits and limits[0] >= 0 else None


def _spent(process: psutil.Process | None) -> float | None:
    times = process and told(process.cpu_times)
    return times.user + times.system if times else None


def _wanted(pid: int) -> dict[str, int]:
    """Nanoseconds that each thread ran, or was ready to and got no core: on a busy machine the second tells more."""
    found: dict[str, int] = {}
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        text = told(file.read_text)
        if text is not None and len(fields := text.split()) >= 2:
            found[file.parent.name] = int(fields[0]) + int(fields[1])
    return found


def _busiest(before: Mapping[str, int], after: Mapping[str, int], elapsed: float) -> float | None:
    shares = [(after[thread] - before[thread]) / 1e7 / elapsed for thread in after.keys() & before.keys()]
    return round(max(shares), 1) if shares else None


def uptime(process: psutil.Process) -> float | None:
    created = told(process.create_time)
    return None if created is None else round(max(0.0, time.time() - created), 1)


def told(ask: Callable[[], T]) -> T | None:
    """The kernel's answer, or none where it gives none."""
    try:
        return ask()
    except HIDDEN:
        return None
