"""Sends one SQL statement and turns what comes back into the plain JSON of an answer.

Imports the driver, so it is itself imported only on the way from `connect`. Must never read more than the caps.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg

from ..executor import Effect, Json
from .postgres import FROM_TEXT, converted, plain
from .text import classify, to_psycopg

MAX_ROWS = 1000
MAX_BYTES = 1 << 20
Connection = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """A text with its values and its identifiers: these already quoted by the driver, and as they are."""

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    quoted: Mapping[str, str] = field(default_factory=dict)
    identifiers: tuple[str, ...] = ()


def query(statement: Statement) -> tuple[Any, Mapping[str, Any]]:
    return to_psycopg(statement.text, statement.quoted).encode(), statement.values


def streamed(connection: Connection, statement: Statement, last: bool) -> Json:
    """Rows one by one, up to the caps. The driver streams by the extended protocol only: one text, one statement."""
    rows: list[Json] = []
    size, truncated = 0, False
    cursor = connection.cursor()
    columns: list[_Column] = []
    with contextlib.closing(_records(cursor, statement)) as records:
        for record in records:
            columns = columns or _columns(cursor)
            row = _row(columns, record)
            size += len(json.dumps(row))
            truncated = truncated or len(rows) == MAX_ROWS or size > MAX_BYTES
            if truncated and last:
                break
            if not truncated:
                rows.append(row)
    return {"rows": rows, "row": rows[0] if rows else None, "rowcount": len(rows), "truncated": truncated}


def _records(cursor: psycopg.Cursor[Any], statement: Statement) -> Generator[Any, None, None]:
    yield from cursor.stream(*query(statement))


def written(cursor: psycopg.Cursor[Any], text: str) -> dict[str, Json]:
    """The answer to a write: what it returned, and how much it touched."""
    rows: list[Json] = []
    returned = 0
    if cursor.description:
        columns = _columns(cursor)
        returned = cursor.rowcount
        rows = [_row(columns, record) for record in cursor.fetchmany(MAX_ROWS)]
    answer = {"rows": rows, "row": rows[0] if rows else None, "rowcount": returned, "truncated": returned > len(rows)}
    return answer | {"affected": _affected(cursor, rows, text)}


def _affected(cursor: psycopg.Cursor[Any], rows: Sequence[Json], text: str) -> int:
    """Rows of an INSERT, UPDATE, DELETE or MERGE; of an acting SELECT its column `affected`, or else its rows."""
    if not (cursor.statusmessage or "").startswith("SELECT"):
        return max(cursor.rowcount, 0)
    if classify(text)[0] <= Effect.touch:
        return 0
    if rows and isinstance(rows[0].get("affected"), int):
        return int(rows[0]["affected"])
    # `select count(*) filter (where pg_terminate_backend(pid)) from …`: its one row is not its reach.
    if len(rows) == 1 and list(rows[0]) == ["count"] and isinstance(rows[0]["count"], int):
        return int(rows[0]["count"])
    return max(cursor.rowcount, 0)


_Column = tuple[str, Callable[[object], Json]]


def _columns(cursor: psycopg.Cursor[Any]) -> list[_Column]:
    """Names and conversions. A name that comes twice gets a number, so that no value is lost."""
    found: dict[str, Callable[[object], Json]] = {}
    by_oid = _conversions(cursor)
    for column in cursor.description or ():
        name, count = column.name, 1
        while name in found:
            count += 1
            name = f"{column.name}_{count}"
        found[name] = by_oid.get(column.type_code, plain)
    return list(found.items())


def _conversions(cursor: psycopg.Cursor[Any]) -> dict[int, Callable[[object], Json]]:
    conversions: dict[int, Callable[[object], Json]] = {}
    for name, convert in FROM_TEXT.items():
        known = cursor.adapters.types[name]
        conversions[known.oid] = conversions[known.array_oid] = _converting(convert)
    return conversions


def _converting(convert: Callable[[str], Json]) -> Callable[[object], Json]:
    return lambda value: converted(value, convert)


def _row(columns: Sequence[_Column], record: Sequence[object]) -> dict[str, Json]:
    return {name: convert(value) for (name, convert), value in zip(columns, record, strict=True)}
