# ruff: noqa: E501 - statements are laid out as people write them
"""`sql: {plan: …}`: a statement that came as data is planned, whoever wrote it, and nothing of it ever runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from servers import PostgresServer, packaged_postgres, postgres_server

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import sql
from runbook_engine.sql import planner
from runbook_engine.sql.plan_text import LONGEST, unplannable
from runbook_engine.sql.plan_tree import read_plan
from runbook_engine.sql.session import ReadSession

SCHEMA = """
create extension if not exists pg_stat_statements;
create table executions (id int primary key, workflow_id int, status text, created_at timestamptz default now(),
 "Odd Name" int);
create table nodes (id int, execution_id int);
create sequence counter;
create function writes() returns int language plpgsql volatile as 'begin insert into nodes values (1, 1); return 1; end';
create function claims() returns int language plpgsql immutable as 'begin insert into nodes values (1, 1); return 1; end';
create function claims(executions) returns int language plpgsql immutable as 'begin return writes(); end';
create function sneaky(int) returns int language plpgsql immutable as 'begin perform writes(); return 1; end';
create function lower(int) returns int language plpgsql immutable as 'begin perform writes(); return 1; end';
insert into executions (id, workflow_id, status) select n, n % 200, 'completed' from generate_series(1, 30000) n;
insert into nodes select n, n from generate_series(1, 3000) n;
analyze;
create role watcher login password 'w' in role pg_monitor;
"""
WHOLE = "select count(*) from executions where workflow_id = $1 and created_at > now() - $2::interval"


@pytest.fixture(scope="module", params=[15, 18])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    binaries = packaged_postgres(15) if request.param == 15 else None
    with postgres_server(binaries=binaries) as running:
        with connected(running) as connection:
            connection.execute(SCHEMA.encode())
        yield running


@pytest.fixture
def reader(server: PostgresServer) -> Iterator[ReadSession]:
    session = sql.connect(Target("db", "postgres", server.settings), "read")
    assert isinstance(session, ReadSession)
    yield session
    session.close()


def connected(server: PostgresServer) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        dbname=server.database,
        autocommit=True,
    )


def planned(session: Any, text: object) -> Any:
    return session.call(Call(id="run/plan/1/1", request={"plan": text}))


def refused(session: Any, text: object) -> str:
    answer = planned(session, text)
    assert answer["plan"] is None, answer
    return str(answer["reason"])


def test_it_is_a_read_without_values_and_shows_what_is_planned() -> None:
    params = sql.Params.model_validate({"plan": "${{ statement }}"})
    assert sql.least_effect(params)[0] is Effect.read
    assert sql.bound_names(params) == frozenset()
    assert sql.show(Call(id="x", request={"plan": "select $1"})) == "explain (format json) select $1"
    with pytest.raises(ValueError, match="extra"):
        sql.Params.model_validate({"plan": "select 1", "analyze": True})


def test_a_large_table_read_for_a_few_rows_lacks_an_index_on_the_columns_of_its_filter(reader: ReadSession) -> None:
    plan = planned(reader, WHOLE)["plan"]
    assert plan["missing_index"] == {
        "schema": "public",
        "relation": "executions",
        "columns": ["workflow_id", "created_at"],
        "estimated_rows": plan["missing_index"]["estimated_rows"],
        "table_rows": 30000,
    }
    assert plan["missing_index"]["estimated_rows"] < 1500
    assert plan["indexes"] == [] and "Seq Scan on executions" in plan["text"]


def test_a_plan_by_an_index_lacks_none(reader: ReadSession) -> None:
    plan = planned(reader, "SELECT * FROM executions WHERE id = $1;  -- by the key")["plan"]
    assert (plan["missing_index"], plan["indexes"], plan["seq_scans"]) == (None, ["executions_pkey"], [])


@pytest.mark.parametrize(
    ("condition", "columns"),
    [
        ("workflow_id = $1 or id = 3", []),
        ("sqrt(workflow_id) = $1", []),
        ("workflow_id <> $1", []),
        ("status like $1", []),
        ("workflow_id = $1 and not status = $2", ["workflow_id"]),
        ("created_at > $1 and workflow_id = any($2::int[])", ["workflow_id", "created_at"]),
        ('$1 = "Odd Name"', ["Odd Name"]),
        ("status::varchar = $1", ["status"]),
    ],
)
def test_only_columns_that_an_index_could_serve_are_named(
    reader: ReadSession, condition: str, columns: list[str]
) -> None:
    plan = planned(reader, f"select 1 from executions where {condition}")["plan"]
    assert plan["seq_scans"][0]["columns"] == columns
    assert (plan["missing_index"] is not None) <= bool(columns)


def test_a_small_table_and_most_of_a_large_one_are_best_read_whole(reader: ReadSession) -> None:
    for text in ("select 1 from nodes where id = $1", "select 1 from executions where status = 'completed'"):
        assert planned(reader, text)["plan"]["missing_index"] is None


def test_a_subplan_that_is_gone_through_for_every_row_is_told_from_a_hashed_one(server: PostgresServer) -> None:
    text = "delete from nodes where execution_id not in (select id from executions)"
    with connected(server) as connection:
        for memory, unhashed in (("64kB", True), ("64MB", False)):
            connection.execute(f"alter role {server.user} set work_mem = '{memory}'".encode())
            session = sql.connect(Target("db", "postgres", server.settings), "read")
            assert planned(session, text)["plan"]["unhashed_subplan"] is unhashed
            correlated = "select 1 from nodes n where not exists (select from executions e where e.id = n.id)"
            assert planned(session, correlated)["plan"]["unhashed_subplan"] is False
            session.close()
        connection.execute(f"alter role {server.user} reset work_mem".encode())


PLANNABLE = [
    "select count(*) from executions where created_at > now() - interval $1 and created_at > Timestamp $2",
    "insert into nodes (id, execution_id) values ($1, $2) on conflict do nothing",
    "insert into executions (id, status) values ($1, $2) on conflict (id) do update set (status, workflow_id) = ($2, 3)",
    "update executions set status = $1 where id = $2 returning id",
    "with gone as (delete from nodes where id = $1 returning execution_id) select count(*) from gone",
    "select * from executions where id = $1 for update",
    "select /* a comment */ $1::text -- and another",
    "select 'a ; b', $$c ; d$$, \"Odd Name\" from executions limit $1",
    "select 10 % 3 as percent",
    "select count(*) from executions e join nodes n on n.execution_id = e.id where e.status in ($1, $2, $3)",
]


@pytest.mark.parametrize("text", PLANNABLE)
def test_what_applications_send_is_planned_and_not_run(server: PostgresServer, reader: ReadSession, text: str) -> None:
    before = contents(server)
    answer = planned(reader, text)
    assert answer["plan"] is not None, answer["reason"]
    assert contents(server) == before


# One statement each, however they look: the server says so itself.
HARMLESS = ("select $1", "select E'\\' ; delete from nodes --'")
HOSTILE = [
    "select 1; drop table nodes",
    "select 1; commit; drop table nodes",
    "select 1;;; delete from nodes",
    "select 1 /* ; */ ; delete from nodes",
    "select 1 -- \n; delete from nodes",
    "select $a$ ; $a$ ; delete from nodes",
    "select E'\\' ; delete from nodes --'",
    "select 'a\\'; delete from nodes; --'",
    "select 1 /* /* */ ; delete from nodes",
    "select U&'\\0027; delete from nodes --'  uescape '!'; delete from nodes",
    "select nextval('counter')",
    "select setval('counter', 99)",
    "select writes()",
    "select claims()",
    "select public.claims()",
    'select "claims"()',
    "select claims from executions where claims() = 1",
    "select e.claims from executions e",
    "select sneaky(1)",
    "select lower(1)",
    "select pg_catalog.set_config('work_mem', '1MB', false)",
    "select pg_terminate_backend(1)",
    "select pg_sleep(60)",
    "select pg_read_file('/etc/passwd')",
    "select lo_import('/etc/passwd')",
    "select query_to_xml('drop table nodes', true, true, '')",
    "insert into nodes select writes(), 1",
    "insert into nodes (id) values (nextval('counter'))",
    "insert into executions (id) values (1) on conflict (sneaky(1)) do nothing",
    "update nodes set id = writes()",
    "delete from nodes where id = claims()",
    "with x as (select writes()) select * from x",
    "select * from nodes join executions on conflict(1)",
    "select * into copy_of_nodes from nodes",
    "with x as (select 1) select * into copy_of_nodes from x",
    "copy nodes to program 'touch /tmp/owned'",
    "copy nodes from '/etc/passwd'",
    "set work_mem = '1MB'",
    "set local role postgres",
    "reset all",
    "create table t (a int)",
    "create table t as select 1",
    "create index on nodes (id)",
    "drop table nodes",
    "truncate nodes",
    "alter table nodes add column a int",
    "vacuum nodes",
    "analyze nodes",
    "lock table nodes",
    "do $$ begin perform writes(); end $$",
    "call proceed()",
    "begin",
    "commit",
    "rollback",
    "savepoint s",
    "prepare x as select 1",
    "execute x",
    "execute runbook_plan_0",
    "deallocate all",
    "discard all",
    "declare c cursor for select 1",
    "explain analyze delete from nodes",
    "explain (analyze) select writes()",
    "analyze) delete from nodes",
    "(analyze, generic_plan) delete from nodes",
    "table nodes",
    "values (writes())",
    "merge into nodes n using executions e on n.id = e.id when matched then delete",
    "show all",
    "notify x",
    "listen x",
    "refresh materialized view v",
    "select * from executions where workflow_id = ",
    "select * from executions where status = 'comp",
    'select "Odd',
    "select /* never closed",
    "select $tag$ never closed",
    "select nothing from nowhere",
    "select $1",
    "select $3",
    "select $99999999999999999999",
    "select $0",
    "select %(name)s",
    "select 1\0; drop table nodes",
    "",
    "   ",
    ";",
    "-- only a comment",
    "<insufficient privilege>",
    None,
    7,
    {"plan": "select 1"},
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: str(text)[:40].replace("\0", "NUL") or "empty")
def test_whatever_else_a_text_holds_there_is_a_reason_and_nothing_happens(
    server: PostgresServer, reader: ReadSession, text: object
) -> None:
    before = contents(server)
    answer = planned(reader, text)
    if answer["plan"] is not None:
        assert text in HARMLESS
    else:
        assert answer["reason"] and len(answer["reason"]) < 400
    assert contents(server) == before
    assert planned(reader, WHOLE)["plan"] is not None, "the session goes on"


def contents(server: PostgresServer) -> Any:
    with connected(server) as connection:
        return connection.execute(
            """select (select count(*) from nodes), (select count(*) from executions), (select last_value from counter),
               (select array_agg(relname order by relname) from pg_class where relnamespace = 'public'::regnamespace)"""
        ).fetchone()


def test_a_text_of_a_megabyte_is_refused_unread_and_a_nested_one_does_not_hang(reader: ReadSession) -> None:
    assert "characters" in refused(reader, "select " + "1, " * 350_000 + "1")
    assert "words and signs" in refused(reader, "select " + "(" * 9000)
    for text in (
        "select " + "(" * 1900 + "1" + ")" * 1900,
        "select " + "a (" * 1900,
        "select " + "(" * 600 + "1" + ") y (1)" * 600,
        "select '" + "x''" * (LONGEST // 3 - 10) + "'",
    ):
        planned(reader, text)
    assert planned(reader, WHOLE)["plan"] is not None


def test_the_server_itself_takes_one_statement_of_those_with_a_plan(server: PostgresServer) -> None:
    """The second lock, tried without the first."""
    before = contents(server)
    with connected(server) as connection:
        connection.prepared_max = 0
        for text in ("select 1; drop table nodes", "select 1; commit; drop table nodes", "create table t (a int)"):
            connection.execute("begin transaction read only")
            connection.execute("savepoint runbook_plan")
            with pytest.raises(psycopg.Error) as failed:
                planner._explained(connection, text)
            assert failed.value.sqlstate == "42601"
            connection.execute("rollback")
    assert contents(server) == before


def test_nothing_stays_prepared_whether_it_was_planned_or_not(reader: ReadSession) -> None:
    for text in (WHOLE, "select 1 from nodes where id = 'x'", "update nodes set id = $1", "select 1 / 0"):
        planned(reader, text)
    left = reader.call(Call(id="x", request="select name, statement, from_sql from pg_prepared_statements"))
    assert left["rows"] == []
    mode = reader.call(Call(id="x", request="show plan_cache_mode"))
    assert mode["row"]["plan_cache_mode"] == "auto"


def test_a_role_that_may_not_see_the_table_gets_the_reason(server: PostgresServer) -> None:
    settings = server.settings | {"user": "watcher", "password": "w"}
    session = sql.connect(Target("db", "postgres", settings), "read")
    assert "permission denied" in refused(session, WHOLE)
    session.close()


def test_a_locked_table_is_a_reason_too_and_a_dead_server_an_error(server: PostgresServer) -> None:
    session = sql.connect(Target("db", "postgres", server.settings), "read")
    with connected(server) as holder:
        holder.execute("begin")
        holder.execute("lock table nodes in access exclusive mode")
        assert "lock timeout" in refused(session, "select * from nodes where id = $1")
        holder.execute("rollback")
    with connected(server) as connection:
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'runbook'")
    assert planned(session, WHOLE)["plan"] is not None, "an idle session that was lost is opened again"
    session.close()


def test_a_write_session_plans_nothing(server: PostgresServer) -> None:
    session = sql.connect(Target("db", "postgres", server.settings), "write")
    with pytest.raises(Refused, match="a plan is read"):
        planned(session, WHOLE)
    session.close()


def test_a_session_that_is_cancelled_while_it_plans_is_an_error_not_a_reason(server: PostgresServer) -> None:
    session = sql.connect(Target("db", "postgres", server.settings), "read")
    with connected(server) as holder:
        holder.execute("begin")
        holder.execute("lock table nodes in access exclusive mode")
        with pytest.raises(TargetError) as failed:
            session.call(Call(id="x", request={"plan": "select * from nodes"}, deadline=0.2))
        holder.execute("rollback")
    assert failed.value.code in ("timeout", "57014")
    session.close()


def test_the_reason_says_what_is_wrong() -> None:
    assert unplannable("select 'cut") == 'the statement is cut off, or cannot be read, from "\'cut" on'
    assert unplannable("set x = 1").startswith("only SELECT, INSERT, UPDATE, DELETE and WITH are planned, not 'set'")
    assert "f(), which is not known" in unplannable("select f(1)")
    assert unplannable("select 1; select 2") == "the text holds 2 statements, not one"


def test_the_depth_of_a_plan_is_no_limit() -> None:
    node: dict[str, Any] = {"Node Type": "Result", "Plan Rows": 1, "Total Cost": 1.0}
    for _ in range(20_000):
        node = {"Node Type": "Subquery Scan", "Plan Rows": 1, "Total Cost": 1.0, "Plans": [node]}
    assert read_plan([{"Plan": node}], {})["node"] == "Subquery Scan"
