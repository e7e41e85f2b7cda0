# ruff: noqa: E501 - requests are laid out as people write them
"""A diagnosis that tries to write is refused by every executor and every route, before anything runs: with file, line,
column and the step's name. The second lock, a session for reading, refuses the same by itself. Nothing changes."""

from __future__ import annotations

import http.server
import json
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from commands import Place
from servers import PostgresServer, RedisServer

from runbook_engine.errors import RunbookError
from runbook_engine.executor import Call, Target
from runbook_engine.executors import find

SQL = [
    "insert into ledger values (9)", "update ledger set n = 9", "delete from ledger", "truncate ledger", "drop table ledger",
    "create table made (n int)", "create temp table made (n int)", "create index made on ledger (n)", "alter table ledger add made int",
    "select 1; insert into ledger values (9)", "select 1; commit; insert into ledger values (9)", "commit", "begin", "rollback",
    "select 1; set transaction read write", "set transaction read write", "set transaction_read_only = off",
    "set default_transaction_read_only = off", "set statement_timeout = 0", "reset all", "discard all",
    "with w as (insert into ledger values (9) returning n) select n from w", "select n into made from ledger",
    "explain analyze insert into ledger values (9)", "select n from ledger for update", "select nextval('counter')", "select setval('counter', 99)",
    "select writes()", "do $$ begin insert into ledger values (9); end $$", "call proceed()",
    "copy ledger from '/etc/hostname'", "copy (select 1) to '/tmp/rb-copied'", "copy (select 1) to program 'touch FOLDER/copied'",
    "select pg_read_file('/etc/hostname')", "select pg_terminate_backend(pg_backend_pid())", "select pg_cancel_backend(1)", "select pg_reload_conf()",
    "select pg_advisory_lock(1)", "select pg_sleep(60)", "select pg_switch_wal()", "select pg_stat_reset()", "select pg_stat_statements_reset()",
    "select pg_logical_emit_message(true, 'a', 'b')", "select lo_create(0)", "select set_config('work_mem', '1GB', false)", "select pg_notify('a', 'b')",
    "select dblink_exec('dbname=postgres', 'insert into ledger values (9)')", "select pg_create_physical_replication_slot('made')",
    "lock table ledger in access exclusive mode", "notify made", "listen made", "vacuum ledger", "analyze ledger", "reindex table ledger", "cluster ledger",
    "checkpoint", "load 'auto_explain'", "refresh materialized view kept", "comment on table ledger is 'made'", "grant all on ledger to public",
    "prepare made as select 1", "execute made", "declare made cursor for select 1", "alter system set work_mem = '1GB'", "create extension hstore",
    "select (a.pid).pg_terminate_backend from pg_stat_activity a", "select a.pg_cancel_backend from generate_series(1, 2) a", "select pg_stat_get_evil()",
    "insert/**/into ledger values (9)", "/* select */ delete from ledger", "-- select\ndelete from ledger", "table ledger; delete from ledger",
]  # fmt: skip
REDIS: list[Any] = [
    ["SET", "kept", 2], ["SET", "rb:canary:x", 1], ["SET", "rb:canary:x", 1, "PX", 600000, "NX"], ["SET", "other", 1, "PX", 1000, "NX"],
    ["set", "kept", 2], ["SET kept 2"], ["DEL", "kept"], ["UNLINK", "kept"], ["INCR", "kept"], ["APPEND", "kept", "x"], ["EXPIRE", "kept", 1],
    ["RENAME", "kept", "made"], ["LPUSH", "list", 2], ["RPOP", "list"], ["BLPOP", "list", 1], ["HSET", "made", "a", 1], ["SADD", "made", 1],
    ["ZADD", "made", 1, "a"], ["XADD", "made", "*", "a", 1], ["SETEX", "made", 60, 1], ["GETSET", "kept", 2], ["GETDEL", "kept"], ["SETNX", "made", 1],
    ["FLUSHALL"], ["FLUSHDB"], ["SORT", "list", "STORE", "made"], ["COPY", "kept", "made"], ["RESTORE", "made", 0, "x"], ["PFADD", "made", 1],
    ["EVAL", "return redis.call('set', 'kept', 2)", 0], ["EVALSHA", "0" * 40, 0], ["EVAL_RO", "return 1", 0], ["FCALL", "made", 0],
    ["SCRIPT", "FLUSH"], ["SCRIPT", "LOAD", "return 1"], ["FUNCTION", "FLUSH"], ["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "RESETSTAT"],
    ["CONFIG", "REWRITE"], ["CLIENT", "KILL", "TYPE", "normal"], ["CLIENT", "PAUSE", 1000], ["SHUTDOWN", "NOSAVE"], ["DEBUG", "SLEEP", 1],
    ["REPLICAOF", "127.0.0.1", 1], ["SLAVEOF", "127.0.0.1", 1], ["FAILOVER"], ["ACL", "SETUSER", "made"], ["MODULE", "LOAD", "/made.so"],
    ["PUBLISH", "made", 1], ["SUBSCRIBE", "made"], ["MONITOR"], ["MULTI"], ["WATCH", "kept"], ["SAVE"], ["BGSAVE"], ["BGREWRITEAOF"], ["KEYS", "*"],
    ["SCAN", 0, "COUNT", 100_000_000], ["SSCAN", "kept", 0, "COUNT", "all"], ["HRANDFIELD", "kept", -100_000_000],
    ["SLOWLOG", "RESET"], ["LATENCY", "RESET"], ["MEMORY", "PURGE"], ["SWAPDB", 0, 1], ["SELECT", 1], ["MIGRATE", "127.0.0.1", 1, "kept", 0, 10],
    [["GET", "kept"], ["SET", "kept", 2]], {"script": "return redis.call('set', KEYS[1], 2)", "keys": ["kept"]},
    {"unlink": {"prefix": "ke"}}, ["NOSUCHCOMMAND", 1],
]  # fmt: skip
ASYNQ: list[Any] = [
    {"pause": "default"}, {"resume": "default"}, {"quarantine": "default", "id": "a"}, {"restore": "default", "id": "a"},
    {"retry_archived": "default"}, {"purge_completed_expired": "default"}, {"repair": "default", "orphans": ["a"]}, {"export": "default", "state": "archived"},
]  # fmt: skip
HTTP: list[Any] = [
    {"post": "/made"}, {"put": "/made", "json": {"a": 1}}, {"patch": "/made"}, {"delete": "/made"},
    {"get": "/a", "headers": {"X-HTTP-Method-Override": "DELETE"}}, {"get": "/a", "post": "/made"}, {"method": "POST", "path": "/made"},
]  # fmt: skip
SHELL: list[Any] = [
    ["touch", "FOLDER/made"], ["rm", "-f", "FOLDER/kept"], ["sh", "-c", "touch FOLDER/made"], ["env", "touch", "FOLDER/made"], "touch FOLDER/made",
    "echo x > FOLDER/made", "cat FOLDER/kept | tee FOLDER/made", "true && rm FOLDER/kept", "$(touch FOLDER/made)", ["sed", "-i", "s/a/b/", "FOLDER/kept"],
    ["docker", "compose", "restart", "worker"], ["kubectl", "scale", "deploy/worker", "--replicas=9"], ["systemctl", "restart", "worker"],
    ["redis-cli", "FLUSHALL"], ["curl", "-X", "POST", "http://127.0.0.1:1/made"], ["find", "FOLDER", "-delete"], ["sudo", "reboot"],
    ["kill", "-9", "1"], "sleep 1; kill 1",
]  # fmt: skip
UNDECLARED = [["made-by-somebody", "--now"], "made-by-somebody --now", ["ls", "/"]]
SERVICE: list[Any] = ["start", "stop", "restart", {"scale": 9}]
# Their text is innocent: only the server knows that a function is called that writes, or reaches another session.
HIDDEN: dict[str, list[Any]] = {
    "sql": [
        "select n from untouched.writing", "select untouched.pg_stat_statements()", "select a.taken from untouched.ledger a",
        "select (a.pid).pg_log_backend_memory_contexts from pg_stat_activity a", "select (0.01::float8).pg_sleep",
    ],
}  # fmt: skip
ROUTES = {"sql": SQL, "redis": REDIS, "asynq": ASYNQ, "http": HTTP, "shell": SHELL, "service": SERVICE}
KINDS = {
    "sql": "postgres",
    "redis": "redis",
    "asynq": "redis",
    "http": "http",
    "shell": "local",
    "service": "service",
}
SCHEMA = """
drop schema if exists untouched cascade; create schema untouched; set search_path = untouched;
create extension if not exists pg_stat_statements schema public; create extension if not exists dblink schema public;
create table ledger (n int); insert into ledger select generate_series(1, 5); create sequence counter;
create function writes() returns int language plpgsql volatile as 'begin insert into untouched.ledger values (9); return 1; end';
create function pg_stat_statements() returns int language sql as 'select untouched.writes()';
create function public.taken(ledger) returns int language sql as 'select untouched.writes()';
create view writing as select writes() as n; create materialized view kept as select n from ledger;
create procedure proceed() language sql as 'insert into untouched.ledger values (9)';
"""
LOOK = """
select (select array_agg(n order by n) from untouched.ledger), (select last_value || is_called::text from untouched.counter),
 (select count(*) from pg_class), (select count(*) from pg_proc), (select count(*) from pg_replication_slots), (select count(*) from pg_largeobject_metadata),
 (select count(*) from pg_extension), (select count(*) from pg_roles), (select md5(string_agg(name || coalesce(setting, ''), ',' order by name)) from pg_settings),
 (select stats_reset from public.pg_stat_statements_info), (select relacl::text from pg_class where oid = 'untouched.ledger'::regclass),
 (select obj_description('untouched.ledger'::regclass)), (select count(*) from pg_locks where locktype = 'advisory'), pg_postmaster_start_time()
"""


@dataclass
class World:
    """Everything that a diagnosis could change here, and a look at all of it."""

    place: Place
    targets: dict[str, Target]
    postgres: PostgresServer
    redis: Any
    hits: list[str] = field(default_factory=list)

    def look(self) -> dict[str, Any]:
        with connected(self.postgres) as connection:
            rows = connection.execute(LOOK).fetchone()
        config = self.redis.config_get("*")
        keys = {key: self.redis.dump(key) for key in self.redis.scan_iter()}
        stats, clients = self.redis.info("persistence"), self.redis.info("replication")["role"]
        files = {str(path.relative_to(self.place.folder)) for path in self.place.folder.rglob("*")}
        more = (stats["rdb_changes_since_last_save"], clients, self.redis.dbsize(), self.redis.acl_users())
        return {
            "postgres": rows,
            "config": config,
            "keys": keys,
            "more": more,
            "files": files,
            "hits": tuple(self.hits),
        }


def connected(server: PostgresServer) -> psycopg.Connection[Any]:
    names = {"dbname" if name == "database" else name: value for name, value in server.settings.items()}
    return psycopg.connect(autocommit=True, **names)


@pytest.fixture
def world(tmp_path: Path, postgres: PostgresServer, redis: Any, redis_process: RedisServer) -> Iterator[World]:
    """Real servers with something in them, and an environment that names them all, with a superuser's credential."""
    folder = tmp_path / "work"
    (folder / "playbooks").mkdir(parents=True)
    (folder / "kept").write_text("kept")
    with connected(postgres) as connection:
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement)
    redis.set("kept", 1)
    redis.rpush("list", 1)
    redis.sadd("asynq:queues", "default")
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(f"{self.command} {self.path}")
            self.send_response(204)
            self.end_headers()

        do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    verbs = {verb: ["touch", str(folder / "made")] for verb in ("start", "stop", "restart", "scale", "status", "logs")}
    settings = {
        "postgres": {**postgres.settings, "options": "-c search_path=untouched,public"},
        "redis": redis_process.settings,
        "http": {"url": f"http://127.0.0.1:{server.server_address[1]}"},
        "local": {},
        "service": {"service": "worker", "command": verbs},
    }
    targets = {kind: Target(kind, kind, given) for kind, given in settings.items()}
    password = folder / "password"
    password.write_text(postgres.password)
    password.chmod(0o600)
    written = {kind: {"kind": kind, **given} for kind, given in settings.items()}
    written["postgres"]["password"] = {"file": str(password)}
    del written["postgres"]["options"]
    (folder / "runbook.yaml").write_text(json.dumps({"environments": {"here": {"targets": written}}}))
    try:
        yield World(Place(folder, tmp_path / "state"), targets, postgres, redis, hits)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        with connected(postgres) as connection:  # others share this server
            connection.execute("drop schema if exists untouched cascade")


