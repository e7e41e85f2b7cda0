"""Writes the rows of `executions` a worker makes, many in one statement. A job is not finished before its row is."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

BEGIN = """
insert into executions (id, workflow_id, workspace_id, status, trigger_type, started_at, nodes_total)
select id, workflow, workspace, 'running', kind, now(), 2
from unnest(%s::uuid[], %s::uuid[], %s::uuid[], %s::text[]) as fresh (id, workflow, workspace, kind)
"""
FINISH = """
update executions set status = case when done.error is null then 'completed' else 'failed' end,
       error_message = done.error, completed_at = now(), nodes_completed = 2
from unnest(%s::uuid[], %s::text[]) as done (id, error) where executions.id = done.id
"""
TRIGGERS = {"api": "manual"}


@dataclass(frozen=True, slots=True)
class Written:
    """The row of this task's execution is written; `error` is why the job failed, or why the row could not be."""

    task: str
    execution: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Begun:
    execution: str
    payload: dict[str, Any]


class ExecutionWriter:
    """One connection on a thread of its own: a database that hangs holds the jobs, not the worker's heartbeat."""

    def __init__(self, dsn: str, tell: Callable[[Written], None]) -> None:
        self._dsn = dsn
        self._tell = tell
        self._orders: queue.SimpleQueue[Begun | Written] = queue.SimpleQueue()
        self._connection: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def begin(self, execution: str, payload: dict[str, Any]) -> None:
        self._orders.put(Begun(execution, payload))

    def finish(self, task: str, execution: str, error: str | None) -> None:
        self._orders.put(Written(task, execution, error))

    def _serve(self) -> None:
        while True:
            batch = [self._orders.get()]
            while not self._orders.empty():
                batch.append(self._orders.get())
            try:
                self._write(batch)
                failure = None
            except psycopg.Error as error:
                self._drop()
                failure = f"failed to write execution: {str(error).strip()}"
                time.sleep(0.05)
            for order in batch:
                if isinstance(order, Written):
                    self._tell(Written(order.task, order.execution, order.error or failure))

    def _write(self, batch: list[Begun | Written]) -> None:
        begun = [order for order in batch if isinstance(order, Begun)]
        done = [order for order in batch if isinstance(order, Written)]
        if self._connection is None:
            self._connection = psycopg.connect(self._dsn, prepare_threshold=1)
        with self._connection.transaction():
            if begun:
                rows = [
                    (each.execution, each.payload["workflow_id"], each.payload["workspace_id"], _kind(each.payload))
                    for each in begun
                ]
                self._connection.execute(BEGIN, [list(column) for column in zip(*rows, strict=True)])
            if done:
                self._connection.execute(FINISH, [[each.execution for each in done], [each.error for each in done]])

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _kind(payload: dict[str, Any]) -> str:
    trigger = str(payload.get("trigger_type", "manual"))
    return TRIGGERS.get(trigger, trigger)
