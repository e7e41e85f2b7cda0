"""The API's connections to PostgreSQL, few and kept, as Go's database/sql keeps them."""

from __future__ import annotations

import contextlib
import queue
import select
from collections.abc import Iterator
from typing import Any

import psycopg

POOL = 5


class Pool:
    """At most five connections, as `max_open_conns` says; who comes when all are lent waits."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: queue.LifoQueue[psycopg.Connection[Any] | None] = queue.LifoQueue()
        for _ in range(POOL):
            self._idle.put(None)

    @contextlib.contextmanager
    def lend(self) -> Iterator[psycopg.Connection[Any]]:
        connection = self._idle.get(timeout=15)
        try:
            if connection is not None and not connection.closed and is_dead(connection):
                connection.close()
            if connection is None or connection.closed:
                connection = psycopg.connect(self._dsn, autocommit=True)
            yield connection
        except psycopg.OperationalError:
            if connection is not None:
                connection.close()
            raise
        finally:
            self._idle.put(connection)

    def warm(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(POOL):
                stack.enter_context(self.lend())


def is_dead(connection: psycopg.Connection[Any]) -> bool:
    """Nobody has asked it anything: if there is something to read, it is the server's farewell. Go looks as well."""
    return bool(select.select([connection.fileno()], [], [], 0)[0])
