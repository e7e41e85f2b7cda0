# ruff: noqa: E501 - probes are laid out as people write them
"""The sql executor against a real PostgreSQL, as its superuser: what a read may not do, what a write says it did."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest
from servers import PostgresServer, free_port

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Executor, Target
from runbook_engine.executors import sql
from runbook_engine.sql.answers import Statement
from runbook_engine.sql.session import ReadSession, WriteSession
from runbook_engine.sql.text import classify, problems

SCHEMA = """
create extension if not exists pg_stat_statements;
create extension if not exists dblink;
create table executions (id int primary key, workflow_id int, status text, error_message text, created_at timestamptz,
 started_at timestamptz, completed_at timestamptz, queued_at timestamptz, timeout_seconds int, trigger_type text, workspace_id int);
create table schedules (id int primary key, workflow_id int, is_active bool, deleted_at timestamptz, next_run_at timestamptz,
 last_run_at timestamptz, run_count int);
create table workflows (id int primary key, status text, deleted_at timestamptz);
insert into executions select n, n, 'failed', 'boom ' || n, now(), now(), now(), now(), 60, 'manual', 1 from generate_series(1, 20) n;
insert into schedules select n, n, true, null, now() - interval '1 hour', now(), 0 from generate_series(1, 5) n;
create sequence counter;
create function writes() returns int language plpgsql volatile as 'begin insert into workflows values (1); return 1; end';
create procedure proceed() language sql as 'insert into workflows values (2)';
create view writing as select writes();
"""


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> PostgresServer:
    """The server with some of LinkFlow's tables in it."""
    with _superuser(postgres) as connection:
        connection.execute(SCHEMA)
    return postgres


@pytest.fixture
def reader(database: PostgresServer) -> Iterator[ReadSession]:
    with _session(database, "read") as session:
        yield session


@pytest.fixture
def writer(database: PostgresServer) -> Iterator[WriteSession]:
    with _session(database, "write") as session:
        yield session


