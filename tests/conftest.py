"""Fixtures that give real servers. Each is started once for a whole test session, and only when a test asks for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client
from commands import Place
from servers import PostgresServer, RedisServer, postgres_server, redis_server

from runbook_engine.sandbox import control
from runbook_engine.sandbox.state import State

# Whoever starts us in the background may have us ignore Ctrl-C, and so would every program that we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of this session's own; `postgres.settings` are the superuser's."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def redis_process() -> Iterator[RedisServer]:
    """A Redis of this session's own; it keeps what earlier tests left, see `redis`."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(redis_process: RedisServer) -> Iterator[redis_client.Redis]:
    """An empty Redis, by an ordinary client; `redis_process.settings` say where it is."""
    with redis_client.Redis(redis_process.host, redis_process.port) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    """A small LinkFlow, ten times faster than the real one. Modules that ask for it share it by the xdist group
    `sandbox`; who breaks it restores it."""
    folder = tmp_path_factory.mktemp("linkflow")
    state = control.up(folder, pace=0.1, seed=1, tied=True)
    try:
        yield state
    finally:
        control.down(folder)


@pytest.fixture
def linkflow(sandbox: State, tmp_path: Path) -> Place:
    """The sandbox's folder as the working folder, with a journal of the test's own."""
    return Place(sandbox.folder, tmp_path / "state")
