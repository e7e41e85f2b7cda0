"""One PostgreSQL connection of a run: a read session always rolls back, a write session commits or says what is known.

Imports the driver, so it is itself imported only inside `connect`. Must never send a playbook's text by the simple
protocol, which would let `select 1; commit; insert …` leave the transaction.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from psycopg.types.string import TextLoader

from ..errors import Refused, TargetError
from ..executor import Call, Effect, Identity, Json
from .answers import Connection, Statement, query, streamed, written
from .planner import plan
from .postgres import FROM_TEXT, first_line, timestamp
from .text import classify, lasting_calls, placeholders, problems
from .user_functions import refuse_user_functions

# The server ends an overlong statement itself; this much later the client stops believing that it will.
_GRACE = 0.5
_CANCEL_SECONDS = 0.5
_SHUTDOWN_AFTER = 0.4
_SETTLE_SECONDS = 2.0
_IDENTITY = """
select current_database(), current_user, current_setting('server_version'), pg_is_in_recovery(),
 pg_postmaster_start_time()::text, host(inet_server_addr()), inet_server_port(), current_setting('is_superuser') = 'on'
"""


class Link:
    """A connection with the call in flight on it, so that another thread can end that call."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._open = open_connection
        self.connection = self._opened()
        self.ended: str | None = None
        # One event a call: a late `end` then waits for the call it meant, and never shuts the socket of the next.
        self._done = threading.Event()
        self._done.set()

    @contextlib.contextmanager
    def in_flight(self, deadline: float) -> Iterator[None]:
        self.ended = None
        done = self._done = threading.Event()
        guard = threading.Timer(deadline + _GRACE, self.end, ["timeout"])
        guard.daemon = True
        guard.start()
        try:
            yield
        finally:
            done.set()
            guard.cancel()

    def end(self, reason: str) -> None:
        """Ask the server to cancel; when that does not help, shut the socket. At most a second."""
        done = self._done
        if done.is_set():
            return
        self.ended = reason
        with contextlib.suppress(psycopg.Error):
            self.connection.cancel_safe(timeout=_CANCEL_SECONDS)
        if not done.wait(_SHUTDOWN_AFTER):
            self._shut()

    def reopen(self) -> None:
        self.close()
        self.connection = self._opened()

    def close(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            self.connection.close()

    def failure(self, error: psycopg.Error | UnicodeError, happened: Literal["no", "unknown"]) -> TargetError:
        """What the driver raised, in our words."""
        message = first_line(str(error))
        if not isinstance(error, psycopg.Error):
            return TargetError("22021", f"the answer is not UTF-8: {message}", happened)
        if self.ended:
            return TargetError(self.ended, f"ended by the engine: {message}", happened)
        lost = "reset" if self.connection.closed else "data"
        return TargetError(error.sqlstate or lost, error.diag.message_primary or message, happened)

    def _opened(self) -> Connection:
        connection = self._open()
        # A statement prepared by an earlier call would fail with 0A000 after its table changed.
        connection.prepared_max = 0
        for name in FROM_TEXT:
            connection.adapters.register_loader(name, TextLoader)
        return connection

    def _shut(self) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            copy = socket.socket(fileno=os.dup(self.connection.fileno()))
            with copy:
                copy.shutdown(socket.SHUT_RDWR)


class ReadSession:
    """Reads. The server is told so too, and each text is looked at once more at the last moment."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._link = Link(open_connection)
        self._judged: set[tuple[str, tuple[str, ...]]] = set()  # texts that call no function of somebody's own

    def identity(self) -> Identity:
        with self._link.in_flight(10.0), self._transaction(10.0):
            server = self._link.connection.execute(_IDENTITY).fetchone()
        with self._link.in_flight(10.0), self._transaction(10.0):
            system = _system_identifier(self._link.connection)
        return _identity(server, system, self._link.connection)

    def call(self, call: Call) -> Json:
        if isinstance(call.request, Mapping):
            with self._link.in_flight(call.deadline), self._transaction(call.deadline):
                return plan(self._link.connection, call.request.get("plan"))
        statements = _statements(call)
        for statement in statements:
            effect, why = classify(statement.text)
            if effect > Effect.touch:
                raise Refused(f"a read may not do this: {why}")
        new = [statement for statement in statements if (statement.text, statement.identifiers) not in self._judged]
        return self.read(statements, call.deadline, new)

    def read(self, statements: Sequence[Statement], deadline: float, unjudged: Sequence[Statement] = ()) -> Json:
        """Run them without looking at any text but the unjudged: the server's own refusals are what is left."""
        answer: Json = None
        until = time.monotonic() + deadline
        with self._link.in_flight(deadline), self._transaction(deadline):
            refuse_user_functions(self._link.connection, unjudged)
            self._judged.update((statement.text, statement.identifiers) for statement in unjudged)
            for index, statement in enumerate(statements):
                if index:
                    self._link.connection.execute(
                        f"set local statement_timeout = {_milliseconds(until - time.monotonic())}"
                    )
                answer = streamed(self._link.connection, statement, last=index == len(statements) - 1)
        return answer

    def cancel(self) -> None:
        self._link.end("cancelled")

    def close(self) -> None:
        self._link.close()

    @contextlib.contextmanager
    def _transaction(self, deadline: float) -> Iterator[None]:
        """A read-only transaction whose mode is fixed, since its first query has run, and that never commits."""
        try:
            self._begin(deadline)
            try:
                yield
            finally:
                _roll_back(self._link.connection)
        except (psycopg.Error, UnicodeError) as error:
            raise self._link.failure(error, "no") from error

    def _begin(self, deadline: float) -> None:
        begin = (
            "begin transaction isolation level repeatable read read only; "
            f"set local statement_timeout = {_milliseconds(deadline)}; select 1"
        )
        if self._link.connection.closed:
            self._link.reopen()
        try:
            self._link.connection.execute(begin)
        except psycopg.OperationalError:
            # The server went away between two calls; nothing of this call was sent yet, so this is no retry.
            if not self._link.connection.closed or self._link.ended:
                raise
            self._link.reopen()
            self._link.connection.execute(begin)


class WriteSession:
    """Writes, in one transaction for each call unless the statement cannot run in one."""

    def __init__(self, open_connection: Callable[[], Connection]) -> None:
        self._open = open_connection
        self._link = Link(open_connection)

    def identity(self) -> Identity:
        connection = self._link.connection
        with self._link.in_flight(10.0):
            try:
                server = connection.execute(_IDENTITY).fetchone()
                return _identity(server, _system_identifier(connection), connection)
            except psycopg.Error as error:
                raise self._link.failure(error, "no") from error

    def call(self, call: Call) -> Json:
        if isinstance(call.request, Mapping):
            raise Refused("a plan is read, and nothing is done by it: ask for it in symptoms or diagnosis")
        statements = _statements(call)
        if call.autocommit and len(statements) > 1:
            raise Refused(f"autocommit is for one lone statement, not for {len(statements)}")
        if self._link.connection.closed:
            raise TargetError("reset", "the connection was lost before the statement was sent", happened="no")
        with self._link.in_flight(call.deadline):
            return self._lone(statements[0], call) if call.autocommit else self._transaction(statements, call)

    def cancel(self) -> None:
        self._link.end("cancelled")

    def close(self) -> None:
        self._link.close()

    def _lone(self, statement: Statement, call: Call) -> Json:
        connection = self._link.connection
        try:
            connection.execute(f"set statement_timeout = {_milliseconds(call.deadline)}")
        except psycopg.Error as error:
            raise self._link.failure(error, "no") from error
        try:
            cursor = connection.execute(*query(statement), prepare=True)
        except (psycopg.Error, UnicodeError) as error:
            raise self._link.failure(error, self._lone_outcome(statement.text, error)) from error
        answer = written(cursor, statement.text)
        self._check_limit(answer["affected"], call, lasting=True)
        return answer

    def _lone_outcome(self, text: str, error: psycopg.Error | UnicodeError) -> Literal["no", "unknown"]:
        """A failed statement rolled itself back, except in several transactions: an invalid index may be left."""
        sqlstate = (error.sqlstate or "") if isinstance(error, psycopg.Error) else ""
        refused_at_once = sqlstate[:2] in ("0A", "25", "42")
        if self._link.connection.closed or not sqlstate:
            return "unknown"
        return "unknown" if "concurrently" in text.lower() and not refused_at_once else "no"

    def _transaction(self, statements: Sequence[Statement], call: Call) -> Json:
        lasting = False
        connection = self._link.connection
        until = time.monotonic() + call.deadline
        answer: dict[str, Json] = {}
        affected = 0
        try:
            connection.execute("begin transaction isolation level read committed read write")
            for statement in statements:
                connection.execute(f"set local statement_timeout = {_milliseconds(until - time.monotonic())}")
                lasting = lasting or bool(lasting_calls(statement.text))
                answer = written(connection.execute(*query(statement), prepare=True), statement.text)
                affected += answer["affected"]
                self._check_limit(affected, call, lasting)
            witness = _witness(connection)
        except (psycopg.Error, UnicodeError) as error:
            _roll_back(connection)
            raise self._link.failure(error, "unknown" if lasting else "no") from error
        self._commit(witness, lasting)
        return answer | {"affected": affected}

    def _check_limit(self, affected: int, call: Call, lasting: bool) -> None:
        if call.affected is None or affected <= call.affected:
            return
        _roll_back(self._link.connection)
        said = f"it touched {affected} rows and its limit is {call.affected}"
        if lasting:
            raise TargetError("over_limit", f"{said}; what it did outlasts a rollback", happened="unknown")
        raise Refused(f"{said}: rolled back, nothing was changed")

    def _commit(self, witness: tuple[str | None, str], lasting: bool) -> None:
        try:
            self._link.connection.execute("commit")
        except psycopg.Error as error:
            if error.sqlstate and not self._link.connection.closed:
                raise self._link.failure(error, "unknown" if lasting else "no") from error
            status = self._settled(witness)
            if status == "committed":
                return
            raise self._link.failure(error, "no" if status == "aborted" and not lasting else "unknown") from error

    def _settled(self, witness: tuple[str | None, str]) -> str | None:
        """What became of a COMMIT whose answer was lost, when the server can tell: `committed` or `aborted`.

        A restarted server may have given the same transaction number to somebody else: its word is then worth nothing.
        """
        number, started = witness
        if number is None:
            return "aborted"
        try:
            with self._open() as connection:
                return _outcome(connection, number, started)
        except (psycopg.Error, TargetError):
            return None


def _outcome(connection: Connection, number: str, started: str) -> str | None:
    until = time.monotonic() + _SETTLE_SECONDS
    while True:
        row = connection.execute(
            "select pg_postmaster_start_time()::text, pg_xact_status(%s::text::xid8)", [number]
        ).fetchone()
        if row is None or row[0] != started:
            return None
        if row[1] != "in progress" or time.monotonic() > until:
            return row[1] if row[1] in ("committed", "aborted") else None
        time.sleep(0.1)


def _witness(connection: Connection) -> tuple[str | None, str]:
    """By which to ask for its fate later: the transaction's number (none without writes) and the server's start."""
    row = connection.execute(
        "select pg_current_xact_id_if_assigned()::text, pg_postmaster_start_time()::text"
    ).fetchone()
    return (row[0], row[1]) if row else (None, "")


def _statements(call: Call) -> list[Statement]:
    texts = [call.request] if isinstance(call.request, str) else list(call.request)
    return [_statement(text, call) for text in texts]


def _statement(text: str, call: Call) -> Statement:
    wrong = problems(text)
    if wrong:
        raise Refused(wrong[0][1])
    places = placeholders(text)
    for place in places:
        if place.name not in (call.bindings if place.kind == "s" else call.idents):
            where = "with:" if place.kind == "s" else "idents:"
            raise Refused(f"{text[place.start : place.end]} has no value: give it in {where}")
    names = {place.name for place in places if place.kind == "I"}
    quoted = {name: sql.Identifier(call.idents[name]).as_string(None) for name in names}
    values = {place.name: _bound(call.bindings[place.name]) for place in places if place.kind == "s"}
    return Statement(text, values, quoted, tuple(sorted(call.idents[name] for name in names)))


def _bound(value: Json) -> Any:
    """A value as the driver should send it: maps, and lists that hold one, as jsonb."""
    nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(item, dict) for item in value))
    return Jsonb(value) if nested else value


