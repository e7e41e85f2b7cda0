"""LinkFlow's scheduler: the one that holds the leader lock sends a job for every schedule that is due.

It has LinkFlow's own weaknesses on purpose: a cron expression it cannot read, or that never matches, fires at every
poll; what is overdue for ten minutes is skipped; its backpressure looks at a list that asynq has never had.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import psycopg
import redis

from . import scripts
from .broker import Broker, connect_redis, new_message
from .cron import CronError, next_run
from .identifiers import WORKFLOWS, row_id
from .knobs import KnobReader
from .standin import StandIn
from .timing import Timing

LEADER = "scheduler:leader"
BACKPRESSURE = "asynq:queue:default"  # as written in LinkFlow; asynq:{default}:pending was meant
FULL, CALM = 10_000, 5_000
GLOBAL_LIMIT = "scheduler:ratelimit:global:global"
WORKSPACE_LIMIT = "scheduler:ratelimit:workspace:workspace:"
PER_MINUTE, PER_WORKSPACE = 1000, 100
DUE = """
select id, workflow_id, workspace_id, cron_expression, input_data from schedules
where is_active and next_run_at <= now() and deleted_at is null order by next_run_at limit 100
"""
RAN = """
update schedules set next_run_at = coalesce(%s, next_run_at), last_run_at = now(), run_count = run_count + 1
where id = %s
"""
STALE = """
select id, cron_expression from schedules where is_active and deleted_at is null
and next_run_at < now() - make_interval(secs => %s) and (last_run_at is null or last_run_at < next_run_at)
"""


class Scheduler:
    """The lock is kept by one thread and schedules are sent by another, as LinkFlow's goroutines do: a poll that hangs
    or waits for a lock leaves the leader in office."""

    def __init__(self, process: StandIn) -> None:
        self.process = process
        self.timing = Timing(process.state.pace)
        self.knobs = KnobReader(process.state.folder)
        self.client = connect_redis(process.state)
        self.identity = str(uuid.uuid4())
        self.born = time.time()
        self.leads = threading.Event()
        self._poller = Poller(self)

    def run(self) -> None:
        threading.Thread(target=self._poller.run, daemon=True).start()
        while not self.process.stopping.is_set():
            self._lock()
            self.process.ready()
            if self.knobs.now().leader_dies == self.identity:
                os.kill(os.getpid(), signal.SIGKILL)
            self.process.stopping.wait(self.timing.leader_renew if self.leads.is_set() else self.timing.leader_try)
        self._release()

    def _lock(self) -> None:
        ttl = round(self.timing.leader_ttl * 1000)
        try:
            if not self.leads.is_set():
                self._acquire(ttl)
            elif not self.client.eval(scripts.RENEW, 1, LEADER, self.identity, ttl):
                self._lose()
        except redis.RedisError as error:
            if self.leads.is_set():
                self._lose(error=str(error))
            else:
                self.process.log("error", "Failed to acquire leadership", error=str(error))

    def _acquire(self, ttl: int) -> None:
        if self.client.set(LEADER, self.identity, nx=True, px=ttl):
            self._poller.recovered = 0.0
            self.leads.set()
            self.process.log("info", "Leadership acquired", instance_id=self.identity)

    def _lose(self, **why: str) -> None:
        self.leads.clear()
        self.process.log("warn", "Lost leadership", instance_id=self.identity, **why)

    def _release(self) -> None:
        if self.leads.is_set():
            with contextlib.suppress(redis.RedisError):
                self.client.eval(scripts.RELEASE, 1, LEADER, self.identity)
            self.process.log("info", "Released leadership", instance_id=self.identity)


class Poller:
    """Sends what is due, and skips what has been due for too long; `recovered` is when it last did the latter."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.process = scheduler.process
        self.timing = scheduler.timing
        self.client = connect_redis(scheduler.process.state)
        self.broker = Broker(self.client)
        self.recovered = 0.0
        self._paused = False
        self._connection: psycopg.Connection[Any] | None = None
        self._workflows = {row_id("workflow", number): number for number in range(WORKFLOWS)}

    def run(self) -> None:
        while not self.process.stopping.wait(self.timing.poll):
            hangs = self.scheduler.knobs.now().poll_hangs_before > self.scheduler.born
            if not self.scheduler.leads.is_set() or hangs:
                continue
            try:
                self._turn()
            except (redis.RedisError, psycopg.Error) as error:
                self._drop()
                self.process.log("error", "Failed to poll schedules", error=str(error).strip())

    def _turn(self) -> None:
        now = time.monotonic()
        if not self.recovered or now - self.recovered > self.timing.stale_every:
            self.recovered = now
            self._recover()
        if not self._backpressure():
            self._poll()

    def _recover(self) -> None:
        """Missed runs are skipped, not run: their next time is moved ahead."""
        for schedule, expression in self._database().execute(STALE, [self.timing.stale]).fetchall():
            coming = self._coming(schedule, expression)
            self._database().execute(
                "update schedules set next_run_at = coalesce(%s, next_run_at) where id = %s", (coming, schedule)
            )
            self.process.log("warn", "Recovered stale schedule", schedule_id=str(schedule))

    def _backpressure(self) -> bool:
        depth = self.client.llen(BACKPRESSURE)
        paused = depth >= (CALM if self._paused else FULL)
        if paused != self._paused:
            self._paused = paused
            said = "Queue backpressure, pausing dispatch" if paused else "Queue drained, dispatching again"
            self.process.log("warn", said, depth=depth)
        return paused

    def _poll(self) -> None:
        due = self._database().execute(DUE).fetchall()
        dispatched = skipped = 0
        for schedule, workflow, workspace, expression, given in due:
            try:
                if not self._allowed(str(workspace)):
                    skipped += 1
                    continue
                self._enqueue(str(schedule), str(workflow), given or {})
            except redis.RedisError as error:
                self.process.log("error", "Failed to enqueue schedule", schedule_id=str(schedule), error=str(error))
                continue
            self._database().execute(RAN, (self._coming(schedule, expression), schedule))
            dispatched += 1
        if due:
            self.process.log("info", "Poll completed", due=len(due), dispatched=dispatched, skipped=skipped)

    def _allowed(self, workspace: str) -> bool:
        now = time.time_ns()
        keys = (GLOBAL_LIMIT, f"{WORKSPACE_LIMIT}{workspace}")
        window = round(self.timing.dispatch_window * 1e9)
        member = str(uuid.uuid4())
        return bool(self.client.eval(scripts.DISPATCH, 2, *keys, now, window, PER_MINUTE, PER_WORKSPACE, member))

    def _enqueue(self, schedule: str, workflow: str, given: dict[str, Any]) -> None:
        trigger = {"type": "schedule", "data": {"schedule_id": schedule}}
        number = self._workflows.get(workflow, 0)
        # `fan_out`: one run for each item of a list that the workflow works through.
        copies = int(given.get("fan_out", 1))
        self.broker.enqueue(
            new_message("default", workflow=number, retention=self.timing.retention, trigger=trigger)
            for _ in range(copies)
        )

    def _coming(self, schedule: object, expression: str) -> datetime | None:
        try:
            return next_run(expression, datetime.now(UTC))
        except CronError as error:
            self.process.log("error", "Failed to parse cron expression", schedule_id=str(schedule), error=str(error))
            return None

    def _database(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            dsn = self.process.state.postgres_dsn(application="linkflow-scheduler")
            self._connection = psycopg.connect(dsn, autocommit=True)
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def main() -> None:
    Scheduler(StandIn("scheduler")).run()


if __name__ == "__main__":
    main()
