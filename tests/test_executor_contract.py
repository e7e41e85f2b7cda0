"""What every executor promises, asked of each of them against a real server."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from servers import PostgresServer, RedisServer, free_port

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Target
from runbook_engine.executors import find, names

NEVER = 600.0  # seconds; whoever waits so long has not kept the contract, and the test's own limit ends it
OUT_OF_TIME = ("timeout", "57014", "empty")  # PostgreSQL's own word; taken by HTTP's server, and not answered
CROSS = "select count(*) from generate_series(1, 100000) a, generate_series(1, 100000) b"
ACTIVE = "select count(*) from pg_stat_activity where state = 'active' and pid <> pg_backend_pid()"
SERVICE = """
import os, sys, time
verb = sys.argv[1]
if verb == "status" and not os.path.exists(sys.argv[0] + ".frozen"):
    print('{"running": 2, "desired": 2}')
elif verb == "logs":
    print("x" * 100 + chr(10), end="") if sys.argv[2] == "1" else [print("x" * 100) for _ in range(50000)]
else:
    open(sys.argv[0] + ".begun", "w").close()
    time.sleep(60)
"""
LOG = """
import os, sys, time
if os.path.exists(sys.argv[0] + ".frozen"):
    open(sys.argv[0] + ".begun", "w").close()
    time.sleep(60)
print(("word " * 2 + chr(10)) * (1 if int(sys.argv[1]) < 100 else 250_000))
"""
STUCK = "import sys, time; open(sys.argv[1], 'w').close(); time.sleep(60)"


def nothing() -> None:
    """Nothing has to be done."""


@dataclass
class World:
    """One executor's server, and requests of every kind. `stuck` never answers once `freeze` was called."""

    executor: str
    kind: str
    settings: dict[str, Any]
    quick: Any
    stuck: Any
    big: Any
    write: Any
    stuck_write: Any
    changed: Callable[[], bool]
    dead: tuple[str, dict[str, Any], str]  # kind, settings and the code of who cannot be reached
    after_lost_write: Literal["no", "unknown"] = "unknown"
    freeze: Callable[[], None] = nothing
    thaw: Callable[[], None] = nothing
    begun: Callable[[], bool] = field(default=lambda: True)

    @contextmanager
    def session(self, mode: Literal["read", "write"] = "read") -> Iterator[Any]:
        with closing(find(self.executor).connect(Target("there", self.kind, self.settings), mode)) as session:
            yield session

    @contextmanager
    def frozen_session(self, mode: Literal["read", "write"]) -> Iterator[Any]:
        """A session that was opened while the server still answered."""
        with self.session(mode) as session:
            session.identity()
            self.freeze()
            try:
                yield session
            finally:
                self.thaw()


def sql_world(postgres: PostgresServer) -> World:
    import psycopg

    known = {"dbname" if name == "database" else name: value for name, value in postgres.settings.items()}

    def ask(question: str) -> Any:
        with psycopg.connect(autocommit=True, **known) as connection:
            row = connection.execute(question.encode()).fetchone()
            return row and row[0]

    return World(
        "sql",
        "postgres",
        postgres.settings,
        quick="select 1 as n",
        stuck=CROSS,
        big="select n, repeat('x', 500) as filler from generate_series(1, 100000) n",
        write="create table contract_made (n int)",
        stuck_write=f"create table contract_made as {CROSS}",
        changed=lambda: bool(ask("select to_regclass('contract_made') is not null")),
        dead=("postgres", {**postgres.settings, "port": free_port()}, "refused"),
        after_lost_write="no",
        begun=lambda: ask(ACTIVE) > 0,
    )  # fmt: skip


