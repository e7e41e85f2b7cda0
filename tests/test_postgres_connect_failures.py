"""Why a real PostgreSQL lets nobody in, told apart by its words: before a session exists it gives no code."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from servers import PostgresServer, postgres_server

from runbook_engine.errors import TargetError
from runbook_engine.executor import Target
from runbook_engine.executors import sql
from runbook_engine.sql.postgres import connect_failure

SETTINGS = ("max_connections = 8", "superuser_reserved_connections = 2", "reserved_connections = 1")


@pytest.fixture(scope="module")
def small() -> Iterator[PostgresServer]:
    """Eight connections, and a role `app` that may use five of them."""
    with postgres_server() as server:
        with connected(server) as session:
            session.execute("create role app login password 'p'")
            session.execute("create database closed_to_most")
            session.execute("revoke connect on database closed_to_most from public")
            for setting in SETTINGS:
                session.execute(f"alter system set {setting}".encode())
        server.control("restart")
        yield server


def connected(server: PostgresServer, **changes: Any) -> psycopg.Connection[Any]:
    given = {**server.settings, **changes}
    given["dbname"] = given.pop("database")
    return psycopg.connect(**given, autocommit=True)


def failure(server: PostgresServer, **changes: Any) -> str:
    """The code that the engine's own session ends with."""
    target = Target("db", "postgres", {**server.settings, "user": "app", "password": "p", **changes}, 1.0)
    with pytest.raises(TargetError) as caught:
        sql.connect(target, "read")
    assert caught.value.happened == "no"
    return caught.value.code


def filled(server: PostgresServer, stack: contextlib.ExitStack, **changes: Any) -> str:
    """Open connections until one is refused, and say how."""
    while True:
        try:
            stack.enter_context(connected(server, **changes))
        except psycopg.OperationalError as error:
            return str(error)


def test_a_server_whose_ordinary_connections_are_taken_has_too_many(small: PostgresServer) -> None:
    with contextlib.ExitStack() as stack:
        said = filled(small, stack, user="app", password="p")
        assert "remaining connection slots are reserved" in said
        assert failure(small) == "too_many"


def test_a_server_whose_every_connection_is_taken_has_too_many(small: PostgresServer) -> None:
    with contextlib.ExitStack() as stack:
        assert "too many clients already" in filled(small, stack)
        assert failure(small) == "too_many"


def test_a_database_or_role_with_a_limit_of_its_own_has_too_many(small: PostgresServer) -> None:
    with connected(small) as session:
        session.execute("create database narrow connection limit 0")
        assert failure(small, database="narrow") == "too_many"
        session.execute("drop database narrow")


def test_a_server_that_shuts_down_is_not_ready(small: PostgresServer) -> None:
    with connected(small):
        small.control("stop", "-m", "smart", "-W")
        assert wait_for("not_ready", small) == "not_ready"
    wait_for("refused", small)
    assert failure(small) == "refused"
    small.control("start")


def test_a_standby_that_serves_nobody_is_not_ready(small: PostgresServer) -> None:
    signal = small.folder / "data" / "standby.signal"
    with connected(small) as session:
        session.execute("alter system set hot_standby = off")
    small.control("stop", "-m", "fast")
    signal.touch()
    try:
        with contextlib.suppress(subprocess.CalledProcessError):
            small.control("start", "-t", "2")
        assert failure(small) == "not_ready"
    finally:
        small.control("stop", "-m", "immediate")
        signal.unlink()
        small.control("start")
        with connected(small) as session:
            session.execute("alter system reset hot_standby")


def test_whoever_the_server_does_not_let_in_has_a_problem_of_authentication(small: PostgresServer) -> None:
    assert failure(small, database="closed_to_most") == "auth"
    rules = small.folder / "data" / "pg_hba.conf"
    kept = rules.read_text()
    for rule in ("host all app 127.0.0.1/32 reject\n" + kept, "host all postgres 127.0.0.1/32 scram-sha-256\n"):
        rules.write_text(rule)
        small.control("reload")
        assert wait_for("auth", small) == "auth"
    rules.write_text(kept)
    small.control("reload")


def wait_for(code: str, server: PostgresServer) -> str:
    """A reload or a stop takes a moment."""
    found = ""
    for _ in range(200):
        try:
            connected(server, user="app", password="p").close()
        except psycopg.OperationalError as error:
            found = connect_failure(str(error))
            if found == code:
                return found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("FATAL:  the database system is starting up", "not_ready"),
        ("FATAL:  the database system is in recovery mode", "not_ready"),
        ("FATAL:  the database system is not yet accepting connections", "not_ready"),
        ("FATAL:  no more connections allowed (max_client_conn)", "too_many"),
        ("FATAL:  no such database: linkflow", "no_db"),
        ("connection timeout expired", "timeout"),
        ("connection failed: server closed the connection unexpectedly", "reset"),
    ],
)
def test_what_cannot_be_brought_about_here_is_known_by_its_words(said: str, code: str) -> None:
    assert connect_failure(said) == code


def test_of_several_addresses_the_one_that_answered_tells() -> None:
    said = (
        'connection to server at "::1", port 5432 failed: Connection refused\n'
        'connection to server at "127.0.0.1", port 5432 failed: FATAL:  sorry, too many clients already'
    )
    assert connect_failure(said) == "too_many"
