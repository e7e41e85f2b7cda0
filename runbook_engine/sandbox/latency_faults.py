"""Faults after which requests are slow (F20 to F26). Each is in when the API's own log says so, or its clients do."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import time
from datetime import datetime

from .baseline import probe_health, wait_until
from .identifiers import WORKFLOWS, WORKSPACES, row_id
from .table_care import IMPORT, mend_role, mend_tables
from .world import Act, Fault, World

SLOW_MS = 2300  # the alert is at 2000
TAIL = 1 << 20  # bytes of the log that are looked at
MOST_VISITORS = 100
BUSY_SECONDS = 20.0
DELAYED = "alter table executions set (autovacuum_enabled = off)"
IMPORTED = """
insert into executions (id, workflow_id, workspace_id, status, trigger_type, batch_id, created_at)
select gen_random_uuid(), md5('workflow-' || %s)::uuid, md5('workspace-' || %s)::uuid, 'queued', 'manual', %s,
       now() - n * interval '1 ms' from generate_series(1, %s) n
"""


def slowest_ms(world: World, seconds: float) -> float:
    """The 95th percentile of the requests that ended within the last `seconds`, as LinkFlow logged them."""
    log_file, since = world.state.log_file("api"), time.time() - seconds
    with log_file.open("rb") as log:
        log.seek(max(0, log_file.stat().st_size - TAIL))
        lines = log.read().decode("utf-8", "replace").splitlines()[1:]
    found = sorted(duration for line in lines if (duration := duration_of(line, since)) is not None)
    return found[math.ceil(0.95 * len(found)) - 1] if found else 0.0


def duration_of(line: str, since: float) -> float | None:
    if '"duration"' not in line:
        return None
    with contextlib.suppress(ValueError, KeyError):
        record = json.loads(line)
        if datetime.fromisoformat(record["time"]).timestamp() >= since:
            return float(record["duration"])
    return None


def visit(
    world: World, page: str, visitors: int, *, pause: float = 1.0, seconds: float = 3.0, most: int = MOST_VISITORS
) -> None:
    """Let as many people come as it takes until the slow ones of all requests take about that long."""
    wanted = seconds * 1000 * world.between(0.9, 1.2)
    for _ in range(10):
        world.turn(visits=page, visitors=visitors, visit_pause=pause)
        time.sleep(1.5)
        found = slowest_ms(world, 1.5)
        if found >= wanted:
            break
        if found:  # where nobody was answered, they all wait already
            visitors = min(most, math.ceil(visitors * min(1.6, max(1.2, wanted / found))))
    wait_slow(world)
    world.log(f"{visitors} people look at {page}")


def wait_slow(world: World) -> None:
    recent = max(4.0, 60 * world.state.pace)
    wait_until(lambda: slowest_ms(world, recent) > SLOW_MS, "slow requests in the log", 30)


def answer_ms(world: World) -> float:
    """What a client sees; a process that gets no turn does not log how long it was not running."""
    began = time.monotonic()
    probe_health(world.state)
    return (time.monotonic() - began) * 1000


def nobody_visits(world: World) -> None:
    world.turn(visitors=0, round_trip=0.0)


def drop_index(world: World) -> None:
    with world.database() as connection:
        connection.execute("drop index if exists idx_executions_workflow_id")
    visit(world, "GET /api/v1/workspaces/{workspace}/dashboard", 14)


def heal_tables(world: World) -> None:
    nobody_visits(world)
    mend_tables(world.state)


def hold_row(world: World) -> None:
    row = world.chance.randrange(WORKFLOWS)
    world.turn(row=row)
    world.hold("F21")
    visit(world, f"POST /api/v1/workflows/{row_id('workflow', row)}/start", 8, pause=0.3, most=8)


def free_row(world: World) -> None:
    nobody_visits(world)
    world.release("F21")


def import_rows(world: World) -> None:
    workflow = world.chance.randrange(WORKFLOWS)
    with world.database() as connection:
        connection.execute(DELAYED)
        connection.execute("analyze executions")
        rows = world.chance.randint(95_000, 110_000)
        connection.execute(IMPORTED, (workflow, workflow % WORKSPACES, IMPORT, rows))
    visit(world, "GET /api/v1/executions/waiting", 14)


def ask_row_by_row(world: World) -> None:
    world.turn(round_trip=world.between(0.004, 0.006))
    visit(world, "GET /api/v1/workspaces/{workspace}/workflows", 16, pause=0.5)


def starve_memory(world: World) -> None:
    """LinkFlow's role gets little memory for its sorts and hashes, and its API is started with that."""
    with world.database() as connection:
        connection.execute("alter role linkflow set work_mem = '64kB'")
    world.act("api", "restart")
    visit(world, "GET /api/v1/workspaces/{workspace}/cleanup", 8, pause=0.5, most=30)


