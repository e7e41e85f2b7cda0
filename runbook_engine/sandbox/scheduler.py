"""LinkFlow's scheduler: the one that holds the leader lock sends a job for every schedule that is due.

It has LinkFlow's own weakness on purpose: a cron expression it cannot read leaves `next_run_at` unchanged, so that
schedule fires at every poll.
"""

from __future__ import annotations

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
from .standin import StandIn
from .timing import Timing

LEADER = "scheduler:leader"
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
and next_run_at < now() - interval '10 minutes' and (last_run_at is null or last_run_at < next_run_at)
"""


class Scheduler:
    def __init__(self, process: StandIn) -> None:
        self.process = process
        self.timing = Timing(process.state.pace)
        self.client = connect_redis(process.state)
        self.broker = Broker(self.client)
        self.identity = str(uuid.uuid4())
        self.leads = False
        self._connection: psycopg.Connection[Any] | None = None
        self._workflows = {row_id("workflow", number): number for number in range(WORKFLOWS)}

    def run(self) -> None:
        next_lock = next_poll = 0.0
        while not self.process.stopping.is_set():
            now = time.monotonic()
            try:
                if now >= next_lock:
                    self._lock()
                    next_lock = now + (self.timing.leader_renew if self.leads else self.timing.leader_try)
                if self.leads and now >= next_poll:
                    next_poll = now + self.timing.poll
                    self._poll()
            except (redis.RedisError, psycopg.Error) as error:
                self._drop()
                self.process.log("error", "Failed to enqueue schedule", error=str(error).strip())
                self.process.stopping.wait(self.timing.poll)
            self.process.ready()
            self.process.stopping.wait(
                max(0.005, min(next_lock, next_poll if self.leads else next_lock) - time.monotonic())
            )
        self._release()

    def _lock(self) -> None:
        ttl = round(self.timing.leader_ttl * 1000)
        if self.leads:
            self.leads = bool(self.client.eval(scripts.RENEW, 1, LEADER, self.identity, ttl))
            if not self.leads:
                self.process.log("warn", "Lost leadership", identity=self.identity)
        elif self.client.set(LEADER, self.identity, nx=True, px=ttl):
            self.leads = True
            self.process.log("info", "Acquired leadership", identity=self.identity)
            self._recover()

    def _recover(self) -> None:
        """Missed runs are skipped, not run: their next time is moved ahead."""
        for schedule, expression in self._database().execute(STALE).fetchall():
            coming = self._coming(schedule, expression)
            self._database().execute("update schedules set next_run_at = %s where id = %s", (coming, schedule))
            self.process.log("warn", "Recovered stale schedule", schedule_id=str(schedule))

    def _poll(self) -> None:
        for schedule, workflow, _, expression, given in self._database().execute(DUE).fetchall():
            trigger = {"type": "schedule", "data": {"schedule_id": str(schedule)}}
            number = self._workflows.get(str(workflow), 0)
            # `fan_out`: one run for each item of a list that the workflow works through.
            copies = int((given or {}).get("fan_out", 1))
            self.broker.enqueue(
                [
                    new_message("default", workflow=number, retention=self.timing.retention, trigger=trigger)
                    for _ in range(copies)
                ]
            )
            self._database().execute(RAN, (self._coming(schedule, expression), schedule))

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

    def _release(self) -> None:
        if self.leads:
            self.client.eval(scripts.RELEASE, 1, LEADER, self.identity)
            self.process.log("info", "Released leadership", identity=self.identity)


def main() -> None:
    Scheduler(StandIn("scheduler")).run()


if __name__ == "__main__":
    main()