def playbook(executor: str, requests: list[Any], effect: str | None) -> tuple[str, dict[int, str]]:
    """A playbook whose diagnosis tries all of them, and the line on which each request stands."""
    lines = [
        "runbook: 1", "name: innocent", "title: Only looks", f"targets: {{there: {KINDS[executor]}}}", "symptoms:",
        "  - {id: x, title: X, ask: {question: Is it bad, type: boolean, fact: bad}, present: bad}", "diagnosis:",
    ]  # fmt: skip
    placed = {}
    for number, request in enumerate(requests):
        lines.append(f"  - id: try-{number}")
        placed[len(lines) + 1] = f"try-{number}"
        lines.append(f"    {executor}: {json.dumps(request)}")
        lines += [f"    effect: {effect}"] if effect else []
        lines.append(f"    facts: {{fact_{number}: error}}")
    return "\n".join(lines) + "\n", placed


@pytest.mark.parametrize(
    ("executor", "effect"),
    [*((executor, None) for executor in ROUTES), *((executor, "read") for executor in ROUTES), ("redis", "touch"), ("shell", "touch")],
    ids=lambda value: str(value),
)  # fmt: skip
def test_a_diagnosis_that_writes_is_refused_with_its_place_and_nothing_changes(
    world: World, executor: str, effect: str | None
) -> None:
    requests = json.loads(json.dumps(ROUTES[executor]).replace("FOLDER", str(world.place.folder)))
    requests += UNDECLARED if executor == "shell" and effect is None else []
    text, placed = playbook(executor, requests, effect)
    assert yaml.safe_load(text)
    (world.place.folder / "playbooks" / "innocent.yaml").write_text(text)
    before = world.look()
    finished = world.place.run("run", "innocent", "--answer", "x=yes")
    assert finished.code == 65, finished.said
    assert "Traceback" not in finished.said
    found = re.findall(r"innocent\.yaml:(\d+):(\d+): (RB\d+) (.*)", finished.stderr)
    named = {int(line): message for line, _, _, message in found}
    assert found, finished.stderr
    missing = [json.dumps(requests[int(step[4:])]) for line, step in placed.items() if line not in named]
    assert missing == []
    for line, step in placed.items():
        assert step in named[line] or "RB106" in finished.stderr, named[line]
    assert all(int(column) > 4 for line, column, _, _ in found if int(line) in placed)
    assert world.look() == before
    assert not world.place.state.exists() or not list(world.place.state.glob("*.db"))


