"""Puts LinkFlow's tables and its role back to what the template has. Cheap when nothing was changed."""

from __future__ import annotations

from typing import Any

from .postgres import connect_superuser
from .service import request
from .state import State

IMPORT = "00000000-0000-4000-8000-00000000f022"  # the batch that a fault imports
INDEX = "create index if not exists idx_executions_workflow_id on executions (workflow_id)"
OURS = (
    "executions_pkey",
    "idx_executions_workflow_id",
    "idx_executions_workspace_id",
    "idx_executions_status",
    "idx_executions_priority",
    "idx_executions_batch_id",
)
FOREIGN_INDEXES = """
select indexrelid::regclass::text from pg_index where indrelid = 'executions'::regclass
and indexrelid::regclass::text <> all(%s)
"""
SETTINGS = "select 1 from pg_db_role_setting where setrole = 'linkflow'::regrole"
STORED = "select 1 from pg_class where oid = 'executions'::regclass and reloptions is not null"


def mend_tables(state: State) -> None:
    with connected(state) as connection:
        for (index,) in connection.execute(FOREIGN_INDEXES, (list(OURS),)).fetchall():
            connection.execute(f"drop index if exists {index}")
        connection.execute("set client_min_messages = warning")
        connection.execute(INDEX)
        imported = connection.execute("delete from executions where batch_id = %s", (IMPORT,)).rowcount
        if connection.execute(STORED).fetchone():
            connection.execute("alter table executions reset (autovacuum_enabled)")
            imported += 1
    if imported:  # in a session of its own: what this one deleted is counted when it ends
        with connected(state) as connection:
            connection.execute("vacuum (analyze) executions")


def mend_role(state: State) -> None:
    """Settings that a fault or a fix gave LinkFlow's role; the API has them until it connects anew."""
    with connected(state) as connection:
        changed = connection.execute(SETTINGS).fetchone()
        if changed:
            connection.execute("alter role linkflow reset all")
    if changed:
        request(state, {"service": "api", "action": "restart"})


def connected(state: State) -> Any:
    return connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow")