@contextmanager
def _session(server: PostgresServer, mode: Literal["read", "write"], **settings: Any) -> Iterator[Any]:
    session = sql.connect(Target("db", "postgres", server.settings | settings), mode)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def _superuser(server: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    settings = server.settings
    with psycopg.connect(
        host=settings["host"],
        port=settings["port"],
        user=settings["user"],
        password=settings["password"],
        dbname=settings["database"],
        autocommit=True,
    ) as connection:
        yield connection


def _ask(server: PostgresServer, question: str) -> Any:
    with _superuser(server) as connection:
        row = connection.execute(question.encode()).fetchone()
        return row[0] if row else None


def _call(request: Any, /, **fields: Any) -> Call:
    return Call(id="run/step/1/1", request=request, **fields)


def test_the_module_is_an_executor() -> None:
    executor: Executor = sql
    assert (executor.KINDS, set(executor.ANSWERS)) >= (frozenset({"postgres"}), {"rows", "row", "rowcount", "affected"})


# Every route by which a text might leave a read session. All of it is tried as a superuser.
ESCAPES = """
insert into workflows values (9)
update executions set status = 'x'
delete from executions
merge into workflows w using executions e on w.id = e.id when not matched then insert values (e.id)
truncate executions
create table t (a int)
create temp table t (a int)
create index on executions (status)
create index concurrently on executions (status)
drop table executions
alter table executions add column a int
alter system set work_mem = '1GB'
comment on table executions is 'x'
grant all on executions to public
revoke all on executions from public
security label on table executions is 'x'
reindex table executions
cluster executions
vacuum executions
analyze executions
checkpoint
refresh materialized view mv
select 1; insert into workflows values (9)
select 1; commit; insert into workflows values (9)
select 1; rollback; insert into workflows values (9)
commit
rollback
end
abort
begin
start transaction read write
savepoint s
release s
prepare transaction 'x'
commit prepared 'x'
set transaction read write
set transaction_read_only = off
set session characteristics as transaction read write
set default_transaction_read_only = off
set local statement_timeout = 0
set role postgres
reset all
discard all
load 'dblink'
listen x
unlisten *
notify x
lock table executions in access exclusive mode
prepare p as insert into workflows values (9)
execute p
deallocate all
declare c cursor for select 1
fetch c
do $$ begin insert into workflows values (9); end $$
call proceed()
copy executions to '/tmp/rb-escape'
copy executions to program 'touch /tmp/rb-escape'
copy workflows from program 'echo 9'
copy (select 1) to stdout
select writes()
select public.writes()
select "writes"()
select count(*) from executions where writes() = 1
select * from executions order by writes()
select (select writes())
values (writes())
with x as (insert into workflows values (9) returning *) select * from x
with x as (delete from executions returning *) select * from x
with x as (select 1) insert into workflows select 9
select 1 as a into t
select * into temp t from executions
select * from executions for update
select * from executions for no key update skip locked
select * from executions for share
explain analyze insert into workflows values (9)
explain (analyze) select writes()
explain (analyze, costs off) delete from executions
select dblink_exec('dbname=postgres', 'delete from executions')
select * from dblink('dbname=postgres', 'select 1') as t(a int)
select nextval('counter')
select setval('counter', 99)
select set_config('transaction_read_only', 'off', false)
select set_config('statement_timeout', '0', false)
select pg_catalog.set_config('work_mem', '1GB', false)
select pg_terminate_backend(pid) from pg_stat_activity
select "pg_terminate_backend"(pid) from pg_stat_activity
select pg_terminate_backend /* x */ (pid) from pg_stat_activity
select U&"\\0070g_terminate_backend"(pid) from pg_stat_activity
select count(*) filter (where pg_cancel_backend(pid)) from pg_stat_activity
select pg_advisory_lock(1)
select pg_try_advisory_lock(1)
select pg_advisory_xact_lock_shared(1)
select pg_sleep(60)
select pg_sleep_for('1 minute')
select pg_notify('x', 'y')
select pg_logical_emit_message(false, 'a', 'b')
select pg_current_xact_id()
select txid_current()
select lo_create(77)
select lo_from_bytea(77, 'a')
select lo_export(77, '/tmp/rb-escape')
select lo_unlink(77)
select pg_read_file('PG_VERSION')
select pg_read_binary_file('PG_VERSION')
select pg_ls_dir('.')
select pg_stat_file('PG_VERSION')
select pg_reload_conf()
select pg_rotate_logfile()
select pg_switch_wal()
select pg_create_restore_point('x')
select pg_create_physical_replication_slot('x')
select pg_drop_replication_slot('x')
select pg_promote()
select pg_backup_start('x')
select pg_stat_reset()
select pg_stat_reset_shared('wal')
select pg_stat_statements_reset()
select pg_export_snapshot()
select pg_log_backend_memory_contexts(pg_backend_pid())
select query_to_xml('delete from executions', true, true, '')
select query_to_xml_and_xmlschema('select writes()', true, true, '')
select cursor_to_xml('c', 1, true, true, '')
select database_to_xml(true, true, '')
select ts_stat('select writes()')
select ts_rewrite('a'::tsquery, 'select writes()')
select brin_summarize_new_values('x')
select gin_clean_pending_list('x')
select 1 operator(public.+) 2
select * from rows from (writes()) as t(a)
select E'a'
 'b\\'', writes() --'
"""

STATE = """
select jsonb_build_object(
 'executions', (select count(*) from executions), 'schedules', (select md5(string_agg(s::text, ',' order by id)) from schedules s),
 'statuses', (select string_agg(distinct status, ',') from executions), 'workflows', (select count(*) from workflows),
 'counter', (select last_value::text || is_called from counter),
 'relations', (select count(*) from pg_class where relnamespace not in (select oid from pg_namespace where nspname like 'pg_temp%')),
 'large_objects', (select count(*) from pg_largeobject_metadata), 'prepared', (select count(*) from pg_prepared_xacts),
 'slots', (select count(*) from pg_replication_slots), 'comments', (select count(*) from pg_description where objoid > 16384),
 'rights', (select md5(string_agg(relname || coalesce(relacl::text, ''), ',' order by relname)) from pg_class),
 'settings', (select md5(string_agg(name || setting, ',' order by name)) from pg_settings where name not like 'transaction%'
   and source in ('configuration file', 'database', 'user')),
 'locks', (select count(*) from pg_locks where pid <> pg_backend_pid() and (locktype = 'advisory' or mode ~ 'Exclusive')
   and locktype <> 'virtualxid'),
 'resets', (select stats_reset from pg_stat_database where datname = current_database()))
"""


def _escapes() -> list[str]:
    joined = ESCAPES.strip().replace("'a'\n 'b", "'a'\x01 'b")
    return [line.replace("\x01", "\n") for line in joined.splitlines()]


def test_every_escape_from_a_read_session_is_refused_and_changes_nothing(
    reader: ReadSession, database: PostgresServer
) -> None:
    before = _ask(database, STATE)
    statements = _escapes()
    ran = []
    for text in statements:
        try:
            ran.append((text, reader.call(_call(text))))
        except Refused:
            continue
    assert ran == []
    assert len(statements) >= 91
    assert _ask(database, STATE) == before
    assert not Path("/tmp/rb-escape").exists()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("select 1; commit; insert into workflows values (9)", "42601"),
        ("select 1; select 2", "42601"),
        ("insert into workflows values (9)", "25006"),
        ("with x as (insert into workflows values (9) returning *) select * from x", "25006"),
        ("select writes()", "25006"),
        ("select * from writing", "25006"),
        ("select nextval('counter')", "25006"),
        ("select * from executions for update", "25006"),
        ("explain analyze delete from executions", "25006"),
        ("set transaction read write", "25001"),
    ],
)
def test_the_server_itself_refuses_what_classification_might_miss(
    reader: ReadSession, database: PostgresServer, text: str, code: str
) -> None:
    before = _ask(database, STATE)
    with pytest.raises(TargetError) as caught:
        reader.read([Statement(text)], 5.0)
    assert (caught.value.code, caught.value.happened) == (code, "no")
    assert _ask(database, STATE) == before


