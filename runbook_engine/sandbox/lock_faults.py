"""Faults after which PostgreSQL's sessions wait for each other. A holder process keeps the sessions."""

from __future__ import annotations

from .baseline import free_database
from .world import Act, Fault, World

INDEX = "idx_executions_workflow_created"


def held(fault: str) -> tuple[Act, Act]:
    def inject(world: World) -> None:
        world.hold(fault)

    def heal(world: World) -> None:
        world.release(fault)
        free_database(world.state)
        with world.database() as connection:
            connection.execute(f"drop index if exists {INDEX}")

    return inject, heal


def locks(id_: str, title: str, imitates: str, expect: str, helps: tuple[str, ...], harmful: tuple[str, ...]) -> Fault:
    return Fault(id_, title, "locks", imitates, "lock-contention", (expect,), helps, harmful, *held(id_))


FAULTS = (
    locks(
        "F80",
        "A forgotten transaction holds a row",
        "somebody typed BEGIN and UPDATE into psql and went to lunch",
        "idle-in-transaction",
        ("terminate-root",),
        ("cancel-root", "cancel-ddl", "cancel-build"),
    ),
    locks(
        "F81",
        "A migration queues behind a reader, everybody behind the migration",
        "an ALTER TABLE during a report that never ended its transaction",
        "ddl-queue",
        ("cancel-ddl", "terminate-root"),
        ("cancel-root", "cancel-build"),
    ),
    locks(
        "F83",
        "An index build waits for an old snapshot",
        "CREATE INDEX CONCURRENTLY behind a report's open transaction",
        "index-build",
        ("cancel-build", "terminate-root"),
        ("cancel-root", "cancel-ddl"),
    ),
    locks(
        "F84",
        "Transactions deadlock again and again",
        "two code paths update the same two rows in opposite order",
        "deadlocks",
        (),
        ("terminate-root", "cancel-root", "cancel-ddl", "cancel-build"),
    ),
)
