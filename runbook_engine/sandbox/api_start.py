"""How LinkFlow's API starts: database, migration, Redis, only then it listens. It fails in LinkFlow's own words."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from . import go_errors
from .state import State

# gorm's AutoMigrate asks for the lock also when the column is there: it waits behind whoever has touched the table.
MIGRATION = "alter table workflows add column if not exists tags text[]"


class StartError(Exception):
    """`go` is the error in the words of the Go client."""

    def __init__(self, message: str, go: str) -> None:
        super().__init__(go)
        self.message = message


def connect_redis(state: State) -> redis.Redis:
    """Without the driver's patience of four seconds: LinkFlow's client says at once that nobody is there."""
    return redis.Redis(
        host="127.0.0.1",
        port=state.redis_port,
        password=state.passwords["redis"],
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(NoBackoff(), 1),
    )


def prepare(state: State, lend: Any, client: redis.Redis) -> None:
    """Everything before the port is opened. `lend` gives a connection of the pool."""
    message = "Failed to connect to database"
    try:
        with lend() as connection:
            message = "Failed to run migrations"
            connection.execute(MIGRATION)
    except psycopg.Error as error:
        raise StartError(message, go_errors.of_database(error, state.postgres_port)) from error
    try:
        client.ping()
    except redis.RedisError as error:
        raise StartError("Failed to connect to Redis", go_errors.of_redis(error, state.redis_port)) from error


@contextlib.contextmanager
def mortal() -> Iterator[None]:
    """SIGTERM ends a Go process that has not yet asked for its signals, whatever it waits for."""
    later = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, later)


def plug(listener: socket.socket) -> list[socket.socket]:
    """Fill the backlog of a socket that nobody accepts from, until one more connection gets no answer."""
    callers: list[socket.socket] = []
    while True:
        caller = socket.socket()
        caller.settimeout(0.3)
        callers.append(caller)
        try:
            caller.connect(listener.getsockname())
        except TimeoutError:
            return callers
