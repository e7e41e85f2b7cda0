"""Runs SQL on PostgreSQL: reads in a read-only transaction, writes in one that is rolled back beyond its limit.

Must never send a text with values pasted into it, nor retry one. A text that came as data is planned and never run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel

from runbook_engine.errors import TargetError
from runbook_engine.executor import Call, Effect, Session, Target
from runbook_engine.sql.postgres import connect_failure, first_line
from runbook_engine.sql.text import classify, placeholders

if TYPE_CHECKING:
    import psycopg

KINDS = frozenset({"postgres"})
ANSWERS: Mapping[str, str] = {
    "rows": "every row, as a map from column to value",
    "row": "the first row, or none",
    "rowcount": "how many rows were returned",
    "truncated": "whether rows beyond 1000, or 1 MiB, were left out",
    "affected": "writes only: how many rows were really touched",
    "plan": (
        "plan: node cost rows seq_scans [{schema relation columns estimated_rows table_rows}] indexes "
        "unhashed_subplan missing_index (that one of seq_scans, or none) text; none when it cannot be planned"
    ),
    "reason": "plan: why there is none",
}
# The engine's own settings of a session. Read-only is the default here and said again by each transaction.
_OPTIONS = {
    "lock_timeout": "2s",
    "idle_in_transaction_session_timeout": "60s",
    "client_connection_check_interval": "1s",
    "standard_conforming_strings": "on",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
}
_READ_OPTIONS = {"default_transaction_read_only": "on", "statement_timeout": "30s"}
_CONNECT_TIMEOUT = 5

Statement = Annotated[str, Field(min_length=1)]


class Plan(BaseModel):
    """A statement that came as data, with $1 for its values: planned, and never run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Statement = Field(description="The text of the statement, as pg_stat_statements has it")


class Params(RootModel[Statement | Annotated[list[Statement], Field(min_length=1)] | Plan]):
    """One statement, several that are one transaction, or one to be planned."""


def texts(params: Any) -> list[str]:
    """The statements that are run, from a checked or a plain value."""
    value = params.root if isinstance(params, Params) else params
    if isinstance(value, Plan | Mapping):
        return []
    return [value] if isinstance(value, str) else list(value)


def least_effect(params: Any) -> tuple[Effect, str]:
    found = [classify(text) for text in texts(params)]
    return max(found, key=lambda each: each[0]) if found else (Effect.read, "plans a statement and does not run it")


def bound_names(params: Any) -> frozenset[str]:
    return frozenset(place.name for text in texts(params) for place in placeholders(text) if place.kind == "s")


def show(call: Call) -> str:
    if isinstance(call.request, Mapping):
        return f"explain (format json) {call.request.get('plan')}"
    statements = texts(call.request)
    lines = [text.strip() for text in statements]
    if len(statements) > 1:
        lines = ["begin;", *(f"{text.rstrip(';')};" for text in lines), "commit;"]
    places = [place for text in statements for place in placeholders(text)]
    for name in _once(place.name for place in places if place.kind == "s"):
        value = json.dumps(call.bindings[name], ensure_ascii=False) if name in call.bindings else "(no value)"
        lines.append(f"  {name} = {value}")
    for name in _once(place.name for place in places if place.kind == "I"):
        lines.append(f"  {name} = identifier {json.dumps(call.idents.get(name, ''), ensure_ascii=False)}")
    return "\n".join(lines)


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    from runbook_engine.sql.session import ReadSession, WriteSession

    kind = ReadSession if mode == "read" else WriteSession
    return kind(lambda: _opened(target, mode))


def _once(names: Any) -> Sequence[str]:
    return list(dict.fromkeys(names))


def _opened(target: Target, mode: Literal["read", "write"]) -> psycopg.Connection[Any]:
    import psycopg

    settings = target.settings
    wanted: dict[str, Any] = {
        "host": settings.get("host"),
        "port": settings.get("port"),
        "user": settings.get("user"),
        "password": settings.get("password"),
        "dbname": settings.get("database"),
        "sslmode": settings.get("sslmode"),
    }
    options = _OPTIONS | (_READ_OPTIONS if mode == "read" else {"lock_timeout": "5s"})
    try:
        return psycopg.connect(
            **{name: value for name, value in wanted.items() if value is not None},
            connect_timeout=int(settings.get("connect_timeout") or _CONNECT_TIMEOUT),
            application_name="runbook",
            client_encoding="utf8",
            options=" ".join(f"-c {name}={value}" for name, value in options.items()),
            autocommit=True,
        )
    except psycopg.Error as error:
        message = first_line(str(error))
        raise TargetError(connect_failure(str(error)), f"{target.name}: {message}", happened="no") from error
