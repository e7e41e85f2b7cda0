"""Has the server plan a statement that came as data, and runs nothing of it.

Imports the driver, so it is itself imported only on the way from `connect`. The text is judged here first; then the
server is asked to PREPARE it by the extended protocol, where it takes a single statement of those that have a plan or
none; only a text that passed both is put behind EXPLAIN. Must never be called outside a read-only transaction.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from ..errors import Refused
from ..executor import Json
from .answers import Connection, Statement
from .plan_text import parameter_count, plannable, unplannable
from .plan_tree import read_plan, scanned_tables
from .postgres import first_line
from .user_functions import refuse_user_functions

GENERIC_PLAN_SINCE = 160000
_SIZES = """
select n.nspname::text, c.relname::text,
       case when c.reltuples < 0 then pg_catalog.pg_stat_get_live_tuples(c.oid) else c.reltuples::bigint end
from unnest(%s::text[], %s::text[]) as asked (nspname, relname)
join pg_catalog.pg_namespace n on n.nspname = asked.nspname
join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = asked.relname
"""
# Not the statement's fault: the server is going, has nothing left for us, or was told to stop.
_OURS = ("08", "53", "57")


def plan(connection: Connection, text: object) -> Json:
    """`{plan, reason}`: why there is no plan is an answer, too."""
    if not isinstance(text, str) or not text.strip():
        return _without("there is no statement to plan")
    reason = unplannable(text)
    if reason:
        return _without(reason)
    text = plannable(text)
    try:
        with _savepoint(connection):
            refuse_user_functions(connection, [Statement(text)])
            document = _explained(connection, text)
            return {"plan": read_plan(document, _sizes(connection, document)), "reason": None}
    except Refused as error:
        return _without(str(error))
    except psycopg.Error as error:
        if connection.closed or not error.sqlstate or error.sqlstate.startswith(_OURS):
            raise
        return _without(first_line(error.diag.message_primary or str(error)))


def _without(reason: str) -> dict[str, Json]:
    return {"plan": None, "reason": reason}


@contextlib.contextmanager
def _savepoint(connection: Connection) -> Iterator[None]:
    """A statement that cannot be planned must not take the transaction, or a prepared name, with it."""
    connection.execute("savepoint runbook_plan")
    try:
        yield
    except psycopg.Error:
        if not connection.closed:
            with contextlib.suppress(psycopg.Error):
                connection.execute("rollback to savepoint runbook_plan")
        raise


def _explained(connection: Connection, text: str) -> Json:
    name = f"runbook_plan_{secrets.token_hex(8)}"
    prepared = False
    try:
        # `binary=True` is the extended protocol, without a name: a second statement is an error of the server's.
        connection.execute(f"prepare {name} as {text}".encode(), binary=True)
        prepared = True
        if connection.info.server_version >= GENERIC_PLAN_SINCE:
            # By the simple protocol, where $1 is a parameter of the statement and not one of ours.
            cursor = connection.execute(f"explain (generic_plan, verbose, format json) {text}".encode())
        else:
            connection.execute("set local plan_cache_mode = force_generic_plan")
            given = sql.SQL(", ").join([sql.NULL] * parameter_count(text))
            values = sql.SQL("({})").format(given) if parameter_count(text) else sql.SQL("")
            command = sql.SQL("explain (verbose, format json) execute {} {}").format(sql.Identifier(name), values)
            cursor = connection.execute(command)
        return _document(cursor)
    finally:
        if prepared and not connection.closed:
            _forget(connection, name)


def _document(cursor: psycopg.Cursor[Any]) -> Json:
    row = cursor.fetchone()
    assert row is not None
    return row[0]


def _forget(connection: Connection, name: str) -> None:
    """A prepared statement outlives its transaction, a failed one too."""
    with contextlib.suppress(psycopg.Error):
        if connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
            connection.execute("rollback to savepoint runbook_plan")
        connection.execute(f"deallocate {name}".encode())


def _sizes(connection: Connection, document: Json) -> dict[tuple[str, str], int | None]:
    tables = scanned_tables(document)
    if not tables:
        return {}
    asked = [[schema for schema, _ in tables], [name for _, name in tables]]
    return {(schema, name): rows for schema, name, rows in connection.execute(_SIZES, asked).fetchall()}
