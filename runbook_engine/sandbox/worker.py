"""A LinkFlow worker that speaks asynq: takes jobs, holds their leases, tells that it lives, finishes or fails them.

A job is a sleep between two writes of its `executions` row, so one thread can run many. It must never lose a job that
asynq would keep.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import queue
import random
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import redis

from ..asynq.wire import ServerInfo, TaskMessage, WorkerInfo
from .ailments import Ailments
from .broker import LEASE_EXPIRED, QUEUES, Broker, connect_redis
from .executions import ExecutionWriter, Written
from .knobs import KnobReader
from .standin import StandIn
from .timing import CONCURRENCY, Timing
from .webhooks import create_group, process, receive

CRASH_AFTER_JOBS = 4


@dataclass(order=True, slots=True)
class Job:
    due: float
    message: TaskMessage = field(compare=False)
    started: float = field(compare=False)
    execution: str = field(compare=False)
    error: str | None = field(compare=False, default=None)


class Worker:
    def __init__(self, process: StandIn) -> None:
        self.process = process
        self.timing = Timing(process.state.pace)
        self.knobs = KnobReader(process.state.folder)
        self.concurrency = self.knobs.now().concurrency or CONCURRENCY
        self.born = time.time()
        self.chance = random.Random(process.state.seed * 100003 + os.getpid())
        port = self.knobs.now().worker_redis_port
        self.broker = Broker(connect_redis(process.state if port is None else replace(process.state, redis_port=port)))
        self.server_id = str(uuid.uuid4())
        self.running: dict[str, Job] = {}
        self.status = "active"
        self._due: list[Job] = []
        self._hung: list[Job] = []
        self._endless: list[Job] = []
        # Not SimpleQueue: a signal at the end of its timeout makes it wait for ever (CPython 3.11).
        self._written: queue.Queue[Written] = queue.Queue()
        self._writer = ExecutionWriter(process.state.postgres_dsn(application="linkflow-worker"), self._written.put)
        self._settled: list[Written] = []
        self._next_take = 0.0
        self._taken = 0
        self._luck = self.chance.uniform(0.7, 1.3)  # two workers do not run out of memory in the same moment
        self.ailments = Ailments(process, self.knobs, self._luck)

    def run(self) -> None:
        self._fill_pool()
        with contextlib.suppress(redis.RedisError):  # full or read-only: this one starts all the same
            self.heartbeat()
            create_group(self.broker.client)
        self._writer.start()
        for every, act in (
            (self.timing.heartbeat, self.heartbeat),
            (self.timing.forward_every, self.forward),
            (self.timing.recover_every, self.recover),
            (self.timing.janitor_every, self.clean),
            (self.timing.webhook_every, self.take_webhooks),
        ):
            threading.Thread(target=self._repeat, args=(every, act), daemon=True).start()
        self.process.log("info", "Starting processing", concurrency=self.concurrency)
        self.process.ready()
        while not self.process.stopping.is_set():
            self._crash_perhaps()
            self._finish_due()
            self._settle()
            self._take()
            self._rest()
        self._stop()

    def _fill_pool(self) -> None:
        """Idle connections beside the one that writes, as a pool of Go's keeps them."""
        dsn = self.process.state.postgres_dsn(application="linkflow-worker")
        with contextlib.suppress(psycopg.Error):
            self._pool = [psycopg.connect(dsn) for _ in range(self.knobs.now().worker_pool - 1)]

    def _take(self) -> None:
        free = self.concurrency - len(self.running)
        if free <= 0 or time.monotonic() < self._next_take:
            return
        try:
            messages = self.broker.dequeue(free, self.timing.lease, self.chance)
        except redis.RedisError as error:
            self.process.log("error", "Dequeue error", error=str(error))
            # asynq tries again at once, 14,000 times a second; a shared machine is spared that.
            self._next_take = time.monotonic() + 0.05
            return
        if len(messages) < free:
            self._next_take = time.monotonic() + self.timing.idle
        for message in messages:
            self._begin(message)

    def _begin(self, message: TaskMessage) -> None:
        knobs = self.knobs.now()
        self._taken += 1
        usual = self.timing.job * self.chance.uniform(0.9, 1.1)
        slow = (knobs.job_seconds or 0.0) * self.chance.uniform(0.6, 1.4)
        content = payload(message)
        error = knobs.workflow_errors.get(content["workflow_id"], knobs.job_error)
        job = Job(time.monotonic() + (slow or usual), message, time.time(), str(uuid.uuid4()), error)
        self.running[message.id] = job
        self._writer.begin(job.execution, content)
        if self.ailments.strike(message):
            self._endless.append(job)
        elif knobs.crash_every and self._taken > CRASH_AFTER_JOBS:
            self._hung.append(job)  # the leak: it holds its memory until the kernel ends the process
        elif knobs.hang_before > self.born:
            self._hung.append(job)
        else:
            heapq.heappush(self._due, job)

    def _finish_due(self) -> None:
        knobs = self.knobs.now()
        if self._hung and not knobs.crash_every and knobs.hang_before <= self.born:
            self._due += self._hung
            heapq.heapify(self._due)
            self._hung.clear()
        if self._endless and not knobs.doomed:
            self._due += self._endless
            heapq.heapify(self._due)
            self._endless.clear()
        now = time.monotonic()
        while self._due and self._due[0].due <= now:
            job = heapq.heappop(self._due)
            self._writer.finish(job.message.id, job.execution, job.error)

    def _settle(self) -> None:
        """Tell Redis what came of the jobs whose rows are written; what Redis refuses is told again later."""
        done, self._settled = self._settled, []
        try:
            finished = [self.running[each.task].message for each in done if each.error is None]
            if finished:
                self.broker.complete(finished, self.timing.retention)
            for each in done:
                if each.error is not None:
                    self._fail(self.running[each.task].message, each.error)
        except redis.RedisError as error:
            self.process.log("error", "Could not settle tasks", error=str(error))
            self._settled = done
            return
        for each in done:
            del self.running[each.task]

    def _fail(self, message: TaskMessage, error: str) -> None:
        self.process.log("error", "Workflow execution failed", task_id=message.id, error=error)
        self.broker.fail(message, error, self.timing.retry_delay(message.retried, self.chance.random()))

    def _rest(self) -> None:
        now = time.monotonic()
        until = now + 0.1
        if self._due:
            until = min(until, self._due[0].due)
        if len(self.running) < self.concurrency:
            until = min(until, self._next_take)
        with contextlib.suppress(queue.Empty):
            self._settled.append(self._written.get(timeout=max(0.0005, until - now)))
            while True:
                self._settled.append(self._written.get_nowait())

    def _crash_perhaps(self) -> None:
        every = self.knobs.now().crash_every
        if every and time.time() - self.born > every * self._luck:
            self.ailments.die_of_memory()

    def _stop(self) -> None:
        """asynq: take nothing more, let running jobs finish for 8 s, put the others back to the front."""
        self.status = "stopped"
        self.process.log("info", "Starting graceful shutdown")
        deadline = time.monotonic() + self.timing.stop_grace
        while self.running and time.monotonic() < deadline:
            self._finish_due()
            self._settle()
            self._rest()
        for job in list(self.running.values()):
            self.broker.requeue(job.message)
        self.process.log("info", "Exiting", requeued=len(self.running))
        self.running.clear()
        self.broker.say_goodbye(self._info())

    def heartbeat(self) -> None:
        info = self._info()
        rows = {task: (job.message, self._row(info, job)) for task, job in list(self.running.items())}
        if not self.process.stopping.is_set():
            self.broker.heartbeat(info, rows, self.timing.server_ttl, self.timing.lease)

    def _info(self) -> ServerInfo:
        return ServerInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            server_id=self.server_id,
            concurrency=self.concurrency,
            queues=QUEUES,
            status=self.status,
            start=self.born,
            active_worker_count=len(self.running),
        )

    def _row(self, info: ServerInfo, job: Job) -> WorkerInfo:
        deadline = job.started + job.message.timeout * self.timing.pace
        if job.message.deadline:
            deadline = min(deadline, job.message.deadline)
        return WorkerInfo(
            host=info.host,
            pid=info.pid,
            server_id=info.server_id,
            task_id=job.message.id,
            task_type=job.message.type,
            task_payload=job.message.payload,
            queue=job.message.queue,
            start=job.started,
            deadline=deadline,
        )

    def forward(self) -> None:
        for name in QUEUES:
            self.broker.forward(name)

    def clean(self) -> None:
        for name in QUEUES:
            self.broker.clean(name)

    def take_webhooks(self) -> None:
        receive(self.broker.client, self.chance)
        process(self.broker.client, f"{socket.gethostname()}-{os.getpid()}")

    def recover(self) -> None:
        for name in QUEUES:
            for message in self.broker.expired(name, time.time() - self.timing.lease):
                self._fail(message, LEASE_EXPIRED)

    def _repeat(self, every: float, act: Callable[[], None]) -> None:
        while not self.process.stopping.is_set():
            try:
                act()
            except redis.RedisError as error:
                self.process.log("error", f"Could not {act.__name__}", error=str(error))
            self.process.stopping.wait(every)


def payload(message: TaskMessage) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(message.payload)
    return document


def main() -> None:
    process = StandIn("worker")
    try:
        worker = Worker(process)
        worker.heartbeat()
    except redis.RedisError as error:
        # Under OOM or READONLY a real worker starts and keeps failing its heartbeat; only no connection is fatal.
        if isinstance(error, redis.ConnectionError):
            raise process.fatal("Failed to connect to Redis", error) from None
    worker.run()


if __name__ == "__main__":
    main()