@pytest.mark.parametrize("executor", ROUTES)
def test_a_session_for_reading_refuses_the_same_by_itself(world: World, executor: str) -> None:
    module = find(executor)
    routes = [*ROUTES[executor], *HIDDEN.get(executor, [])]
    requests = json.loads(json.dumps(routes).replace("FOLDER", str(world.place.folder)))
    before = world.look()
    allowed = []
    for request in requests:
        with closing(module.connect(world.targets[KINDS[executor]], "read")) as session:
            try:
                session.call(Call("innocent/1", request, deadline=5.0))
            except RunbookError:
                continue
        allowed.append(request)
    assert world.look() == before
    assert allowed == []


OPTION = """
runbook: 1
name: innocent
title: Only looks
inputs: {given: {default: kept}}
targets: {there: local}
symptoms:
  - {id: looks, shell: [sort, "${{ given }}", kept], effect: read, facts: {sorted: lines}, present: false and sorted}
"""


def test_a_value_that_begins_with_a_dash_never_becomes_an_option_of_a_command(world: World) -> None:
    (world.place.folder / "playbooks" / "innocent.yaml").write_text(OPTION)
    before = world.look()
    finished = world.place.run("run", "innocent", "-i", "given=-omade")
    assert "put a literal -- before it" in finished.said, finished.said
    assert world.look() == before
    assert world.place.run("run", "innocent", "-i", "given=kept").code == 0
