"""Sessions of PostgreSQL, and a busy processor, as the faults of latency and of the connection pool need them held."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import psycopg

from .identifiers import WORKFLOWS, row_id
from .knobs import KnobReader, load_knobs
from .service import request

if TYPE_CHECKING:
    from .holder import Holder

HOGS = 6
LOWEST = 19
STOLEN, GRANTED = 3.0, 0.01  # seconds. Who asks in between waits for the next turn
BURN = """
import os, sys, time
until, parent = float(sys.argv[1]), os.getppid()
while time.time() < until and os.getppid() == parent:
    sum(range(100000))
"""
FREE = """
select current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
  - current_setting('reserved_connections')::int - count(*) from pg_stat_activity where backend_type = 'client backend'
"""
COUNT_UP = "update workflows set execution_count = execution_count + 1 where id = %s"


def free_slots(holder: Holder) -> int:
    """Connections that LinkFlow could still open."""
    with psycopg.connect(holder.process.state.postgres_dsn(application="linkflow-api"), autocommit=True) as watcher:
        row = watcher.execute(FREE).fetchone()
        assert row
        return int(row[0]) + 1


def as_reporting(holder: Holder) -> psycopg.Connection[tuple[object, ...]]:
    """A session of another team's role; its password is LinkFlow's, the fault saw to that."""
    dsn = holder.process.state.postgres_dsn(application="reporting")
    return psycopg.connect(dsn.replace("user=linkflow", "user=reporting"), autocommit=True)


def hold_row(holder: Holder) -> None:
    root = holder.open("psql")
    root.execute("begin")
    workflow = row_id("workflow", load_knobs(holder.process.state.folder).row)
    root.execute("select name from workflows where id = %s for update", [workflow])


def take_cpu(holder: Holder) -> None:
    """The API gets a small part of the time; once a fault says until when, processes that never wait take the rest."""
    process, knobs = holder.process, KnobReader(holder.process.state.folder)
    api = request(process.state, {"service": "api", "action": "status"})["processes"][0]["pid"]

    def starve() -> None:
        busy_until = 0.0
        while not process.stopping.is_set():
            os.kill(api, signal.SIGSTOP)
            process.stopping.wait(STOLEN * holder.chance.uniform(0.9, 1.1))
            os.kill(api, signal.SIGCONT)
            time.sleep(GRANTED)
            if knobs.now().busy_until > busy_until:
                busy_until = knobs.now().busy_until
                for _ in range(HOGS):
                    burn(busy_until)
            if busy_until and time.time() > busy_until:
                return

    threading.Thread(target=starve, daemon=True).start()


def burn(until: float) -> None:
    """A process that never waits. All others go first; it ends by itself, and with us."""
    process = subprocess.Popen([sys.executable, "-S", "-c", BURN, str(until)], stdin=subprocess.DEVNULL)
    os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)


def forgotten_sessions(holder: Holder) -> None:
    for _ in range(free_slots(holder) - holder.chance.randint(1, 2)):
        session = as_reporting(holder)
        holder.keep(session)
        session.execute("select count(*) from workflows")


def open_transactions(holder: Holder) -> None:
    for _ in range(min(free_slots(holder) - holder.chance.randint(1, 2), 15)):
        session = holder.open("linkflow-api")
        session.execute("begin")
        session.execute("select count(*) from workflows")


def blocked_updaters(holder: Holder) -> None:
    workflow = row_id("workflow", holder.chance.randrange(WORKFLOWS))
    root = holder.open("psql")
    root.execute("begin")
    root.execute(COUNT_UP, [workflow])
    blocked = free_slots(holder) - holder.chance.randint(1, 2)
    for _ in range(blocked):
        holder.in_background("linkflow-import", COUNT_UP, [workflow])
    holder.wait_waiting(blocked)


def slow_statements(holder: Holder) -> None:
    """Exports that take long and wait for nobody."""
    for _ in range(free_slots(holder) - holder.chance.randint(1, 2)):
        holder.in_background("linkflow-export", "select count(*), pg_sleep(%s) from workflows", [90])
        with contextlib.suppress(InterruptedError):
            time.sleep(holder.chance.uniform(0.0, 0.05))