def test_a_view_that_writes_is_stopped_by_the_server(reader: ReadSession) -> None:
    with pytest.raises(TargetError, match="read-only transaction"):
        reader.call(_call("select * from writing"))
    assert reader.call(_call("select 1 as a"))["row"] == {"a": 1}


PROBES = {
    "census": """
        SELECT count(*) FILTER (WHERE backend_type='client backend') AS client,
         count(*) FILTER (WHERE backend_type='client backend' AND state LIKE 'idle in transaction%') AS idle_in_tx,
         current_setting('superuser_reserved_connections')::int + coalesce(current_setting('reserved_connections',true),'0')::int AS r,
         round(100.0*count(*) FILTER (WHERE backend_type='client backend')/greatest(1,current_setting('max_connections')::int),1) AS used_pct,
         coalesce(max(extract(epoch FROM now()-xact_start)) FILTER (WHERE pid<>pg_backend_pid()),0)::int AS oldest_xact_s
        FROM pg_stat_activity;""",
    "holders": """
        SELECT coalesce(datname,'-') db, coalesce(nullif(application_name,''),'?') app, coalesce(host(client_addr),'local') addr,
         count(*) n, max(extract(epoch FROM now()-state_change))::int oldest_state_s,
         count(*) FILTER (WHERE state='idle' AND state_change < now()-interval '10 min') idle_10m
        FROM pg_stat_activity WHERE pid<>pg_backend_pid() GROUP BY 1,2,3 ORDER BY n DESC LIMIT 20""",
    "root blockers": """
        WITH RECURSIVE w AS (SELECT a.pid, unnest(pg_blocking_pids(a.pid)) AS blocker FROM pg_stat_activity a WHERE a.wait_event_type='Lock'),
        t AS (SELECT blocker AS root, pid AS victim, ARRAY[blocker,pid] AS path FROM w WHERE blocker NOT IN (SELECT pid FROM w)
         UNION ALL SELECT t.root, w.pid, path||w.pid FROM t JOIN w ON w.blocker=t.victim WHERE w.pid<>ALL(path))
        SELECT t.root AS root_pid, b.backend_start, count(DISTINCT t.victim) AS victims,
         (SELECT coalesce(max(extract(epoch FROM now()-l.waitstart)),0)::int FROM pg_locks l
          WHERE NOT l.granted AND l.pid=ANY(array_agg(t.victim))) AS longest_wait_s, left(b.query,120) AS q,
         (SELECT string_agg(DISTINCT l.relation::regclass::text||':'||l.mode, ', ') FROM pg_locks l
          WHERE l.pid=t.root AND l.granted AND l.mode NOT IN ('AccessShareLock')) AS root_locks
        FROM t LEFT JOIN pg_stat_activity b ON b.pid=t.root GROUP BY t.root,b.backend_start,b.query ORDER BY victims DESC""",
    "prepared transactions": """
        SELECT count(*) AS prepared_xacts, coalesce(max(extract(epoch FROM now()-prepared)),0)::int AS oldest_s
        FROM pg_prepared_xacts""",
    "counters": """
        SELECT xact_commit, xact_rollback, deadlocks, blks_read, blks_hit, stats_reset FROM pg_stat_database
        WHERE datname=current_database()""",
    "top statements": r"""
        SELECT queryid, calls, round(total_exec_time::numeric,1) total_ms, left(regexp_replace(query,'\s+',' ','g'),200) q
        FROM pg_stat_statements WHERE dbid=(SELECT oid FROM pg_database WHERE datname=current_database()) AND toplevel
        ORDER BY total_exec_time DESC LIMIT 20""",
    "indexes": """
        SELECT indexrelid::regclass::text idx, indrelid::regclass::text tbl, 'invalid' AS problem FROM pg_index WHERE NOT indisvalid
        UNION ALL SELECT string_agg(indexrelid::regclass::text, ' = ' ORDER BY indexrelid), indrelid::regclass::text, 'duplicate'
        FROM pg_index WHERE indisvalid GROUP BY indrelid, indkey::text, coalesce(pg_get_expr(indexprs,indrelid),''),
         (SELECT amname FROM pg_am am JOIN pg_class c ON c.relam=am.oid WHERE c.oid=indexrelid) HAVING count(*)>1""",
    "index build": """
        SELECT pid, relid::regclass::text, phase, lockers_total, blocks_total, blocks_done FROM pg_stat_progress_create_index""",
    "failures": """
        SELECT left(regexp_replace(regexp_replace(coalesce(error_message,'<null>'),'"[^"]*"','<str>','g'),'[0-9]+','<n>','g'),160)
         AS fingerprint, count(*) n, count(DISTINCT workflow_id) workflows, min(created_at) first_at FROM executions
        WHERE status IN ('failed','timeout') AND created_at > now()-interval '24 hours' GROUP BY 1 ORDER BY n DESC LIMIT 20""",
    "schedules": """
        SELECT count(*) total, count(*) FILTER (WHERE deleted_at IS NULL AND is_active) active,
         count(*) FILTER (WHERE is_active AND next_run_at BETWEEN '2000-01-01' AND now()-interval '30 s') overdue,
         extract(epoch FROM now()-max(last_run_at))::int AS since_last_run_s,
         extract(epoch FROM min(next_run_at) FILTER (WHERE is_active AND next_run_at>now()) - now())::int AS next_due_in_s,
         sum(run_count) AS run_count_sum FROM schedules""",
    "unusable workflows": """
        SELECT count(*) FILTER (WHERE w.id IS NULL) wf_missing, count(*) FILTER (WHERE w.status IN ('inactive','draft')) wf_not_active
        FROM schedules s LEFT JOIN workflows w ON w.id=s.workflow_id WHERE s.is_active AND s.deleted_at IS NULL""",
    "stuck executions": """
        SELECT count(*) FILTER (WHERE status='running' AND started_at < now()-make_interval(secs=>timeout_seconds)) AS late
        FROM executions WHERE status IN ('running','queued')""",
    "recovery": """
        SELECT current_setting('archive_mode') archive_mode, a.archived_count, extract(epoch FROM now()-a.last_archived_time)::int s,
         a.last_failed_time > coalesce(a.last_archived_time,'-infinity') AS failing_now,
         (SELECT count(*) FROM pg_replication_slots WHERE NOT active) inactive_slots FROM pg_stat_archiver a""",
}


