"""What we say of SQL text: its tokens, the places of its values, its mistakes, and how much harm it can do."""

from __future__ import annotations

import pytest

from runbook_engine.executor import Effect
from runbook_engine.sql.functions import COUNTERS, READING
from runbook_engine.sql.lexer import tokens
from runbook_engine.sql.text import (
    classify,
    controls_transaction,
    lasting_calls,
    placeholders,
    problems,
    to_psycopg,
)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("select 1", "word number"),
        ("'it''s' \"a\"\"b\"", "string name"),
        (r"E'a\'b' 'c\' d", "string string word"),
        ("U&'a' U&\"b\" B'01' x'ff' n'c'", "string name string string string"),
        ("E'a'\n 'b\\'c' d", "string word"),
        ("E'a' -- note\n 'b\\'c' d", "string word"),
        ("E'a' 'b\\' d", "string string word"),
        ("$$a'$b$ $$ $q$ $$ $q$ a$b$c", "dollar dollar word"),
        ("/* a /* b */ c */ -- d\n1", "comment comment number"),
        ("%(a)s %(b)I % (c) $12", "placeholder placeholder operator operator word operator parameter"),
        ("a::int := => <>", "word operator word operator operator operator operator"),
        ("'open", "broken"),
        ("a /* /* */", "word broken"),
        ("$x$ $y$", "broken"),
        ("a\0b", "word broken"),
        ("1.5e-3 .5 2.", "number number number"),
        ("a\u00a0b", "word"),
    ],
)
def test_text_falls_into_the_tokens_that_the_server_sees(text: str, kinds: str) -> None:
    assert " ".join(token.kind for token in tokens(text)) == kinds


def test_tokens_say_where_they_stood() -> None:
    text = "select  'a' /* b */ from t"
    assert all(text[token.start : token.end] == token.text for token in tokens(text))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("select %(x)s", "code"),
        ("select '%(x)s'", "quote"),
        ("select E'\\'%(x)s'", "quote"),
        ("select $q$ %(x)s $q$", "dollar quote"),
        ('select "%(x)s"', "quoted identifier"),
        ("select 1 -- %(x)s", "comment"),
        ("select /* %(x)s */ 1", "comment"),
        ("select a from t order by %(x)s", "order by"),
        ("select a from t order by a, %(x)s desc", "order by"),
        ("select a from t order by array_position(%(x)s, a)", "code"),
        ("select a from t order by %(x)s = a", "code"),
        ("select a from t group by %(x)s", "group by"),
        ("select interval %(x)s", "interval"),
        ("select a in (%(x)s)", "in"),
        ("select a in (1, %(x)s)", "code"),
        ("select a from t limit %(x)s", "code"),
        ("select f(a, %(x)s) from t", "code"),
    ],
)
def test_a_placeholder_knows_where_it_stands(text: str, where: str) -> None:
    (place,) = placeholders(text)
    assert (place.where, text[place.start : place.end]) == (where, "%(x)s")


def test_only_names_in_parentheses_are_placeholders() -> None:
    assert placeholders("select 5 % 2, 5 % (2), 'a%', %s, %(1)s, %(a)d") == ()


def test_plain_percent_signs_are_doubled_and_identifiers_filled_in() -> None:
    text = "select 5 % 2, 'a%b', %(x)s from %(t)I"
    assert to_psycopg(text, {"t": '"a%b"'}) == """select 5 %% 2, 'a%%b', %(x)s from "a%%b\""""


