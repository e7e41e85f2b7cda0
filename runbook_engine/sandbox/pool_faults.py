"""Faults after which the connections of PostgreSQL run out (F70 to F75)."""

from __future__ import annotations

import time

from psycopg import sql

from .baseline import wait_until
from .timing import WORKERS
from .world import Act, Fault, World

USED = """
select 100.0 * count(*) / (current_setting('max_connections')::int - current_setting('reserved_connections')::int
  - current_setting('superuser_reserved_connections')::int)
from pg_stat_activity where backend_type = 'client backend' and application_name <> 'runbook-sandbox'
"""
WORKER_POOL = 3
FLEET = 6  # with three connections each: what is left of 27 beside the API and the schedulers


def wait_crowded(world: World) -> None:
    with world.database() as connection:
        wait_until(lambda: connection.execute(USED).fetchone()[0] >= 85, "few free connections", 10)


def held(fault: str, settle: float = 0.0) -> tuple[Act, Act]:
    """`settle`: seconds at pace 1 after which what is held counts as forgotten."""

    def inject(world: World) -> None:
        world.hold(fault)
        wait_crowded(world)
        time.sleep(settle * world.state.pace)

    def heal(world: World) -> None:
        world.release(fault)

    return inject, heal


def forget_sessions(world: World) -> None:
    with world.database() as connection:
        password = sql.Literal(world.state.passwords["linkflow"])
        connection.execute("drop role if exists reporting")
        connection.execute(sql.SQL("create role reporting login in role pg_read_all_data password {}").format(password))
    held("F70", settle=62)[0](world)


def remember_sessions(world: World) -> None:
    world.release("F70")
    with world.database() as connection:
        gone = "select count(*) = 0 from pg_stat_activity where usename = 'reporting'"
        wait_until(lambda: connection.execute(gone).fetchone()[0], "the sessions of reporting to end", 10)
        connection.execute("drop role if exists reporting")


def scale_up(world: World) -> None:
    """Somebody wanted more throughput, and every new process brought a pool of its own."""
    world.turn(worker_pool=WORKER_POOL)
    world.act("worker", "scale", replicas=FLEET)
    world.act("worker", "restart")
    wait_crowded(world)


def scale_down(world: World) -> None:
    world.turn(worker_pool=1)
    world.act("worker", "scale", replicas=WORKERS)
    world.act("worker", "restart")


def pool(
    id_: str,
    title: str,
    imitates: str,
    expect: str,
    acts: tuple[Act, Act],
    *,
    helps: tuple[str, ...] = (),
    harmful: tuple[str, ...] = (),
) -> Fault:
    return Fault(id_, title, "pool", imitates, "connection-pool-exhaustion", (expect,), helps, harmful, *acts)


FAULTS: tuple[Fault, ...] = (
    pool(
        "F70",
        "Another team's sessions are forgotten",
        "a reporting tool opens a connection for each report and never closes one",
        "foreign-leak",
        (forget_sessions, remember_sessions),
        helps=("terminate-idle",),
        harmful=("terminate-idle-in-tx", "scale-down", "cancel-slow"),
    ),
    pool(
        "F71",
        "Transactions stay open",
        "a code path begins a transaction and returns without ending it",
        "idle-in-tx-leak",
        held("F71", settle=32),
        helps=("terminate-idle-in-tx",),
        harmful=("terminate-idle", "scale-down", "cancel-slow"),
    ),
    pool(
        "F72",
        "Everybody waits for one row",
        "an import updates a row that somebody in psql has locked",
        "lock-pileup",
        held("F72"),
        harmful=("terminate-idle", "terminate-idle-in-tx", "scale-down", "cancel-slow"),
    ),
    pool(
        "F73",
        "Too many processes, each with a pool",
        "workers were scaled up without counting their connections",
        "over-scaled",
        (scale_up, scale_down),
        helps=("scale-down",),
        harmful=("terminate-idle", "terminate-idle-in-tx", "cancel-slow"),
    ),
    pool(
        "F75",
        "Slow statements pile up",
        "an export is started again and again while the first still runs",
        "slow-queries-pileup",
        held("F75", settle=32),
        helps=("cancel-slow",),
        harmful=("terminate-idle", "terminate-idle-in-tx", "scale-down"),
    ),
)