@pytest.mark.parametrize("name", PROBES)
def test_a_diagnosis_probe_is_a_read_and_runs(reader: ReadSession, name: str) -> None:
    text = PROBES[name]
    assert (classify(text)[0], problems(text)) == (Effect.read, [])
    assert "rows" in reader.call(_call(text))


# Functions of somebody's own that a read can reach by an innocent text. Each ends the session whose number `victim` holds.
HOMEMADE = """
create type pair as (a int, b int);
create extension if not exists pg_stat_statements;
create table victim (pid int); create table rows_of_it (a int); insert into rows_of_it values (1);
create schema own;
create function lower(int) returns bool language sql as 'select pg_terminate_backend(pid) from victim';
create function pg_stat_get_evil() returns bool language sql as 'select pg_terminate_backend(pid) from victim';
create function evil(rows_of_it) returns bool language sql as 'select pg_terminate_backend(pid) from victim';
create function length(pair) returns bool language sql immutable as 'select pg_terminate_backend(pid) from victim';
create function own.pg_stat_statements_info() returns bool language sql as 'select pg_terminate_backend(pid) from victim';
create function rank(variadic int[]) returns bool language sql as 'select pg_terminate_backend(pid) from victim';
"""
REACHING = """
select lower(1)
select Lower /* x */ (1)
select "lower"(1)
select s.lower from generate_series(1, 1) s
select rank(1, 2)
select v.evil from rows_of_it v
select (v).evil from rows_of_it v
select v."evil" from rows_of_it v
select v.%(name)I from rows_of_it v
select (row(1, 2)::pair).length
select own.pg_stat_statements_info()
select a from rows_of_it order by lower(a)
explain select lower(1)
select (v.pid).pg_log_backend_memory_contexts from victim v
select (0.01::float8).pg_sleep
select ('/'::text).pg_ls_dir
select s.pg_advisory_lock from (select 1::int8) z, generate_series(1::int8, 1) s
"""


@pytest.fixture
def victim(database: PostgresServer) -> Iterator[psycopg.Connection[Any]]:
    """Another session, which the functions of HOMEMADE end."""
    with _superuser(database) as connection, _superuser(database) as other:
        connection.execute("drop schema if exists own cascade; drop role if exists looker; create role looker login")
        connection.execute(HOMEMADE)
        connection.execute("grant usage on schema own to looker; grant select on victim, rows_of_it to looker")
        connection.execute("insert into victim values (%s)", [other.info.backend_pid])
        try:
            yield other
        finally:
            connection.execute(
                "drop owned by looker; drop schema own cascade; drop function lower(int), pg_stat_get_evil(), rank(int[])"
            )
            connection.execute("drop table victim, rows_of_it cascade; drop type pair cascade; drop role looker")


@pytest.mark.parametrize("user", ["postgres", "looker"])
def test_a_read_never_calls_a_function_that_somebody_made(
    database: PostgresServer, victim: psycopg.Connection[Any], user: str
) -> None:
    with _superuser(database) as connection:
        connection.execute(f"alter role looker password '{database.password}'".encode())
        connection.execute("grant select on all tables in schema public to looker")
        ran = []
        with _session(database, "read", user=user) as reader:
            for text in REACHING.strip().splitlines():
                try:
                    ran.append((text, reader.call(_call(text, idents={"name": "evil"}))))
                except Refused:
                    continue
    assert ran == []
    assert all(classify(text)[0] is Effect.read for text in REACHING.strip().splitlines())
    assert victim.execute("select 1").fetchone() == (1,)