@pytest.mark.parametrize(
    ("text", "offset", "mend"),
    [
        ("select interval '%(n)s minutes'", 17, "make_interval(mins => %(n)s)"),
        ("select 1 -- %(n)s", 12, "comment"),
        ("select $q$%(n)s$q$", 10, "take it out of the quotes"),
        ('select * from "%(t)s"', 15, "write %(t)I"),
        ("select interval %(n)s", 16, "make_interval(mins => %(n)s)"),
        ("select a from t order by %(c)s", 25, "case %(by)s"),
        ("select a where b in (%(ids)s)", 21, "= any(%(ids)s)"),
        ("select 1; drop table t", 10, "sql: [first, second]"),
        ("select ${{ queue }}", 7, "%(queue)s"),
        ("select '${{ a.b }}'", 8, "%(value)s"),
        ("select $1", 7, "with:"),
        ("select %(n)s1", 7, "put a space"),
        ("select 'a", 7, "not closed"),
        ("select /* a", 7, "not closed"),
        ("commit", 0, "the engine opens and ends the transaction"),
        ("select 1; commit", 0, "COMMIT"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_mend(text: str, offset: int, mend: str) -> None:
    assert any(found == offset and mend in said for found, said in problems(text)), problems(text)


@pytest.mark.parametrize(
    "text",
    [
        "select 1;",
        "select %(a)s, a in (%(a)s, %(b)s), 'x%' like '%' || %(c)s",
        "explain (generic_plan, format json) select a from t where b = $1",
        "rollback prepared 'x'",
        "drop database %(db)I",
    ],
)
def test_sound_text_has_no_complaint(text: str) -> None:
    assert problems(text) == []


READS = """
select 1
select count(*) filter (where a like ('b')) over (partition by c order by d) from t
with recursive w(a, b) as (select 1, 2 union all select a, b from w) select * from w x(c, d)
with w(a) as materialized (values (1)), v(b) as not materialized (table t) select * from w join v on (a = b)
select * from generate_series(1, 2) g(n) join (select 1) s(z) on true left join lateral unnest(a) u(v) on (true)
select * from unnest(array['x']) with ordinality t(a, b)
select * from json_to_recordset('[]') as f(a int, b text)
select numeric(10,2) '1', '1'::varchar(20), cast(1 as numeric(3,1)), x::character varying(3), y::public.kind(3)
select coalesce(a, 'x'), nullif(b, ''), greatest(1, 2), extract(epoch from now()), position('a' in b), row(1, 2)
select percentile_cont(0.5) within group (order by x) from t group by rollup (c), grouping sets ((a), (b))
select (select now()) at time zone 'utc', a between (1) and (2), exists (select 1), array(select 1), a = any(array[1])
(select 1) union all (select 2) order by 1 limit (3)
select pg_catalog.lower('A'), "lower"('B'), LOWER /* x */ ('C')
select 'x'::regclass::oid, to_regclass('a')::text, indexrelid::regclass from pg_index
select * from public.pg_stat_statements(true)
select pg_stat_get_backend_pid(1), pg_blocking_pids(1), current_setting('x', true)
select * from t tablesample system (10)
select "update", t.delete, t.into from t
select interval '1 day' * 2, timestamp(3) '2020-01-01', date '2020-01-01'
values (1), (lower('a'))
table t
show all
explain select 1
explain (costs off, format json) select lower(a) from t
select 1;
"""


@pytest.mark.parametrize("text", READS.strip().splitlines())
def test_a_statement_that_only_reads_is_a_read(text: str) -> None:
    assert classify(text)[0] is Effect.read, classify(text)[1]


WRITES: list[tuple[str, Effect, str]] = [
    ("update t set a = 1", Effect.reversible, "UPDATE"),
    ("insert into t values (1)", Effect.reversible, "INSERT"),
    ("merge into t using s on a = b when matched then delete", Effect.reversible, "MERGE"),
    ("delete from t", Effect.destructive, "DELETE"),
    ("truncate t", Effect.destructive, "TRUNCATE"),
    ("drop table t", Effect.destructive, "DROP"),
    ("drop index concurrently i", Effect.reversible, "DROP INDEX"),
    ("create index concurrently i on t (a)", Effect.reversible, "CREATE"),
    ("alter table t drop column a", Effect.destructive, "DROP"),
    ("alter table t alter a drop not null", Effect.reversible, "ALTER"),
    ("alter role x set statement_timeout = '1s'", Effect.reversible, "ALTER"),
    ("with d as (delete from t returning 1) select * from d", Effect.destructive, "DELETE"),
    ("with a as (select 1) insert into t select 1", Effect.reversible, "INSERT"),
    ("with a as (select 1) search depth first by x set y update t set a = 1", Effect.reversible, "UPDATE"),
    ("select 1 into t", Effect.reversible, "INTO"),
    ("select a from t for update", Effect.disruptive, "locks"),
    ("select a from t for no key update of t", Effect.disruptive, "locks"),
    ("select a from t for key share", Effect.disruptive, "locks"),
    ("select pg_terminate_backend(1)", Effect.disruptive, "pg_terminate_backend()"),
    ('select "pg_terminate_backend"(1)', Effect.disruptive, "pg_terminate_backend()"),
    ("select (pid).pg_terminate_backend from pg_stat_activity", Effect.disruptive, "pg_terminate_backend()"),
    ('select s."pg_cancel_backend" from generate_series(1, 9) s', Effect.disruptive, "pg_cancel_backend()"),
    ("select pg_stat_get_evil()", Effect.disruptive, "pg_stat_get_evil()"),
    ("select public.pg_stat_get_wal()", Effect.disruptive, "public.pg_stat_get_wal()"),
    ("select pg_cancel_backend -- x\n (1)", Effect.disruptive, "pg_cancel_backend()"),
    ("select count(*) filter (where pg_terminate_backend(pid)) from t", Effect.disruptive, "pg_terminate_backend()"),
    ("update t set a = 1 where pg_terminate_backend(b)", Effect.disruptive, "pg_terminate_backend()"),
    ('select U&"pg_sleep"(1)', Effect.disruptive, "cannot be read"),
    ('select U&"\\0070g_sleep"(1)', Effect.disruptive, "cannot be read"),
    ("select public.lower('a')", Effect.disruptive, "public.lower()"),
    ("select my_function(1)", Effect.disruptive, "not known to be free of side effects"),
    ('select "Lower"(a)', Effect.disruptive, "Lower()"),
    ("select bloc\u212as()", Effect.disruptive, "not known"),
    ("select distinct on (a) pg_sleep(a) from t", Effect.disruptive, "pg_sleep()"),
    ("select 1 operator(pg_catalog.+) 2", Effect.disruptive, "operator()"),
    ("select 1 from t, dblink(a) as (values int)", Effect.disruptive, "dblink()"),
    ("select * from dblink('') as t(a int)", Effect.disruptive, "dblink()"),
    ("select a from t order by filter(a)", Effect.disruptive, "filter()"),
    ("select a from t order by cube(a)", Effect.disruptive, "cube()"),
    ("select E'a'\n'b\\'', pg_sleep(1) --'", Effect.disruptive, "pg_sleep()"),
    ("select %(f)I(1)", Effect.disruptive, "%(f)I()"),
    ("select %(s)I.lower('a')", Effect.disruptive, "lower()"),
    ("select * from rows from (pg_sleep(1))", Effect.disruptive, "pg_sleep()"),
    ("select a from t limit pg_sleep(1)", Effect.disruptive, "pg_sleep()"),
    ("select sum(a) over (rows pg_sleep(1) preceding) from t", Effect.disruptive, "pg_sleep()"),
    ("select set_config('a', 'b', false)", Effect.reversible, "set_config()"),
    ("select nextval('s')", Effect.reversible, "nextval()"),
    ("select query_to_xml('delete from t', true, true, '')", Effect.disruptive, "query_to_xml()"),
    ("explain analyze select 1", Effect.disruptive, "EXPLAIN ANALYZE"),
    ("explain (verbose, analyze false) select 1", Effect.disruptive, "EXPLAIN ANALYZE"),
    ("explain update t set a = 1", Effect.reversible, "UPDATE"),
    ("select 1; delete from t", Effect.destructive, "several statements"),
    ("select 1; select 2", Effect.disruptive, "several statements"),
    ("begin", Effect.disruptive, "BEGIN"),
    ("copy t to program 'x'", Effect.disruptive, "COPY"),
    ("do $$ begin end $$", Effect.disruptive, "DO"),
    ("set local statement_timeout = 0", Effect.reversible, "SET"),
    ("frobnicate", Effect.disruptive, "frobnicate"),
    ("", Effect.disruptive, "no statement"),
    ("-- nothing", Effect.disruptive, "no statement"),
    ("select 'open", Effect.disruptive, "cannot be read"),
]


@pytest.mark.parametrize(("text", "effect", "why"), WRITES)
def test_anything_else_is_above_a_touch_and_says_why(text: str, effect: Effect, why: str) -> None:
    found, said = classify(text)
    assert (found, why in said) == (effect, True), said


def test_the_allowlist_holds_no_function_that_acts() -> None:
    suspicious = (
        "sleep",
        "terminate",
        "cancel",
        "advisory",
        "lo_",
        "set_config",
        "nextval",
        "setval",
        "_reset",
        "read_file",
    )
    assert [name for name in READING if any(part in name for part in suspicious)] == []
    assert all(name.startswith("pg_stat_get_") for name in COUNTERS)


def test_transaction_control_is_found_but_prepared_transactions_may_be_settled() -> None:
    assert controls_transaction("/* x */ Commit and chain") == "COMMIT"
    assert controls_transaction("prepare transaction 'x'") == "PREPARE"
    assert controls_transaction("rollback prepared 'x'") is None
    assert controls_transaction("update t set a = 1") is None


def test_what_outlasts_a_rollback_is_named() -> None:
    assert lasting_calls("select pg_terminate_backend(1)") == ("pg_terminate_backend()",)
    assert lasting_calls("select my_function()") == ("my_function()",)
    assert lasting_calls("update t set a = lower(b)") == ()
    assert lasting_calls("select pg_notify('a', 'b')") == ()
