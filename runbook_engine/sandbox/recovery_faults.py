"""Faults after which rows or tables are gone that nobody meant to lose. A backup of the night before exists."""

from __future__ import annotations

import json
import time

from . import recovery
from .identifiers import row_id
from .state import write_private
from .world import Act, Fault, World

ACCIDENT = "accident.json"  # when it happened, for tests; the playbook is told by a person
NOW = "select clock_timestamp()::text"


def delete_workflows(world: World) -> None:
    """A clean-up script whose list of workspaces was wrong."""
    first, count = world.chance.randrange(10), world.chance.randint(2, 6)
    workspaces = ", ".join(f"'{row_id('workspace', number)}'" for number in range(first, first + count))
    gone = f"workspace_id in ({workspaces})"
    recovery.take_base_backup(world.state)
    rows = recovery.keep_rows(world.state, "workflows", gone)
    happen(world, f"delete from workflows where {gone}", {"table": "workflows", "rows": rows})
    world.log(f"{rows} workflows deleted")


def drop_table(world: World) -> None:
    """A migration that was meant for another database."""
    recovery.take_base_backup(world.state)
    recovery.keep_table(world.state, "node_executions")
    happen(world, "drop table node_executions", {"table": "node_executions", "rows": None})
    world.log("node_executions dropped")


def happen(world: World, statement: str, what: dict[str, object]) -> None:
    """The accident, with a quiet moment before and after it: whoever remembers the time remembers the second."""
    with world.database() as connection:
        time.sleep(world.between(0.2, 0.5))
        before = connection.execute(NOW).fetchone()[0]
        time.sleep(world.between(0.2, 0.5))
        connection.execute("set role linkflow")
        connection.execute(statement)
    write_private(world.state.folder / ACCIDENT, json.dumps({"at": before, **what}))


def heal(world: World) -> None:
    recovery.restore(world.state)
    (world.state.folder / ACCIDENT).unlink(missing_ok=True)


def lost(id_: str, title: str, imitates: str, expect: str, helps: tuple[str, ...], inject: Act) -> Fault:
    harmful = ("swap-databases",)
    return Fault(id_, title, "recovery", imitates, "database-recovery", (expect,), helps, harmful, inject, heal)


FAULTS = (
    lost(
        "F86",
        "Rows deleted at a known time",
        "DELETE FROM workflows with the wrong WHERE",
        "rows-deleted",
        ("start-side", "copy-back"),
        delete_workflows,
    ),
    lost(
        "F87",
        "A table dropped",
        "a migration that was meant for another database",
        "table-dropped",
        ("start-side", "restore-table"),
        drop_table,
    ),
)