def test_familiar_functions_and_columns_are_read_beside_those_that_somebody_made(
    reader: ReadSession, victim: psycopg.Connection[Any]
) -> None:
    for text in (
        "select upper('a'), v.a, v.a as evil, count(*) from rows_of_it v group by v.a",
        "select s.query, s.calls from pg_stat_statements s join pg_catalog.pg_database d on d.oid = s.dbid limit 1",
        "select public.pg_stat_statements(true) limit 1",
        "select pg_stat_get_backend_pid(1), pg_catalog.now()",
    ):
        assert "rows" in reader.call(_call(text))


def test_a_text_is_judged_once_in_a_session(reader: ReadSession, database: PostgresServer) -> None:
    text = "select lower('A') as a, pg_backend_pid() as pid"
    assert reader.call(_call(text))["row"]["a"] == "a"
    counts = []
    for said in (text, text, "select lower('B') as a"):
        calls = "select sum(calls)::int from pg_stat_statements where query like '%pg_catalog.pg_depend d%'"
        before = _ask(database, calls)
        reader.call(_call(said))
        counts.append(_ask(database, calls) - before)
    assert counts == [0, 0, 1]


def test_an_answer_holds_rows_the_first_row_and_their_number(reader: ReadSession) -> None:
    answer = reader.call(_call("select n, n % 2 as odd from generate_series(1, %(top)s) n", bindings={"top": 3}))
    rows = [{"n": 1, "odd": 1}, {"n": 2, "odd": 0}, {"n": 3, "odd": 1}]
    assert answer == {"rows": rows, "row": rows[0], "rowcount": 3, "truncated": False}
    empty = reader.call(_call("select 1 where false"))
    assert empty == {"rows": [], "row": None, "rowcount": 0, "truncated": False}


def test_values_are_bound_and_never_become_code(reader: ReadSession) -> None:
    hostile = "x'; delete from executions; --"
    answer = reader.call(
        _call(
            "select %(text)s::text as t, 3 = any(%(ids)s) as has, %(map)s::jsonb ->> 'k' as k, 'a%' as p",
            bindings={"text": hostile, "ids": [1, 3], "map": {"k": "v"}},
        )
    )
    assert answer["row"] == {"t": hostile, "has": True, "k": "v", "p": "a%"}


def test_every_type_becomes_plain_json(reader: ReadSession) -> None:
    text = r"""
        select timestamptz '2026-11-23 10:00:00.5+02' as at, timestamp '2026-01-02 03:04:05' as local, timestamptz 'infinity' as never,
         date '2026-01-02' as day, 12345678901234567890::numeric as big, 1.50::numeric as price, 'NaN'::numeric as nan, 'NaN'::float8 as fnan,
         1.5::float8 as f, interval '1 day 02:03:04.5' as span, interval '-00:00:01' as ago, '\x00ff'::bytea as raw,
         inet '10.0.0.1' as ip, '00000000-0000-0000-0000-000000000001'::uuid as id, '{"a": [1, null]}'::jsonb as j, array[1, 2] as ints,
         array[timestamptz '2026-01-01 00:00+00'] as ats, null as nothing, true as yes, 'pg_class'::regclass as rel, 1 as a, 2 as a
    """
    assert reader.call(_call(text))["row"] == {
        "at": "2026-11-23T08:00:00.500000+00:00",
        "local": "2026-01-02T03:04:05.000000",
        "never": "infinity",
        "day": "2026-01-02",
        "big": 12345678901234567890,
        "price": 1.5,
        "nan": "NaN",
        "fnan": "nan",
        "f": 1.5,
        "span": 93784.5,
        "ago": -1,
        "raw": "AP8=",
        "ip": "10.0.0.1",
        "id": "00000000-0000-0000-0000-000000000001",
        "j": {"a": [1, None]},
        "ints": [1, 2],
        "ats": ["2026-01-01T00:00:00.000000+00:00"],
        "nothing": None,
        "yes": True,
        "rel": "pg_class",
        "a": 1,
        "a_2": 2,
    }


def test_a_long_answer_is_cut_and_says_so(reader: ReadSession) -> None:
    many = reader.call(_call("select n from generate_series(1, 100000) n"))
    assert (many["rowcount"], many["truncated"]) == (1000, True)
    wide = reader.call(_call("select repeat('x', 200000) as x from generate_series(1, 100)"))
    assert (wide["rowcount"], wide["truncated"]) == (5, True)
    assert reader.call(_call("select 1 as a"))["row"] == {"a": 1}


def test_each_read_is_a_transaction_of_its_own_that_leaves_nothing(
    reader: ReadSession, database: PostgresServer
) -> None:
    first = reader.call(_call("select now() as at, pg_backend_pid() as pid"))["row"]
    second = reader.call(_call("select now() as at, pg_backend_pid() as pid"))["row"]
    assert first["at"] < second["at"] and first["pid"] == second["pid"]
    state = (
        f"select state || ' ' || coalesce(xact_start::text, 'none') from pg_stat_activity where pid = {first['pid']}"
    )
    assert _ask(database, state) == "idle none"


def test_several_statements_of_a_read_see_one_snapshot(reader: ReadSession) -> None:
    answer = reader.call(_call(["select now() as at", "select now() as at, 2 as second"]))
    assert answer["row"]["second"] == 2


