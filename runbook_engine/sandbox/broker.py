"""asynq's queues in Redis, spoken as asynq speaks them (key layout of 0.18 and later, protobuf messages).

It must stay byte-compatible with what a real inspector reads; timing is the caller's.
"""

from __future__ import annotations

import json
import random
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import redis
from redis.client import Pipeline

from ..asynq.wire import (
    ServerInfo,
    TaskMessage,
    WorkerInfo,
    decode_task_message,
    encode_server_info,
    encode_task_message,
    encode_worker_info,
)
from . import scripts
from .identifiers import WORKFLOWS, WORKSPACES, row_id
from .state import State

QUEUES = {"critical": 6, "default": 3, "low": 1}
DAY_TTL = 90 * 86400
ARCHIVE_SIZE = 9999
LEASE_EXPIRED = "asynq: task lease expired"
OPTIONS = {
    "workflow:execution": (3, 300),
    "notification:send": (3, 30),
    "webhook:delivery": (5, 30),
    "email:send": (3, 30),
}


Running = Mapping[str, tuple[TaskMessage, WorkerInfo]]


def connect_redis(state: State, timeout: float = 5.0) -> redis.Redis:
    return redis.Redis(
        host="127.0.0.1",
        port=state.redis_port,
        password=state.passwords["redis"],
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
    )


def key(queue: str, part: str) -> str:
    return f"asynq:{{{queue}}}:{part}"


def new_message(
    queue: str, *, workflow: int, retention: float, task_type: str = "workflow:execution", **fields: Any
) -> TaskMessage:
    """A task as LinkFlow's API or scheduler makes it, with that type's own options."""
    retries, timeout = OPTIONS[task_type]
    trigger = fields.pop("trigger", {"type": "api", "data": {}})
    payload = {
        "workflow_id": row_id("workflow", workflow % WORKFLOWS),
        "workspace_id": row_id("workspace", workflow % WORKSPACES),
        "execution_id": str(uuid.uuid4()),
        "trigger_type": trigger["type"],
        "trigger_data": trigger["data"],
        "input_data": {},
    }
    message = TaskMessage(
        type=task_type,
        payload=json.dumps(payload).encode(),
        id=str(uuid.uuid4()),
        queue=queue,
        retry=retries,
        timeout=timeout,
        retention=max(1, round(retention)),
    )
    return replace(message, **fields)