def redis_world(redis: Any, server: RedisServer, executor: str) -> World:
    redis.rpush("long", *range(20_000))
    redis.sadd("asynq:queues", *(f"queue-{number}" for number in range(3000)))
    asynq = executor == "asynq"
    return World(
        executor,
        "redis",
        server.settings,
        quick={"inspect": "queue-1"} if asynq else ["PING"],
        stuck={"inspect": "queue-1"} if asynq else ["PING"],
        big={"inspect": None} if asynq else ["LRANGE", "long", 0, -1],
        write={"pause": "queue-1"} if asynq else ["SET", "made", 1],
        stuck_write={"pause": "queue-1"} if asynq else ["SET", "made", 1],
        changed=lambda: bool(redis.exists("made", "asynq:{queue-1}:paused")),
        dead=("redis", {"host": "127.0.0.1", "port": free_port()}, "refused"),
        freeze=lambda: os.kill(server.process.pid, signal.SIGSTOP),
        thaw=lambda: os.kill(server.process.pid, signal.SIGCONT),
    )


@contextmanager
def http_world() -> Iterator[World]:
    asked: list[str] = []
    ended = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            with contextlib.suppress(OSError):
                if self.path == "/stuck":
                    ended.wait(60)
                body = b"x" * (3 << 20) if self.path == "/big" else b"{}"
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - names of the standard library

        def log_message(self, *args: object) -> None:
            """Says nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield World(
            "http",
            "http",
            {"url": f"http://127.0.0.1:{server.server_address[1]}"},
            quick={"get": "/"},
            stuck={"get": "/stuck"},
            big={"get": "/big"},
            write={"post": "/made"},
            stuck_write={"post": "/stuck"},
            changed=lambda: "/made" in asked,
            dead=("http", {"url": f"http://127.0.0.1:{free_port()}"}, "refused"),
            begun=lambda: "/stuck" in asked,
        )
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


def shell_world(folder: Path) -> World:
    made, begun = folder / "made", folder / "begun"
    known_hosts = folder / "known_hosts"
    known_hosts.touch()
    ssh = {"host": "127.0.0.1", "port": free_port(), "user": "nobody", "known_hosts": str(known_hosts)}
    return World(
        "shell",
        "local",
        {},
        quick=["echo", "here"],
        stuck=[sys.executable, "-c", STUCK, str(begun)],
        big=["seq", "1000000"],
        write=["touch", str(made)],
        stuck_write=[sys.executable, "-c", STUCK, str(begun)],
        changed=made.exists,
        dead=("ssh", ssh, "refused"),
        begun=begun.exists,
    )


def service_world(folder: Path) -> World:
    program = folder / "service.py"
    program.write_text(SERVICE)
    command = {
        verb: [sys.executable, str(program), verb, *rest]
        for verb, rest in {"status": [], "restart": [], "logs": ["{lines}"], "stop": [], "start": []}.items()
    }
    begun, frozen = folder / "service.py.begun", folder / "service.py.frozen"
    gone = {verb: ["/nowhere/at/all"] for verb in ("status", "restart")}
    return World(
        "service",
        "service",
        {"service": "worker", "command": command},
        quick="status",
        stuck="status",
        big={"logs": {"lines": 5000}},
        write="restart",
        stuck_write="restart",
        changed=begun.exists,
        dead=("service", {"service": "worker", "command": gone}, "not_found"),
        freeze=frozen.touch,
        begun=begun.exists,
    )


def logs_world(folder: Path) -> World:
    program = folder / "log.py"
    program.write_text(LOG)
    return World(
        "logs",
        "service",
        {"service": "worker", "command": {"logs": [sys.executable, str(program), "{since}"]}},
        quick={"since": 60},
        stuck={"since": 60},
        big={"since": 3600},
        write={"truncate": True},
        stuck_write={"since": 60},
        changed=lambda: False,
        dead=("service", {"service": "worker"}, "unsupported"),
        freeze=(folder / "log.py.frozen").touch,
        begun=(folder / "log.py.begun").exists,
    )


def host_world() -> World:
    measured = {"pids": [os.getpid()], "seconds": 50}
    return World(
        "host",
        "host",
        {},
        quick={"ports": [1], "pids": [os.getpid()], "resources": True},
        stuck=measured,
        big={"pids": [*range(1, 20_000)]},
        write={"kill": os.getpid()},
        stuck_write=measured,
        changed=lambda: False,
        dead=("host", {"host": "127.0.0.1"}, "unsupported"),
        after_lost_write="no",
    )


@pytest.fixture(params=names())
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    match request.param:
        case "sql":
            yield sql_world(request.getfixturevalue("postgres"))
        case "redis" | "asynq" as name:
            yield redis_world(request.getfixturevalue("redis"), request.getfixturevalue("redis_process"), name)
        case "http":
            with http_world() as made:
                yield made
        case "shell":
            yield shell_world(tmp_path)
        case "service":
            yield service_world(tmp_path)
        case "logs":
            yield logs_world(tmp_path)
        case "host":
            yield host_world()
        case name:
            pytest.fail(f"executor {name} has no world here: the contract must hold for it too")


def call(request: Any, deadline: float = 15.0) -> Call:
    return Call("contract/1", request, deadline=deadline)


def in_a_thread(session: Any, asked: Call) -> tuple[threading.Thread, list[Exception | Any]]:
    """Begin a call on a thread of its own, and where its end will be."""
    ends: list[Exception | Any] = []

    def work() -> None:
        try:
            ends.append(session.call(asked))
        except (TargetError, Refused) as error:
            ends.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread, ends


def wait_until(claim: Callable[[], bool]) -> None:
    for _ in range(1500):
        if claim():
            return
        time.sleep(0.01)
    raise AssertionError("it never began")


def test_the_server_itself_says_who_it_is_and_says_the_same_again(world: World) -> None:
    with world.session() as one, world.session("write") as other:
        who, again = one.identity(), other.identity()
    assert who.name and who.facts == again.facts
    assert json.loads(json.dumps(dict(who.facts))) == dict(who.facts)


def test_an_answer_is_plain_json_with_documented_names(world: World) -> None:
    with world.session() as session:
        answer = session.call(call(world.quick))
    assert json.loads(json.dumps(answer)) == answer
    assert isinstance(answer, dict) and answer.keys() <= find(world.executor).ANSWERS.keys() | {"affected"}


def test_a_call_keeps_its_deadline(world: World) -> None:
    with world.frozen_session("read") as session:
        thread, ends = in_a_thread(session, call(world.stuck, 0.5))
        thread.join(30)
        assert not thread.is_alive()
    assert isinstance(ends[0], TargetError) and ends[0].code in OUT_OF_TIME, ends


def test_a_write_that_ran_out_of_time_may_have_happened(world: World) -> None:
    with world.frozen_session("write") as session:
        thread, ends = in_a_thread(session, call(world.stuck_write, 0.5))
        thread.join(30)
        assert not thread.is_alive()
    assert isinstance(ends[0], TargetError), ends
    assert ends[0].happened == world.after_lost_write


def test_a_call_is_cancelled_from_another_thread(world: World) -> None:
    with world.frozen_session("read") as session:
        thread, ends = in_a_thread(session, call(world.stuck, NEVER))
        wait_until(world.begun)
        time.sleep(0.2)
        assert thread.is_alive()
        session.cancel()
        thread.join(30)
        assert not thread.is_alive()
    assert isinstance(ends[0], TargetError) and ends[0].code == "cancelled", ends


def test_a_session_for_reading_refuses_a_write(world: World) -> None:
    with world.session() as session, pytest.raises(Refused):
        session.call(call(world.write))
    assert not world.changed()


def test_output_is_capped_and_says_so(world: World) -> None:
    with world.session() as session:
        answer = session.call(call(world.big, 60.0))
    assert len(json.dumps(answer)) < 8 << 20
    said = any(answer.get(name) for name in ("truncated", "dropped"))
    assert said or "bytes left out" in json.dumps(answer)


def test_closing_never_raises(world: World) -> None:
    with world.session() as session:
        session.call(call(world.quick))
        session.close()
        session.close()
        session.cancel()
    with world.frozen_session("read") as session:
        with contextlib.suppress(TargetError):
            session.call(call(world.stuck, 0.2))
        session.close()


def test_who_cannot_be_reached_did_nothing(world: World) -> None:
    kind, settings, code = world.dead

    def reach() -> None:
        with closing(find(world.executor).connect(Target("gone", kind, settings), "write")) as session:
            session.identity()
            session.call(call(world.write))

    with pytest.raises(TargetError) as failed:
        reach()
    assert (failed.value.code, failed.value.happened) == (code, "no")