def test_an_overlong_read_is_ended_by_the_server(reader: ReadSession) -> None:
    with pytest.raises(TargetError) as caught:
        reader.call(_call("select count(*) from generate_series(1, 1e11) n", deadline=0.3))
    assert (caught.value.code, caught.value.happened) == ("57014", "no")
    assert reader.call(_call("select 1 as a"))["row"] == {"a": 1}


def test_a_read_can_be_cancelled_from_another_thread(reader: ReadSession) -> None:
    reader.cancel()
    timer = threading.Timer(0.3, reader.cancel)
    timer.start()
    with pytest.raises(TargetError) as caught:
        reader.call(_call("select count(*) from generate_series(1, 1e11) n", deadline=60))
    timer.join()
    assert (caught.value.code, caught.value.happened) == ("cancelled", "no")
    assert reader.call(_call("select 1 as a"))["row"] == {"a": 1}


def test_a_server_that_stops_answering_is_given_up(reader: ReadSession) -> None:
    pid = reader.call(_call("select pg_backend_pid() as pid"))["row"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(TargetError) as caught:
            reader.call(_call("select 1", deadline=0.2))
        assert (caught.value.code, caught.value.happened) == ("timeout", "no")
        assert reader.call(_call("select pg_backend_pid() as pid"))["row"]["pid"] != pid
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_missing_value_or_a_misplaced_one_is_refused_before_anything_is_sent(reader: ReadSession) -> None:
    with pytest.raises(Refused, match=r"%\(x\)s has no value"):
        reader.call(_call("select %(x)s"))
    with pytest.raises(Refused, match="quoted string"):
        reader.call(_call("select '%(x)s'", bindings={"x": 1}))
    with pytest.raises(TargetError) as caught:
        reader.call(_call("select %(x)s::text", bindings={"x": "a\0b"}))
    assert caught.value.happened == "no"


def test_a_query_that_fails_says_the_servers_code(reader: ReadSession) -> None:
    with pytest.raises(TargetError) as caught:
        reader.call(_call("select * from nowhere"))
    assert (caught.value.code, caught.value.message) == ("42P01", 'relation "nowhere" does not exist')


def test_identity_comes_from_the_server(database: PostgresServer, reader: ReadSession, writer: WriteSession) -> None:
    who = reader.identity()
    expected = f"PostgreSQL 18.6 127.0.0.1:{database.port} db postgres as postgres (primary)"
    assert (who.name, who.facts["superuser"], who.facts["standby"]) == (expected, True, False)
    assert int(who.facts["system_identifier"]) > 0
    assert writer.identity() == who


def test_a_plain_role_has_an_identity_too(database: PostgresServer) -> None:
    with _superuser(database) as connection:
        connection.execute("create role plain login password 'p'")
        connection.execute("revoke execute on function pg_control_system() from public")
    for mode in ("read", "write"):
        with _session(database, mode, user="plain", password="p") as session:
            facts = session.identity().facts
            assert (facts["user"], facts["superuser"], facts["system_identifier"]) == ("plain", False, None)


def test_a_unix_socket_folder_is_a_host(database: PostgresServer) -> None:
    with _session(database, "read", host=str(database.folder)) as session:
        assert session.identity().facts["address"] == f"{database.folder}:{database.port}"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"port": "free"}, "refused"),
        ({"password": "wrong"}, "auth"),
        ({"user": "nobody_here"}, "auth"),
        ({"database": "gone"}, "no_db"),
        ({"database": "shut"}, "db_closed"),
        ({"user": "limited", "password": "p"}, "too_many"),
        ({"sslmode": "require"}, "tls"),
        ({"host": "/nonexistent"}, "refused"),
    ],
)
def test_a_failed_connect_is_classified(database: PostgresServer, settings: dict[str, Any], code: str) -> None:
    with _superuser(database) as connection:
        if not connection.execute("select 1 from pg_database where datname = 'shut'").fetchone():
            connection.execute("create database shut allow_connections false")
            connection.execute("create role limited login password 'p' connection limit 0")
    if settings.get("port") == "free":
        settings = {"port": free_port()}
    with pytest.raises(TargetError) as caught, _session(database, "read", **settings):
        pass
    assert (caught.value.code, caught.value.happened) == (code, "no")


def test_a_server_that_never_answers_times_out(database: PostgresServer) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        with pytest.raises(TargetError) as caught, _session(database, "read", port=port, connect_timeout=2):
            pass
    assert caught.value.code == "timeout"


def test_a_write_commits_and_counts_what_it_touched(writer: WriteSession, database: PostgresServer) -> None:
    texts = [
        "update schedules set run_count = run_count + 1 where id = any(%(ids)s)",
        "update schedules set run_count = run_count + 1 where id = 5 returning id",
        "select sum(run_count) as total from schedules",
    ]
    answer = writer.call(_call(texts, bindings={"ids": [1, 2]}, affected=3))
    assert (answer["affected"], answer["row"]) == (3, {"total": 3})
    assert _ask(database, "select sum(run_count) from schedules") == 3


