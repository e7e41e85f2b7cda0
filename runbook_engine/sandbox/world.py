"""What a fault may do to the sandbox, and what a fault is. The faults themselves stand beside this file."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import redis

from ..asynq.wire import TaskMessage
from .baseline import live_servers, wait_until
from .broker import Broker, connect_redis, key, new_message
from .identifiers import WORKFLOWS
from .knobs import Flow, turn
from .postgres import connect_superuser
from .service import request
from .state import State
from .timing import Timing


@dataclass(frozen=True)
class World:
    """The sandbox in the hands of one fault; `chance` is its seeded jitter."""

    state: State
    chance: random.Random
    log: Callable[[str], None]

    @cached_property
    def timing(self) -> Timing:
        return Timing(self.state.pace)

    def turn(self, **knobs: Any) -> None:
        turn(self.state.folder, **knobs)

    def act(self, service: str, action: str, **details: Any) -> dict[str, Any]:
        return request(self.state, {"service": service, "action": action, **details})

    def signal(self, service: str, number: int) -> None:
        self.act(service, "signal", signal=number)

    def hold(self, fault: str) -> None:
        """Start a process whose sessions hold what the fault needs held."""
        arguments = [fault, str(self.chance.randrange(1_000_000))]
        request(self.state, {"action": "hold", "name": f"holder-{fault}", "arguments": arguments})

    def release(self, fault: str) -> None:
        request(self.state, {"action": "release", "name": f"holder-{fault}"})

    @contextlib.contextmanager
    def redis(self) -> Iterator[redis.Redis]:
        with contextlib.closing(connect_redis(self.state)) as client:
            yield client

    @contextlib.contextmanager
    def database(self) -> Iterator[Any]:
        with connect_superuser(self.state.postgres_port, self.state.passwords["postgres"], "linkflow") as connection:
            yield connection

    def between(self, low: float, high: float) -> float:
        return self.chance.uniform(low, high)

    def message(self, queue: str = "default", **fields: Any) -> TaskMessage:
        fields.setdefault("workflow", self.chance.randrange(WORKFLOWS))
        return new_message(queue, retention=self.timing.retention, **fields)

    def pile_up(self, low: int, high: int, queue: str = "default", **fields: Any) -> int:
        """Enqueue that many jobs, as many clients together would have."""
        count = self.chance.randint(low, high)
        with self.redis() as client:
            broker = Broker(client)
            for start in range(0, count, 500):
                broker.enqueue([self.message(queue, **fields) for _ in range(min(500, count - start))])
        self.log(f"{count} jobs piled up in {queue}")
        return count

    def flow(self, queue: str, rate: float, **details: Any) -> None:
        """Constant extra load, `rate` jobs a second at pace 1."""
        self.turn(flows=[Flow(queue, rate / self.state.pace, **details)])

    def wait_pending(self, queue: str = "default", more_than: int = 1000) -> None:
        with self.redis() as client:
            wait_until(lambda: client.llen(key(queue, "pending")) > more_than, f"a backlog in {queue}", 10)

    def wait_active(self, count: int, queue: str = "default") -> None:
        with self.redis() as client:
            wait_until(lambda: client.llen(key(queue, "active")) == count, f"{count} running jobs", 10)

    def wait_no_servers(self) -> None:
        wait_until(
            lambda: not live_servers(self.state), "the workers' heartbeats to run out", 5 + self.timing.server_ttl
        )

    def sleep_until(self, moment: float) -> None:
        time.sleep(max(0.0, moment - time.time()))


Act = Callable[[World], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong in real life. `expect` are causes, `helps` and `harmful` actions of its playbook."""

    id: str
    title: str
    group: str
    imitates: str
    playbook: str
    expect: tuple[str, ...]
    helps: tuple[str, ...]
    harmful: tuple[str, ...]
    inject: Act
    heal: Act
    inputs: Mapping[str, str] = field(default_factory=dict)  # what the person who reports it says
