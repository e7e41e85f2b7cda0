"""Holds the PostgreSQL sessions of one lock fault, as the people and programs it imitates would, until it is ended."""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import time
import uuid
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg
import redis

from . import session_scenes
from .broker import connect_redis
from .identifiers import WORKFLOWS, row_id
from .integration import FailingServer
from .knobs import turn
from .lock_faults import INDEX
from .redis_faults import BUSY, SCRIPT_SECONDS
from .scheduler import LEADER
from .standin import StandIn
from .timing import Timing

TOUCH = "update workflows set execution_count = execution_count + 1, updated_at = now() where id = %s"
WAITING = """
select count(*) from pg_stat_activity
where datname = current_database() and wait_event_type = 'Lock' and usename = current_user
"""
BUILD = f"create index concurrently if not exists {INDEX} on executions (workflow_id, created_at desc)"
DEADLOCK_PAIRS = 4


class Holder:
    def __init__(self, process: StandIn, chance: random.Random) -> None:
        self.process = process
        self.chance = chance
        self._sessions: list[psycopg.Connection[Any]] = []
        self.clients: list[redis.Redis] = []  # kept, for a connection that nobody refers to is closed

    def open(self, application: str) -> psycopg.Connection[Any]:
        session = psycopg.connect(self.process.state.postgres_dsn(application=application), autocommit=True)
        self._sessions.append(session)
        return session

    def keep(self, session: psycopg.Connection[Any]) -> None:
        """A session that nobody refers to is closed."""
        self._sessions.append(session)

    def in_background(self, application: str, statement: str, arguments: list[Any] | None = None) -> None:
        """A session that runs one statement; being cancelled or terminated is an answer, too."""
        session = self.open(application)

        def run() -> None:
            with contextlib.suppress(psycopg.Error), session:
                session.execute(statement, arguments)

        threading.Thread(target=run, daemon=True).start()

    def loop(self, act: Callable[[psycopg.Connection[Any]], None], application: str) -> None:
        session = self.open(application)

        def run() -> None:
            while not self.process.stopping.is_set():
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    act(session)

        def guarded() -> None:
            with contextlib.suppress(psycopg.Error):
                run()

        threading.Thread(target=guarded, daemon=True).start()

    def wait_waiting(self, count: int) -> None:
        deadline = time.monotonic() + 10
        with psycopg.connect(self.process.state.postgres_dsn(application="linkflow-api")) as watcher:
            while time.monotonic() < deadline:
                found = watcher.execute(WAITING).fetchone()
                watcher.rollback()
                if found and found[0] >= count:
                    return
                time.sleep(0.02)


def idle_in_transaction(holder: Holder) -> None:
    rows = holder.chance.sample(range(WORKFLOWS), 3)
    held, *others = [row_id("workflow", number) for number in rows]
    root = holder.open("psql")
    root.execute("begin")
    root.execute(TOUCH, [held])
    for application in ("linkflow-api", "linkflow-api", "linkflow-worker"):
        holder.in_background(application, TOUCH, [held])
        time.sleep(holder.chance.uniform(0.02, 0.1))
    for other in others:
        holder.loop(lambda session, row=other: write_slowly(session, row), "linkflow-worker")  # type: ignore[misc]  # a default binds the loop's value
    holder.wait_waiting(3)


def write_slowly(session: psycopg.Connection[Any], row: str) -> None:
    with session.transaction():
        session.execute(TOUCH, [row])
        session.execute("select pg_sleep(0.2)")
    time.sleep(0.1)


def ddl_queue(holder: Holder) -> None:
    reader = holder.open("reporting")
    reader.execute("begin")
    reader.execute("select count(*), max(updated_at) from workflows where status = 'active'")
    holder.in_background("linkflow-migrate", "alter table workflows add column if not exists tags text[]")
    holder.wait_waiting(1)
    for _ in range(4):
        row = row_id("workflow", holder.chance.randrange(WORKFLOWS))
        holder.in_background("linkflow-api", "select name, status from workflows where id = %s", [row])
    holder.wait_waiting(5)


def index_build(holder: Holder) -> None:
    reader = holder.open("reporting")
    reader.execute("begin isolation level repeatable read")
    reader.execute("select count(*) from workflows")
    holder.in_background(
        "psql", f"create index concurrently if not exists {INDEX} on executions (workflow_id, created_at desc)"
    )
    holder.wait_waiting(1)
    holder.in_background("linkflow-maintenance", "analyze executions")
    holder.wait_waiting(2)