def test_a_write_over_its_limit_is_rolled_back(writer: WriteSession, database: PostgresServer) -> None:
    with pytest.raises(Refused, match="touched 5 rows and its limit is 2: rolled back"):
        writer.call(_call("update schedules set is_active = false", affected=2))
    assert _ask(database, "select count(*) from schedules where is_active") == 5
    assert writer.call(_call("select 1 as a"))["affected"] == 0


def test_a_failed_transaction_did_not_happen(writer: WriteSession, database: PostgresServer) -> None:
    with pytest.raises(TargetError) as caught:
        writer.call(_call(["insert into workflows values (50)", "insert into workflows values (50)"]))
    assert (caught.value.code, caught.value.happened) == ("23505", "no")
    assert _ask(database, "select count(*) from workflows where id = 50") == 0


def test_a_write_text_cannot_leave_its_transaction(writer: WriteSession, database: PostgresServer) -> None:
    for text in ("commit", "insert into workflows values (60); commit", "prepare transaction 'x'"):
        with pytest.raises(Refused):
            writer.call(_call(text))
    assert _ask(database, "select count(*) from workflows where id = 60") == 0


def test_an_identifier_is_quoted_by_the_driver(writer: WriteSession, database: PostgresServer) -> None:
    name = 'odd"; drop table executions; --%'
    writer.call(_call("create table %(name)I (a int)", idents={"name": name}))
    assert writer.call(_call("insert into %(name)I values (5 % 3)", idents={"name": name}))["affected"] == 1
    assert _ask(database, "select count(*) from pg_class where relname like 'odd%'") == 1
    writer.call(_call("drop table %(name)I", idents={"name": name}))


def test_a_lone_statement_runs_outside_a_transaction(writer: WriteSession, database: PostgresServer) -> None:
    with pytest.raises(TargetError) as caught:
        writer.call(_call("create index concurrently by_status on executions (status)"))
    assert (caught.value.code, caught.value.happened) == ("25001", "no")
    writer.call(_call("create index concurrently by_status on executions (status)", autocommit=True))
    assert _ask(database, "select indisvalid from pg_index where indexrelid = 'by_status'::regclass") is True
    with pytest.raises(Refused, match="one lone statement"):
        writer.call(_call(["select 1", "select 2"], autocommit=True))
    with pytest.raises(TargetError) as caught:
        writer.call(_call("alter system set no_such_setting = 1", autocommit=True))
    assert caught.value.happened == "no"


def test_a_failed_concurrent_build_may_have_left_something(writer: WriteSession) -> None:
    with pytest.raises(TargetError) as caught:
        writer.call(_call("create unique index concurrently u on executions (status)", autocommit=True))
    assert (caught.value.code, caught.value.happened) == ("23505", "unknown")


def test_the_same_statement_survives_a_change_of_its_table(writer: WriteSession, database: PostgresServer) -> None:
    with _superuser(database) as connection:
        connection.execute("create table changing (a int)")
        text = "insert into changing values (1) returning *"
        assert writer.call(_call(text))["row"] == {"a": 1}
        connection.execute("alter table changing add column b int")
        assert writer.call(_call(text))["row"] == {"a": 1, "b": None}
        connection.execute("drop table changing")


def test_ended_sessions_are_counted_and_cannot_be_taken_back(writer: WriteSession, database: PostgresServer) -> None:
    with _superuser(database) as one, _superuser(database) as two:
        pids = [one.info.backend_pid, two.info.backend_pid]
        text = "select count(*) filter (where pg_terminate_backend(pid, 2000)) from pg_stat_activity where pid = any(%(pids)s)"
        assert writer.call(_call(text, bindings={"pids": pids[:1]}))["affected"] == 1
        named = "select pid, pg_terminate_backend(pid) from pg_stat_activity where pid = any(%(pids)s)"
        with pytest.raises(TargetError) as caught:
            writer.call(_call(named, bindings={"pids": pids}, affected=0))
        assert (caught.value.code, caught.value.happened) == ("over_limit", "unknown")


def test_a_connection_lost_before_commit_did_not_happen(writer: WriteSession, database: PostgresServer) -> None:
    pid = writer.call(_call("select pg_backend_pid() as pid"))["row"]["pid"]
    ended = threading.Timer(0.3, _ask, [database, f"select pg_terminate_backend({pid})"])
    ended.start()
    with pytest.raises(TargetError) as caught:
        writer.call(_call(["insert into workflows values (70)", "select pg_sleep_for('20 s') is null from workflows"]))
    ended.join()
    assert caught.value.code == "57P01"
    assert _ask(database, "select count(*) from workflows where id = 70") == 0
    with pytest.raises(TargetError, match="before the statement was sent"):
        writer.call(_call("insert into workflows values (71)"))


def test_a_read_session_finds_its_server_again_after_a_loss(reader: ReadSession, database: PostgresServer) -> None:
    pid = reader.call(_call("select pg_backend_pid() as pid"))["row"]["pid"]
    _ask(database, f"select pg_terminate_backend({pid}, 2000)")
    assert reader.call(_call("select pg_backend_pid() as pid"))["row"]["pid"] != pid