class Broker:
    """One client's connection to the queues. Every method is one round trip, however many tasks it is given."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._shas: dict[str, str] = {}

    def load(self) -> None:
        for text in (
            scripts.ENQUEUE,
            scripts.DEQUEUE,
            scripts.COMPLETE,
            scripts.FAIL,
            scripts.REQUEUE,
            scripts.FORWARD,
            scripts.CLEAN,
        ):
            self._shas[text] = str(self.client.script_load(text))

    def _queue(self, pipe: Pipeline, text: str, keys: list[str], arguments: list[Any]) -> None:
        if text not in self._shas:
            self.load()
        pipe.evalsha(self._shas[text], len(keys), *keys, *arguments)

    def _execute(self, pipe: Pipeline) -> list[Any]:
        try:
            answers: list[Any] = pipe.execute()
        except redis.exceptions.NoScriptError:  # Redis was restarted; whoever called tries again
            self._shas.clear()
            raise
        return answers

    def _run(self, text: str, keys: list[str], arguments: list[Any]) -> Any:
        pipe = self.client.pipeline(transaction=False)
        self._queue(pipe, text, keys, arguments)
        return self._execute(pipe)[0]

    def enqueue(self, messages: Iterable[TaskMessage]) -> int:
        pipe = self.client.pipeline(transaction=False)
        now = time.time_ns()
        queues = set()
        for message in messages:
            keys = [key(message.queue, f"t:{message.id}"), key(message.queue, "pending")]
            self._queue(pipe, scripts.ENQUEUE, keys, [encode_task_message(message), message.id, now])
            queues.add(message.queue)
        if queues:
            pipe.sadd("asynq:queues", *queues)
        return sum(self._execute(pipe)[:-1])

    def dequeue(self, count: int, lease: float, chance: random.Random) -> list[TaskMessage]:
        """Up to `count` tasks, each draw looking through the queues in an order that follows their weights."""
        pipe = self.client.pipeline(transaction=False)
        expiry = time.time() + lease
        for _ in range(count):
            first = _weighted(chance)
            self._queue(pipe, scripts.DEQUEUE, _dequeue_keys(first), [expiry, key(first, "t:")])
        raws = self._execute(pipe)
        for queue in QUEUES if None in raws else ():
            for _ in range(raws.count(None)):
                raw = self._run(scripts.DEQUEUE, _dequeue_keys(queue), [expiry, key(queue, "t:")])
                if raw is None:
                    break
                raws[raws.index(None)] = raw
        return [decode_task_message(raw) for raw in raws if raw is not None]

    def complete(self, messages: Iterable[TaskMessage], retention: float) -> None:
        pipe = self.client.pipeline(transaction=False)
        now = time.time()
        for message in messages:
            done = replace(message, completed_at=int(now))
            keys = [
                *_keys(message.queue, "active", "lease", "completed", f"t:{message.id}"),
                *_counters(message.queue, "processed"),
            ]
            arguments = [message.id, now + retention, encode_task_message(done), DAY_TTL]
            self._queue(pipe, scripts.COMPLETE, keys, arguments)
        self._execute(pipe)

    def fail(self, message: TaskMessage, error: str, delay: float) -> None:
        """Retry after `delay` while the task has retries left, else archive, and keep the archive at its size."""
        now = time.time()
        again = message.retried < message.retry
        where = "retry" if again else "archived"
        failed = replace(
            message, error_msg=error, last_failed_at=int(now), retried=message.retried + 1 if again else message.retried
        )
        keys = [
            *_keys(message.queue, "active", "lease", where, f"t:{message.id}"),
            *_counters(message.queue, "processed"),
            *_counters(message.queue, "failed"),
        ]
        score = now + delay if again else now
        self._run(scripts.FAIL, keys, [message.id, score, encode_task_message(failed), DAY_TTL, where])
        if not again:
            self._trim_archive(message.queue)

    def _trim_archive(self, queue: str) -> None:
        for task in _texts(self.client.zrange(key(queue, "archived"), 0, -ARCHIVE_SIZE - 1)):
            self.client.delete(key(queue, f"t:{task}"))
            self.client.zrem(key(queue, "archived"), task)

    def requeue(self, message: TaskMessage) -> None:
        self._run(scripts.REQUEUE, _keys(message.queue, "active", "lease", "pending", f"t:{message.id}"), [message.id])

    def forward(self, queue: str) -> None:
        for waiting in ("scheduled", "retry"):
            keys = _keys(queue, waiting, "pending")
            while self._run(scripts.FORWARD, keys, [time.time(), key(queue, "t:"), time.time_ns()]) == 100:
                pass

    def clean(self, queue: str) -> None:
        while self._run(scripts.CLEAN, [key(queue, "completed")], [time.time(), key(queue, "t:")]) == 100:
            pass

    def expired(self, queue: str, before: float) -> list[TaskMessage]:
        """Tasks whose lease ran out before that moment; ids without a message are skipped, as asynq 0.25 does."""
        ids = _texts(self.client.zrangebyscore(key(queue, "lease"), "-inf", before))
        raws = [self.client.hget(key(queue, f"t:{task}"), "msg") for task in ids]
        return [decode_task_message(raw) for raw in raws if isinstance(raw, bytes)]

    def heartbeat(
        self, info: ServerInfo, running: Mapping[str, tuple[TaskMessage, WorkerInfo]], ttl: float, lease: float
    ) -> None:
        identity = f"{{{info.host}:{info.pid}:{info.server_id}}}"
        servers, workers = f"asynq:servers:{identity}", f"asynq:workers:{identity}"
        expiry = time.time() + ttl
        pipe = self.client.pipeline(transaction=True)
        pipe.set(servers, encode_server_info(info), px=round(ttl * 1000))
        pipe.delete(workers)
        if running:
            pipe.hset(workers, mapping={task: encode_worker_info(row) for task, (_, row) in running.items()})
            pipe.pexpire(workers, round(ttl * 1000))
        pipe.zadd("asynq:servers", {servers: expiry})
        pipe.zadd("asynq:workers", {workers: expiry})
        for task, (message, _) in running.items():
            pipe.zadd(key(message.queue, "lease"), {task: time.time() + lease}, xx=True)
        pipe.zremrangebyscore("asynq:servers", "-inf", time.time() - 60)
        pipe.zremrangebyscore("asynq:workers", "-inf", time.time() - 60)
        pipe.execute()

    def say_goodbye(self, info: ServerInfo) -> None:
        identity = f"{{{info.host}:{info.pid}:{info.server_id}}}"
        for kind in ("servers", "workers"):
            self.client.zrem(f"asynq:{kind}", f"asynq:{kind}:{identity}")
            self.client.delete(f"asynq:{kind}:{identity}")


def _texts(members: Iterable[object]) -> list[str]:
    return [member.decode() for member in members if isinstance(member, bytes)]


def _weighted(chance: random.Random) -> str:
    return chance.choices(list(QUEUES), list(QUEUES.values()))[0]


def _dequeue_keys(queue: str) -> list[str]:
    return _keys(queue, "pending", "paused", "active", "lease")


def _keys(queue: str, *parts: str) -> list[str]:
    return [key(queue, part) for part in parts]


def _counters(queue: str, name: str) -> list[str]:
    return [key(queue, name), key(queue, f"{name}:{time.strftime('%Y-%m-%d', time.gmtime())}")]
