"""Pages of LinkFlow's API that the ordinary load does not ask for, and that are slow when something is wrong with them.

Each does to the database what LinkFlow would; none knows whether a fault is active.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from typing import Any

import psycopg

from .identifiers import WORKFLOWS, row_id

Connection = psycopg.Connection[Any]
Page = Callable[[Connection, float], dict[str, Any]]
LOCK_TIMEOUT = "3s"
EXECUTIONS = 150_000
LISTS, ROWS = 8, 20
REPORT_SECONDS = 60.0
DASHBOARD = """
select w.id::text,
       (select count(*) from executions e where e.workflow_id = w.id and e.created_at > now() - %s::interval)
from workflows w where w.workspace_id = %s
"""
STILL_QUEUED = "select count(*) from executions where id = any(%s) and status = 'queued'"
ONE_WORKFLOW = "select name, status, execution_count from workflows where id = %s"
COUNT_UP = "update workflows set execution_count = execution_count + 1, updated_at = now() where id = %s"
FOREIGN_NODES = """
select count(*) from (select execution_id from node_executions limit 2000) n
where n.execution_id not in (select id from executions where workspace_id = %s)
"""
_ID = r"(?P<id>[0-9a-f-]{36})"


class BusyError(Exception):
    """Somebody else holds the row; the client is told to come again."""


def find(method: str, path: str) -> Page | None:
    for wanted, pattern, make in _PAGES:
        found = pattern.fullmatch(path)
        if found and wanted == method:
            return make(found.groupdict().get("id", ""))
    return None


def dashboard(workspace: str) -> Page:
    def page(connection: Connection, round_trip: float) -> dict[str, Any]:
        counts = connection.execute(DASHBOARD, ["1 day", workspace]).fetchall()
        return {"workflows": [{"id": workflow, "executions": count} for workflow, count in counts]}

    return page


def queue(nothing: str) -> Page:
    """Which of the runs on the screen still wait, list by list."""

    def page(connection: Connection, round_trip: float) -> dict[str, Any]:
        waiting = []
        for _ in range(LISTS):
            shown = [row_id("execution", random.randrange(EXECUTIONS)) for _ in range(ROWS)]
            row = connection.execute(STILL_QUEUED, [shown]).fetchone()
            waiting.append(row[0] if row else 0)
        return {"waiting": waiting}

    return page


def workflows(workspace: str) -> Page:
    """A list that asks for each of its rows by itself."""

    def page(connection: Connection, round_trip: float) -> dict[str, Any]:
        rows = []
        for number in range(WORKFLOWS):
            rows.append(connection.execute(ONE_WORKFLOW, [row_id("workflow", number)]).fetchone())
            time.sleep(round_trip)
        return {"workflows": [row[0] for row in rows if row]}

    return page


def start(workflow: str) -> Page:
    def page(connection: Connection, round_trip: float) -> dict[str, Any]:
        try:
            with connection.transaction():
                connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'".encode())
                connection.execute(COUNT_UP, [workflow])
        except psycopg.errors.LockNotAvailable as error:
            raise BusyError(f"workflow {workflow} is busy, try again") from error
        return {"started": workflow}

    return page


def report(nothing: str) -> Page:
    """Begins, reads, and then waits for somebody else's service before it ends its transaction."""

    def page(connection: Connection, round_trip: float) -> dict[str, Any]:
        with connection.transaction():
            row = connection.execute("select count(*) from workflows").fetchone()
            time.sleep(REPORT_SECONDS)
        return {"workflows": row[0] if row else 0}

    return page


def cleanup(workspace: str) -> Page:
    """What a cleanup that keeps one workspace would delete."""

    def page(connection: Connection, round_trip: float) -> dict[str, Any]:
        with connection.transaction():
            connection.execute("set local statement_timeout = '20s'")
            row = connection.execute(FOREIGN_NODES, [workspace]).fetchone()
        return {"node_executions": row[0] if row else 0}

    return page


_PAGES: tuple[tuple[str, re.Pattern[str], Callable[[str], Page]], ...] = (
    ("GET", re.compile(rf"/api/v1/workspaces/{_ID}/dashboard"), dashboard),
    ("GET", re.compile(r"/api/v1/executions/waiting"), queue),
    ("GET", re.compile(rf"/api/v1/workspaces/{_ID}/workflows"), workflows),
    ("POST", re.compile(rf"/api/v1/workflows/{_ID}/start"), start),
    ("GET", re.compile(rf"/api/v1/workspaces/{_ID}/cleanup"), cleanup),
    ("GET", re.compile(r"/api/v1/admin/report"), report),
)
