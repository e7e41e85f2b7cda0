"""Lost rows, tables and databases of a real PostgreSQL, brought back by `database-recovery`, end to end."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from carried_out import Trial, action_of, assert_fixed

from runbook_engine.events import ActionFinished
from runbook_engine.sandbox import control, recovery
from runbook_engine.sandbox.baseline import probe_health, wait_until
from runbook_engine.sandbox.postgres import connect_superuser
from runbook_engine.sandbox.state import State

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-database-recovery")]

ACL = """
select d.datconnlimit, pg_get_userbyid(d.datdba), array(select unnest(d.datacl)::text order by 1),
       array(select coalesce(r.rolname, '') || ' ' || line from pg_db_role_setting s cross join unnest(s.setconfig) line
             left join pg_roles r on r.oid = s.setrole where s.setdatabase = d.oid order by 1)
from pg_database d where d.datname = %s
"""
# `operator` has to set these itself: settings of a single role take a superuser, or the role.
DRESS = (
    "revoke connect, temporary on database linkflow from public",
    "grant connect on database linkflow to linkflow, runbook, operator",
    "grant temporary on database linkflow to runbook with grant option",
    "alter database linkflow set statement_timeout = '45s'",
    'alter database linkflow set search_path = "$user", public, pg_catalog',
    "alter database linkflow set datestyle = 'ISO, DMY'",
    "alter database linkflow set application_name = 'it''s, \"quoted\" %'",
    "alter role operator in database linkflow set work_mem = '8MB'",
    "alter database linkflow connection limit 60",
)
UNDRESS = (
    "grant connect, temporary on database linkflow to public",
    "revoke all on database linkflow from runbook cascade",
    "revoke all on database linkflow from operator",
    "alter database linkflow reset all",
    "alter role operator in database linkflow reset all",
    "alter database linkflow connection limit -1",
)


@pytest.fixture
def healthy(sandbox: State) -> Iterator[State]:
    """The sandbox without a trace of other tests, and without one of this test afterwards."""
    control.restore(sandbox)
    yield sandbox
    control.restore(sandbox)


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def superuser(state: State, database: str = "linkflow") -> Any:
    return closing(connect_superuser(state.postgres_port, state.passwords["postgres"], database))


def ask(state: State, statement: str, values: tuple[Any, ...] = (), database: str = "linkflow") -> list[Any]:
    with superuser(state, database) as connection:
        found: list[Any] = connection.execute(statement, values or None).fetchall()
        return found


def rows_of(state: State, table: str = "workflows") -> list[Any]:
    return ask(state, f"select md5(t::text) from {table} t order by 1")


def relations(state: State) -> list[Any]:
    """Every table and index with its definition, owner and rights."""
    return ask(
        state,
        "select relname, relkind, relowner::regrole::text, relacl::text, pg_get_indexdef(oid) from pg_class "
        "where relnamespace = 'public'::regnamespace and relname not like '%\\_recovered%' order by 1, 2",
    )


def trial_after(state: State, folder: Path, fault: str, seed: int = 7) -> Trial:
    """Broken by the fault; the person at the keyboard knows when it happened."""
    control.break_(state, fault, seed)
    at = json.loads((state.folder / "accident.json").read_text())["at"]
    return Trial(state, folder, "database-recovery", {"lost_at": at, "port": free_port()})


def with_side(state: State, folder: Path, fault: str) -> Trial:
    trial = trial_after(state, folder, fault)
    document = trial.run("start-side")
    side = action_of(document, "start-side")
    assert (side["status"], side["verified"], document["outcome"]) == ("done", True, "diagnosed"), document["reason"]
    return trial


def reason_of(trial: Trial, action: str) -> str:
    """Why an action was not offered, or how it ended."""
    return next(event.reason for event in trial.events if isinstance(event, ActionFinished) and event.id == action)


def test_deleted_rows_come_back_from_just_before_and_nothing_else_is_touched(healthy: State, tmp_path: Path) -> None:
    before = rows_of(healthy)
    trial = with_side(healthy, tmp_path, "F86")
    lost = json.loads((healthy.folder / "accident.json").read_text())["rows"]
    broken, kinds = rows_of(healthy), relations(healthy)
    assert len(before) - len(broken) == lost > 0

    declined = trial.run("")
    assert declined["causes"][0]["id"] == "rows-waiting"
    assert declined["facts"]["missing"] == lost
    offered = action_of(declined, "copy-back")
    assert offered["impact"].startswith(f"{lost} rows go into workflows, which has {len(broken)}; as of ")
    assert (rows_of(healthy), relations(healthy)) == (broken, kinds), "the live database was touched before the gate"

    assert_fixed(trial.run("copy-back"), "copy-back")
    assert rows_of(healthy) == before
    assert relations(healthy) == kinds
    changed = (
        "update workflows set name = 'renamed since' where id = (select min(id::text)::uuid from workflows_recovered)"
    )
    with superuser(healthy) as connection:
        connection.execute(changed)
    assert trial.undo()["outcome"] == "undone"
    left = [row[0] for row in ask(healthy, "select name from workflows order by name")]
    assert len(left) == len(broken) + 1 and "renamed since" in left, "what was changed since is not taken away again"
    assert set(broken) <= set(rows_of(healthy))
    assert ask(healthy, "select to_regclass('workflows_recovered') is null") == [(True,)]


def test_a_second_run_is_healthy_and_the_side_instance_is_removed_on_request(healthy: State, tmp_path: Path) -> None:
    trial = with_side(healthy, tmp_path, "F86")
    assert_fixed(trial.run("copy-back"), "copy-back")
    assert trial.run("")["outcome"] == "healthy"
    side = recovery.work(healthy.run_folder) / "side"
    assert side.exists()
    trial.inputs["finish"] = "true"
    assert_fixed(trial.run("stop-side"), "stop-side")
    assert not side.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(trial.inputs["port"])), 1)


def test_the_undo_of_the_side_instance_stops_and_removes_it(healthy: State, tmp_path: Path) -> None:
    trial = with_side(healthy, tmp_path, "F86")
    assert trial.undo()["outcome"] == "fixed"
    assert not (recovery.work(healthy.run_folder) / "side").exists()


def test_rows_that_nothing_refers_to_come_back_when_a_person_names_their_table(healthy: State, tmp_path: Path) -> None:
    recovery.take_base_backup(healthy)
    [(at,)] = ask(healthy, "select clock_timestamp()::text")
    where = "workspace_id = md5('workspace-3')::uuid and created_at < now() - interval '1 day'"
    with superuser(healthy) as connection:
        kept = connection.execute(f"create temp table kept as select * from executions where {where}").rowcount
        connection.execute(f"delete from executions where {where}")
        assert kept > 5000, "more than one answer of the engine could hold"
        port = free_port()
        trial = Trial(healthy, tmp_path, "database-recovery", {"lost_at": at, "table": "executions", "port": port})
        trial.run("start-side")
        assert_fixed(trial.run("copy-back"), "copy-back")
        back = connection.execute(
            "select count(*) from kept join executions e using (id) where to_jsonb(kept) = to_jsonb(e)"
        )
        assert back.fetchone()[0] == kept


def test_a_dropped_table_comes_back_with_its_rows_indexes_owner_and_rights(healthy: State, tmp_path: Path) -> None:
    before, kinds = rows_of(healthy, "node_executions"), relations(healthy)
    trial = with_side(healthy, tmp_path, "F87")
    assert trial.document["causes"][0]["id"] == "table-dropped"
    assert_fixed(trial.run("restore-table"), "restore-table")
    assert (rows_of(healthy, "node_executions"), relations(healthy)) == (before, kinds)
    assert trial.run("")["outcome"] == "healthy"


def test_the_swap_and_its_undo_keep_rights_and_settings(healthy: State, tmp_path: Path) -> None:
    try:
        with superuser(healthy, "postgres") as connection:
            for statement in DRESS:
                connection.execute(statement)
        dressed = ask(healthy, ACL, ("linkflow",), "postgres")
        original = ask(healthy, "select oid from pg_database where datname = 'linkflow'")
        before = rows_of(healthy)
        recovery.take_dump(healthy)
        control.break_(healthy, "F86", 7)
        broken = rows_of(healthy)
        trial = Trial(healthy, tmp_path, "database-recovery", {"port": free_port()})
        assert trial.run("restore-dump")["outcome"] == "diagnosed"
        assert rows_of(healthy) == broken

        assert_fixed(trial.run("swap-databases"), "swap-databases")
        act = action_of(trial.document, "swap-databases")
        assert "rows newer than the copy are lost (executions)" in act["impact"]
        assert "sessions are ended" in act["impact"]
        assert ask(healthy, ACL, ("linkflow",), "postgres") == dressed
        assert rows_of(healthy) == before
        assert ask(healthy, "select oid from pg_database where datname = 'linkflow_old'") == original
        wait_until(lambda: probe_health(healthy) == 200, "the API to be back by itself", 10)
        grown = "select count(*) from executions where created_at > now() - interval '2 seconds'"
        wait_until(lambda: ask(healthy, grown)[0][0] > 0, "jobs to be written to it", 10)

        assert trial.undo()["outcome"] == "fixed"
        assert ask(healthy, "select oid from pg_database where datname = 'linkflow'") == original
        assert ask(healthy, ACL, ("linkflow",), "postgres") == dressed
        assert rows_of(healthy) == broken
        wait_until(lambda: probe_health(healthy) == 200, "the API to be back by itself", 10)
    finally:
        control.restore(healthy)
        with superuser(healthy, "postgres") as connection:
            for statement in UNDRESS:
                connection.execute(statement)


def test_half_a_swap_and_a_closed_database_are_recognised_and_mended(healthy: State, tmp_path: Path) -> None:
    trial = Trial(healthy, tmp_path, "database-recovery")
    with superuser(healthy, "postgres") as connection:
        connection.execute("alter database linkflow allow_connections false")
        connection.execute("select pg_terminate_backend(pid, 2000) from pg_stat_activity where datname = 'linkflow'")
        assert_fixed(trial.run("open-database"), "open-database")
        connection.execute("alter database linkflow allow_connections false")
        connection.execute("select pg_terminate_backend(pid, 2000) from pg_stat_activity where datname = 'linkflow'")
        connection.execute("alter database linkflow rename to linkflow_old")
        connection.execute("alter database linkflow_old allow_connections true")
    document = trial.run("rename-back")
    assert document["causes"][0]["id"] == "swap-gap"
    assert_fixed(document, "rename-back")


@pytest.fixture(scope="module")
def accident(sandbox: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """Deleted rows that stay deleted while one attempt after the other is refused."""
    control.restore(sandbox)
    yield trial_after(sandbox, tmp_path_factory.mktemp("refused"), "F86")
    control.restore(sandbox)


def refused(accident: Trial, folder: Path, **inputs: str) -> str:
    trial = Trial(accident.state, folder, accident.playbook, {**accident.inputs, **inputs})
    trial.run("start-side")
    return reason_of(trial, "start-side")


def test_a_time_that_has_not_come_is_refused(accident: Trial, tmp_path: Path) -> None:
    assert "the time lies in the future" in refused(accident, tmp_path, lost_at="2099-01-01 00:00:00+00")


def test_a_time_before_the_base_backup_is_refused_with_its_time(accident: Trial, tmp_path: Path) -> None:
    assert "the time lies before the end of the base backup (2" in refused(
        accident, tmp_path, lost_at="2020-01-01 00:00:00Z"
    )


def test_without_a_time_nothing_is_built(accident: Trial, tmp_path: Path) -> None:
    trial = Trial(accident.state, tmp_path, accident.playbook)
    trial.run("start-side")
    assert "nobody has said when it happened" in reason_of(trial, "start-side")


def test_a_port_that_somebody_holds_is_refused(accident: Trial, tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        assert f"port {port} is taken" in refused(accident, tmp_path, port=port)


def test_a_full_disk_is_refused_with_numbers(accident: Trial, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "df").write_text("#!/bin/sh\necho Filesystem\necho /dev/vda1 1000 990 10 99% /\n")
    (tools / "df").chmod(0o755)
    file = accident.state.folder / "runbook.yaml"
    written = file.read_text()
    document = yaml.safe_load(written)
    document["environments"]["sandbox"]["targets"]["backups"]["env"]["PATH"] = f"{tools}:{os.environ['PATH']}"
    file.write_text(yaml.safe_dump(document))
    try:
        assert "not enough room: 10 MB are free" in refused(accident, tmp_path)
    finally:
        file.write_text(written)


def test_a_broken_archive_is_refused_with_the_file_it_lacks(accident: Trial, tmp_path: Path) -> None:
    archive = recovery.archive(accident.state.run_folder)
    archive.chmod(0o500)
    failed = "select last_failed_wal from pg_stat_archiver where last_failed_time > last_archived_time"
    try:
        ask(accident.state, "select pg_switch_wal()")
        [(wal,)] = wait_until(lambda: ask(accident.state, failed), "the archiver to fail", 10)
        assert f"archiving fails since WAL file {wal}" in refused(accident, tmp_path)
    finally:
        archive.chmod(0o700)
        ask(accident.state, "select pg_switch_wal(), pg_stat_reset_shared('archiver')")


def test_a_recovery_that_ends_before_its_target_leaves_nothing_behind(accident: Trial, tmp_path: Path) -> None:
    """The archive has a hole: the server says so, and the half-built copy is removed."""
    archive = recovery.archive(accident.state.run_folder)
    hidden = tmp_path / "hidden"
    ask(accident.state, "select pg_switch_wal()")
    [(at,)] = ask(accident.state, "select clock_timestamp()::text")
    ask(accident.state, "select pg_switch_wal()")
    trial = Trial(accident.state, tmp_path, accident.playbook, {**accident.inputs, "lost_at": at})
    label = (recovery.base(accident.state.run_folder) / "backup_label").read_text()
    first = label.split("(file ")[1].split(")")[0]
    hidden.mkdir()
    for segment in [file for file in archive.iterdir() if file.suffix == "" and file.name > first]:
        segment.rename(hidden / segment.name)
    try:
        document = trial.run("start-side")
    finally:
        for segment in hidden.iterdir():
            segment.rename(archive / segment.name)
    assert document["outcome"] == "unknown", reason_of(trial, "start-side")
    assert "recovery ended before configured recovery target was reached" in reason_of(trial, "start-side")
    assert not (recovery.work(accident.state.run_folder) / "side").exists()


def test_whose_rights_do_not_suffice_is_told_which_are_missing(accident: Trial, tmp_path: Path) -> None:
    [(superuser,)] = ask(accident.state, "select rolsuper from pg_roles where rolname = 'operator'")
    assert not superuser, "a recovery must not take a superuser"
    recovery.take_dump(accident.state)
    with closing(
        connect_superuser(accident.state.postgres_port, accident.state.passwords["postgres"], "postgres")
    ) as root:
        root.execute("alter role operator nocreatedb")
        try:
            trial = Trial(accident.state, tmp_path, accident.playbook)
            document = trial.run("restore-dump")
        finally:
            root.execute("alter role operator createdb")
    assert document["facts"]["rights_lack"] == "role may not create databases: alter role … createdb"
    assert "rights_lack" in reason_of(trial, "restore-dump")
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        psycopg.connect(accident.state.postgres_dsn("operator"), autocommit=True) as connection,
    ):
        connection.execute("select pg_read_file('postgresql.conf')")