def _system_identifier(connection: Connection) -> str | None:
    """The cluster's own number; none when this role may not ask for it."""
    try:
        row = connection.execute("select system_identifier::text from pg_control_system()").fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return None
    return str(row[0]) if row else None


def _identity(server: tuple[Any, ...] | None, system: str | None, connection: Connection) -> Identity:
    if server is None:
        raise TargetError("data", "the server did not say who it is", happened="no")
    database, user, version, standby, started, address, port, superuser = server
    where = f"{address or connection.info.host}:{port or connection.info.port}"
    role = "standby" if standby else "primary"
    facts = {
        "system_identifier": system,
        "started": timestamp(started),
        "address": where,
        "database": database,
        "user": user,
        "version": version.split()[0],
        "standby": standby,
        "superuser": superuser,
    }
    return Identity(f"PostgreSQL {facts['version']} {where} db {database} as {user} ({role})", facts)


def _milliseconds(seconds: float) -> int:
    """For statement_timeout, where 0 would mean none."""
    return max(1, min(math.ceil(seconds * 1000), 2**31 - 1))


def _roll_back(connection: Connection) -> None:
    """Leave the transaction. A connection that cannot even do that is lost, and the server rolls back by itself."""
    with contextlib.suppress(psycopg.Error):
        connection.execute("rollback")
