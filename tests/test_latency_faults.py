"""The faults of latency and of the connection pool: each shows what it is, and leaves no trace."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from runbook_engine.sandbox import control
from runbook_engine.sandbox.latency_faults import SLOW_MS, slowest_ms
from runbook_engine.sandbox.state import State
from runbook_engine.sandbox.world import World

pytestmark = pytest.mark.xdist_group("sandbox")

STATES = """
select count(*) filter (where state = 'idle in transaction'), count(*) filter (where wait_event_type = 'Lock'),
       count(*) filter (where usename = 'reporting'),
       count(*) filter (where query like '%pg_sleep%' and state = 'active')
from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()
"""
TABLE = """
select (select array_agg(indexdef order by indexdef) from pg_indexes where tablename = 'executions'),
       (select reloptions from pg_class where oid = 'executions'::regclass),
       (select count(*) from executions where status = 'queued'),
       (select array_agg(rolname order by rolname) from pg_roles where rolcanlogin),
       (select count(*) from pg_db_role_setting where setrole <> 0)
"""


@pytest.fixture
def linkflow(sandbox: State) -> Iterator[State]:
    """The sandbox, healthy before and after."""
    control.restore(sandbox)
    yield sandbox
    control.restore(sandbox)


@pytest.fixture
def database(linkflow: State) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(linkflow.postgres_dsn("runbook", "runbook"), autocommit=True) as connection:
        yield connection


def world_of(state: State) -> World:
    return World(state, random.Random(1), lambda line: None)


@pytest.mark.parametrize("fault", ["F20", "F22", "F23"])
def test_requests_are_slow_until_it_is_healed_and_the_tables_are_as_before(
    linkflow: State, database: psycopg.Connection[Any], fault: str
) -> None:
    before = database.execute(TABLE).fetchone()
    control.break_(linkflow, fault, seed=3)
    assert slowest_ms(world_of(linkflow), 6) > SLOW_MS
    if fault != "F23":
        assert database.execute(TABLE).fetchone() != before
    control.heal(linkflow)
    assert database.execute(TABLE).fetchone() == before


@pytest.mark.parametrize(("fault", "column"), [("F71", 0), ("F72", 1), ("F70", 2), ("F75", 3)])
def test_sessions_are_held_by_whom_it_says_and_are_gone_when_it_is_healed(
    linkflow: State, database: psycopg.Connection[Any], fault: str, column: int
) -> None:
    before = database.execute(TABLE).fetchone()
    control.break_(linkflow, fault, seed=3)
    held = database.execute(STATES).fetchone()
    assert held and held[column] >= 10
    control.restore(linkflow)
    freed = database.execute(STATES).fetchone()
    assert freed and freed[column] <= 2  # workers have transactions, too, for a moment each
    assert database.execute(TABLE).fetchone() == before
