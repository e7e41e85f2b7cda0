"""`database-recovery` on the PostgreSQL of Debian, 15: no wheel, no sandbox, none of LinkFlow's services."""

from __future__ import annotations

import os
import shutil
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from carried_out import Trial, action_of, assert_fixed

from runbook_engine.sandbox import postgres, recovery
from runbook_engine.sandbox.environment import environment
from runbook_engine.sandbox.state import ROLES, State, write_private

pytestmark = pytest.mark.trial

BINARIES = Path("/usr/lib/postgresql/15/bin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[State]:
    if not (BINARIES / "postgres").exists():
        assert not os.environ.get("CI"), "PostgreSQL 15 must be there in CI"
        pytest.skip(f"{BINARIES} is not there")
    folder, run_folder = tmp_path_factory.mktemp("older"), postgres.make_run_folder()
    state = State(
        folder=folder,
        run_folder=run_folder,
        pace=0.1,
        seed=1,
        supervisor=0,
        started_at="",
        redis_port=1,
        postgres_port=free_port(),
        api_port=1,
        redis_binary="",
        postgres_binaries=BINARIES,
        passwords={role: f"secret-of-{role}" for role in ROLES},
    )
    postgres._initialise(BINARIES, state.postgres_data, state.passwords["postgres"])
    settings = state.postgres_data / "postgresql.conf"
    settings.write_text(
        settings.read_text().replace("\nreserved_connections", "\n# not before 16: reserved_connections")
    )
    server = postgres.start_server(BINARIES, state.postgres_data, state.postgres_port, folder / "postgres.log")
    try:
        postgres.wait_accepting(BINARIES, state.postgres_port, server)
        fill(state)
        describe(state)
        yield state
    finally:
        recovery.stop_side(run_folder)
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(run_folder, ignore_errors=True)


def fill(state: State) -> None:
    """LinkFlow's schema with fewer rows, and the three roles."""
    with connected(state, "postgres") as connection:
        connection.execute("create role linkflow login")
        connection.execute("create role runbook login in role pg_monitor")
        connection.execute("create database linkflow owner linkflow")
        for statement in postgres.OPERATOR:
            connection.execute(statement)
    postgres.set_passwords(state.postgres_port, state.passwords["postgres"], state.passwords)
    with connected(state) as connection:
        connection.execute("grant create, usage on schema public to linkflow")
        connection.execute(postgres.SCHEMA.read_text().replace("150000", "2000").encode())
        postgres._give_tables_away(connection)


def describe(state: State) -> None:
    for role, password in state.passwords.items():
        write_private(state.folder / f"{role}.password", password)
    document = environment(state)
    targets = document["environments"]["sandbox"]["targets"]
    document["environments"]["sandbox"]["targets"] = {name: targets[name] for name in ("db", "admin", "backups")}
    write_private(state.folder / "runbook.yaml", yaml.safe_dump(document))


def connected(state: State, database: str = "linkflow") -> Any:
    return closing(postgres.connect_superuser(state.postgres_port, state.passwords["postgres"], database))


def content(state: State) -> list[Any]:
    with connected(state) as connection:
        found: list[Any] = connection.execute("select md5(t::text) from workflows t order by 1").fetchall()
        return found


def accident(state: State, statement: str) -> str:
    """When it was still good."""
    with connected(state) as connection:
        at = connection.execute("select clock_timestamp()::text").fetchone()[0]
        connection.execute(statement)
        return str(at)


def test_deleted_rows_and_a_dropped_table_come_back(older: State, tmp_path: Path) -> None:
    healthy = Trial(older, tmp_path, "database-recovery")
    assert healthy.run("")["outcome"] == "healthy", healthy.document["reason"]
    before = content(older)
    recovery.take_base_backup(older)
    port = str(free_port())
    at = accident(older, "delete from workflows where workspace_id = md5('workspace-3')::uuid")
    trial = Trial(older, tmp_path, "database-recovery", {"lost_at": at, "port": port})
    assert trial.run("start-side")["outcome"] == "diagnosed", trial.document["reason"]
    assert_fixed(trial.run("copy-back"), "copy-back")
    assert content(older) == before
    assert trial.undo()["outcome"] == "undone"
    assert_fixed(trial.run("copy-back"), "copy-back")
    accident(older, "drop table schedules")
    assert_fixed(trial.run("restore-table"), "restore-table")
    with connected(older) as connection:
        assert connection.execute("select count(*) from schedules").fetchone()[0] == 50


def test_a_restored_copy_is_swapped_in_and_back(older: State, tmp_path: Path) -> None:
    recovery.stop_side(older.run_folder)
    with connected(older) as connection:
        connection.execute("drop table if exists workflows_recovered, schedules_recovered")
        connection.execute("revoke connect on database linkflow from public")
        connection.execute("grant connect on database linkflow to runbook, operator")
        connection.execute("alter database linkflow set statement_timeout = '45s'")
    before = content(older)
    recovery.take_dump(older)
    accident(older, "delete from workflows where workspace_id = md5('workspace-4')::uuid")
    broken = content(older)
    trial = Trial(older, tmp_path, "database-recovery", {"port": str(free_port())})
    assert trial.run("restore-dump")["outcome"] == "diagnosed", trial.document["reason"]
    assert_fixed(trial.run("swap-databases"), "swap-databases")
    assert action_of(trial.document, "swap-databases")["impact"].startswith("0 rows newer than the copy are lost")
    assert content(older) == before
    settings = "select setconfig from pg_db_role_setting s join pg_database d on d.oid = setdatabase where datname = %s"
    rights = "select has_database_privilege('pg_read_all_stats', %s, 'connect')"
    with connected(older) as connection:
        assert connection.execute(settings, ("linkflow",)).fetchall() == [(["statement_timeout=45s"],)]
        assert connection.execute(rights, ("linkflow",)).fetchone() == (False,)
    assert trial.undo()["outcome"] == "fixed"
    assert content(older) == broken