class CutWire:
    """A TCP relay to the server that can swallow the answer to COMMIT, before or after the server has seen it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.deliver: bool | None = None
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def close(self) -> None:
        _ended(self._listener)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._relay, args=(client,)))
            self._threads[-1].start()

    def _relay(self, client: socket.socket) -> None:
        with client, socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=self._down, args=(server, client))
            back.start()
            self._up(client, server)
            back.join()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while data := _received(client):
            if b"commit\0" in data and self.deliver is not None:
                _ended(client)
                if self.deliver:
                    server.sendall(data)
                break
            server.sendall(data)
        _ended(server)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        while data := _received(server):
            with suppress(OSError):
                client.sendall(data)
        _ended(client)


def _ended(side: socket.socket) -> None:
    """Closing alone would not end it while the other thread waits for data on it."""
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


def _received(side: socket.socket) -> bytes:
    try:
        return side.recv(65536)
    except OSError:
        return b""


@pytest.mark.parametrize("delivered", [True, False])
def test_a_lost_answer_to_commit_is_settled_by_asking_the_server(database: PostgresServer, delivered: bool) -> None:
    wire = CutWire(database.port)
    number = 80 + delivered
    try:
        with _session(database, "write", port=wire.port, sslmode="disable") as session:
            call = _call("insert into workflows values (%(id)s)", bindings={"id": number})
            wire.deliver = delivered
            if delivered:
                assert session.call(call)["affected"] == 1
            else:
                with pytest.raises(TargetError) as caught:
                    session.call(call)
                assert (caught.value.code, caught.value.happened) == ("reset", "no")
    finally:
        wire.close()
    assert _ask(database, f"select count(*) from workflows where id = {number}") == int(delivered)


def test_a_servers_word_on_a_lost_commit_counts_only_until_it_restarts(database: PostgresServer) -> None:
    with _superuser(database) as connection:
        with connection.transaction():
            connection.execute("insert into workflows values (90)")
            row = connection.execute("select pg_current_xact_id()::text").fetchone()
        assert row
    with _session(database, "write") as session:
        started = _ask(database, "select pg_postmaster_start_time()::text")
        assert session._settled((row[0], started)) == "committed"
        assert session._settled((row[0], "2020-01-01 00:00:00+00")) is None


def test_parameters_are_one_text_or_a_list_of_them() -> None:
    assert sql.Params.model_validate("select 1").root == "select 1"
    several = sql.Params.model_validate(["update t set a = %(a)s", "select pg_terminate_backend(%(pid)s)"])
    assert sql.least_effect(several) == (Effect.disruptive, "calls pg_terminate_backend()")
    assert sql.bound_names(several) == {"a", "pid"}
    for wrong in ([], "", [1], {"text": "select 1"}):
        with pytest.raises(ValueError, match="Params"):
            sql.Params.model_validate(wrong)


def test_a_gate_shows_the_text_and_every_value() -> None:
    call = _call(["update t set a = %(a)s", "drop table %(t)I;"], bindings={"a": 'x"\n'}, idents={"t": "old"})
    assert sql.show(call).splitlines() == [
        "begin;",
        "update t set a = %(a)s;",
        "drop table %(t)I;",
        "commit;",
        '  a = "x\\"\\n"',
        '  t = identifier "old"',
    ]
    assert sql.show(_call("select 1")) == "select 1"


GRAMMAR_WORDS = "by columns cube escape filter first join like materialized next operator over rollup sets similar varying within zone"
PLACES_OF_A_CALL = (
    "select {f}(1)",
    "select a from t order by {f}(a)",
    "select a from t group by a, {f}(1)",
    "select a from t limit {f}(1)",
    "select distinct on (a) {f}(1) from t",
    "select sum(a) over (rows {f}(1) preceding) from t",
    "select * from t, {f}(1) as x(n)",
    "select a from t where a between 1 and {f}(1)",
    "select now() at time zone {f}(1)",
    "select count(a) {f} (1) from t",
    "select a from t where a {f} (1)",
    "select 1 fetch {f}(1) rows only",
)


@pytest.mark.parametrize("word", GRAMMAR_WORDS.split())
def test_a_function_named_like_the_grammar_is_never_a_read_where_the_server_calls_it(
    database: PostgresServer, word: str
) -> None:
    with _superuser(database) as connection:
        connection.execute("create temp table t as select 1 as a")
        body = "begin raise exception 'called'; end"
        connection.execute(f'create function "{word}"(int) returns int language plpgsql as $${body}$$'.encode())
        try:
            reached = [text for text in _filled(word) if _is_called(connection, text)]
        finally:
            connection.execute(f'drop function "{word}"(int)'.encode())
    assert reached or word == "operator"
    assert [text for text in reached if classify(text)[0] <= Effect.touch and word != "like"] == []


def _filled(word: str) -> list[str]:
    return [place.format(f=word) for place in PLACES_OF_A_CALL]


def _is_called(connection: psycopg.Connection[Any], text: str) -> bool:
    try:
        connection.execute(text.encode())
    except psycopg.errors.RaiseException:
        return True
    except psycopg.Error:
        return False
    return False