def feed_memory(world: World) -> None:
    nobody_visits(world)
    mend_role(world.state)


def take_cpu(world: World) -> None:
    """Somebody else's work on the machine. It gives way to everybody, and ends by itself: only the API is starved."""
    world.hold("F26")
    wait_until(lambda: answer_ms(world) > SLOW_MS, "a slow answer", 20)
    world.turn(busy_until=time.time() + BUSY_SECONDS)
    time.sleep(4)  # until the kernel's average of ten seconds has noticed


def give_cpu_back(world: World) -> None:
    world.turn(busy_until=0.0)
    world.release("F26")
    world.signal("api", signal.SIGCONT)


def latency(
    id_: str,
    title: str,
    imitates: str,
    expect: tuple[str, ...],
    inject: Act,
    heal: Act,
    *,
    helps: tuple[str, ...] = (),
    harmful: tuple[str, ...] = (),
) -> Fault:
    return Fault(id_, title, "latency", imitates, "high-latency", expect, helps, harmful, inject, heal)


FAULTS: tuple[Fault, ...] = (
    latency(
        "F20",
        "An index is gone",
        "a migration dropped executions(workflow_id); every dashboard reads the whole table",
        ("missing-index",),
        drop_index,
        heal_tables,
        helps=("add-index", "add-index-of-two"),
        harmful=("cancel-runaway", "restart-api", "raise-work-mem"),
    ),
    latency(
        "F21",
        "A workflow's row is locked",
        "a script holds one workflow FOR UPDATE; whoever starts that workflow waits",
        ("lock-waits",),
        hold_row,
        free_row,
        harmful=("add-index", "analyze", "raise-work-mem"),
    ),
    latency(
        "F22",
        "Statistics know nothing of a large import",
        "100,000 executions were imported while autovacuum was off; the planner still expects none",
        ("stale-stats",),
        import_rows,
        heal_tables,
        helps=("analyze",),
        harmful=("add-index", "add-index-of-two", "cancel-runaway", "raise-work-mem"),
    ),
    latency(
        "F23",
        "A page asks row by row",
        "a list of 200 workflows is read in 200 queries, each a round trip to the database",
        ("n-plus-one",),
        ask_row_by_row,
        nobody_visits,
        harmful=("add-index", "analyze", "cancel-runaway", "raise-work-mem"),
    ),
    latency(
        "F24",
        "NOT IN goes through everything for every row",
        "the list no longer fits into work_mem, and PostgreSQL rescans it for each row instead of hashing it",
        ("cleanup-not-in",),
        starve_memory,
        feed_memory,
        helps=("raise-work-mem", "cancel-runaway"),
        harmful=("add-index", "analyze"),
    ),
    latency(
        "F26",
        "Something else takes the processor",
        "a backup compresses on the machine of the API, which hardly gets a turn",
        ("cpu-or-io-host",),
        take_cpu,
        give_cpu_back,
        harmful=("add-index", "analyze", "cancel-runaway", "raise-work-mem"),
    ),
)