def deadlocks(holder: Holder) -> None:
    rows = [row_id("workflow", number) for number in holder.chance.sample(range(WORKFLOWS), 2 * DEADLOCK_PAIRS)]
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        for one, other in ((first, second), (second, first)):
            pause = holder.chance.uniform(0.2, 0.6)
            holder.loop(opposing(one, other, pause), "linkflow-worker")
        time.sleep(holder.chance.uniform(0.1, 0.4))
    time.sleep(1.5)


def opposing(one: str, other: str, pause: float) -> Callable[[psycopg.Connection[Any]], None]:
    def act(session: psycopg.Connection[Any]) -> None:
        time.sleep(pause)
        with session.transaction():
            session.execute(TOUCH, [one])
            session.execute("select pg_sleep(0.05)")
            session.execute(TOUCH, [other])

    return act


def foreign_server(holder: Holder) -> None:
    """Somebody's `python3 -m http.server` on the port that is the API's."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory="/nonexistent")
    server = ThreadingHTTPServer(("127.0.0.1", holder.process.state.api_port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def idle_reader(holder: Holder) -> None:
    reader = holder.open("psql")
    reader.execute("begin")
    reader.execute("select count(*), max(updated_at) from workflows")


def hoard(holder: Holder) -> None:
    """Every connection that is left, and from then on every one that somebody gives back."""

    def take() -> None:
        while not holder.process.stopping.wait(0.02):
            with contextlib.suppress(psycopg.Error):
                holder.open("linkflow-report")

    with contextlib.suppress(psycopg.Error):
        while True:
            holder.open("linkflow-report")
    threading.Thread(target=take, daemon=True).start()


def failing_integration(holder: Holder) -> None:
    server = FailingServer(holder.chance)
    server.begin()
    turn(holder.process.state.folder, downstream=f"http://127.0.0.1:{server.server_port}/v1/chat/completions")


def lock_schedules(holder: Holder) -> None:
    session = holder.open("psql")
    session.execute("begin")
    session.execute("lock table schedules in exclusive mode")


def foreign_lock(holder: Holder) -> None:
    """A scheduler of another environment: it leads over the same Redis, and sends nothing of ours."""
    state = holder.process.state
    timing = Timing(state.pace)
    ttl = round(timing.leader_ttl * 1000)
    value = str(uuid.UUID(int=holder.chance.getrandbits(128), version=4))
    connect_redis(state).set(LEADER, value, px=ttl)

    def renew() -> None:
        with contextlib.closing(connect_redis(state)) as client:
            while not holder.process.stopping.wait(timing.leader_renew):
                client.pexpire(LEADER, ttl)

    threading.Thread(target=renew, daemon=True).start()


def leaked_clients(holder: Holder) -> None:
    """Connections to Redis that somebody opened and has forgotten, under the name of a report."""
    kept = [connect_redis(holder.process.state) for _ in range(holder.chance.randint(12, 20))]
    for client in kept:
        client.client_setname("linkflow-report")
        holder.clients.append(client)


def endless_script(holder: Holder) -> None:
    client = connect_redis(holder.process.state, timeout=2 * SCRIPT_SECONDS)

    def run() -> None:
        with contextlib.suppress(redis.RedisError):  # being killed is an answer, too
            client.eval(BUSY, 0, SCRIPT_SECONDS)

    threading.Thread(target=run, daemon=True).start()


PARTS: dict[str, Callable[[Holder], None]] = {
    "F02": foreign_server,
    "F06": idle_reader,
    "F14": hoard,
    "F16": failing_integration,
    "F21": session_scenes.hold_row,
    "F26": session_scenes.take_cpu,
    "F70": session_scenes.forgotten_sessions,
    "F71": session_scenes.open_transactions,
    "F72": session_scenes.blocked_updaters,
    "F75": session_scenes.slow_statements,
    "F80": idle_in_transaction,
    "F81": ddl_queue,
    "F83": index_build,
    "F84": deadlocks,
    "F100d": leaked_clients,
    "F100i": endless_script,
    "F114": lock_schedules,
    "F127": foreign_lock,
}


def main() -> None:
    process = StandIn("holder")
    fault, seed = process.arguments
    holder = Holder(process, random.Random(int(seed)))  # kept, for a session that nobody refers to is closed
    PARTS[fault](holder)
    process.ready()
    process.stopping.wait()


if __name__ == "__main__":
    main()
