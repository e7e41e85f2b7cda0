"""`redis:` against a real server: what a read session cannot do, what a failure leaves known, what answers are."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import ValidationError
from servers import RedisServer, free_port, redis_server

from runbook_engine.errors import Refused, TargetError, UsageError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import redis as executor
from runbook_engine.redis_client.session import address_from


@contextmanager
def session_of(settings: dict[str, Any], mode: Literal["read", "write"] = "read") -> Iterator[executor.Session]:
    session = executor.connect(Target("cache", "redis", settings), mode)
    try:
        yield session
    finally:
        session.close()


@pytest.fixture
def reading(redis: Any, redis_process: RedisServer) -> Iterator[executor.Session]:
    with session_of(redis_process.settings) as session:
        yield session


@pytest.fixture
def writing(redis: Any, redis_process: RedisServer) -> Iterator[executor.Session]:
    with session_of(redis_process.settings, "write") as session:
        yield session


def call(request: Any, **changes: Any) -> Call:
    return Call("call/1", request, **changes)


@contextmanager
def proxy(upstream: int, forward_reply: Callable[[bytes], bool]) -> Iterator[int]:
    """Passes on what the client says, and of the replies only those wanted; it hangs up at the first unwanted one."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = socket.create_connection(("127.0.0.1", upstream))

    def replies(client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (chunk := server.recv(65536)) and forward_reply(chunk):
                client.sendall(chunk)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)

    def requests() -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            back = threading.Thread(target=replies, args=(client,))
            back.start()
            while chunk := client.recv(65536):
                server.sendall(chunk)
            server.shutdown(socket.SHUT_RDWR)
            back.join()

    thread = threading.Thread(target=requests)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        server.close()
        listener.close()


WRITES: list[Any] = [
    ["SET", "k", "2"],
    ["SET", "rb:canary:x", "1", "PX", 1000],
    ["SET", "rb:canary:x", "1", "NX"],
    ["SET", "rb:canary:x", "1", "EX", 61, "NX"],
    ["SET", "other:canary", "1", "PX", 1000, "NX"],
    ["DEL", "k"],
    ["INCR", "n"],
    ["RENAME", "k", "l"],
    ["EXPIRE", "k", 1],
    ["GETDEL", "k"],
    ["SORT", "k", "STORE", "l"],
    ["CONFIG", "SET", "maxmemory", "1gb"],
    ["CONFIG", "RESETSTAT"],
    ["CONFIG", "REWRITE"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["CLIENT", "PAUSE", 100],
    ["SCRIPT", "LOAD", "return 1"],
    ["SCRIPT", "FLUSH"],
    ["FCALL", "f", 0],
    ["EVAL", "return redis.call('DEL', 'k')", 0],
    ["EVALSHA", "0" * 40, 0],
    ["EVAL_RO", "return 1", 0],
    {"script": "return redis.call('DEL', 'k')"},
    {"unlink": {"prefix": "kkk"}},
    ["KEYS", "*"],
    ["MONITOR"],
    ["SUBSCRIBE", "c"],
    ["PSUBSCRIBE", "*"],
    ["BLPOP", "k", 0],
    ["MULTI"],
    ["EXEC"],
    ["WATCH", "k"],
    ["SELECT", 1],
    ["AUTH", "x"],
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["SHUTDOWN", "NOSAVE"],
    ["DEBUG", "SLEEP", 0],
    ["SLAVEOF", "NO", "ONE"],
    ["REPLICAOF", "NO", "ONE"],
    ["PUBLISH", "c", "m"],
    ["XTRIM", "s", "MAXLEN", 0],
    ["ACL", "SETUSER", "x"],
    ["MODULE", "LOAD", "/x"],
    ["SLOWLOG", "RESET"],
    ["SET pwn 1"],
    ["set pwn 1", "x"],
    ["GET\r\nSET pwn 1"],
    [["GET", "k"], ["DEL", "k"]],
    [["GET", "k"], ["MULTI"], ["DEL", "k"], ["EXEC"]],
]


@pytest.mark.parametrize("request_", WRITES, ids=str)
def test_a_read_session_refuses_what_could_write_or_never_end_and_nothing_changes(
    request_: Any, reading: executor.Session, redis: Any
) -> None:
    redis.set("k", "1")
    redis.set("kkk1", "1")
    with pytest.raises(Refused):
        reading.call(call(request_))
    assert redis.get("k") == b"1" and redis.dbsize() == 2
    assert redis.config_get("maxmemory")["maxmemory"] == "0"


@pytest.mark.parametrize(
    ("request_", "effect"),
    [
        (["GET", "k"], Effect.read),
        (["get", "${{ key }}"], Effect.read),
        (["CONFIG", "GET", "maxmemory*"], Effect.read),
        (["CLIENT", "LIST"], Effect.read),
        ([["GET", "k"], ["XINFO", "GROUPS", "s"]], Effect.read),
        ({"memory": {"sample": 5000, "seconds": 30}}, Effect.read),
        (["SET", "rb:canary:${{ call.id }}", 1, "PX", 1000, "NX"], Effect.touch),
        (["SET", "rb:canary:x", 1, "NX", "EX", 60], Effect.touch),
        (["SET", "rb:canary:x", 1, "PX", "${{ x }}", "NX"], Effect.reversible),
        (["SET", "${{ 'rb:canary:' }}", 1, "PX", 1000, "NX"], Effect.reversible),
        (["DEL", "k"], Effect.reversible),
        (["CONFIG", "SET", "maxmemory-policy", "noeviction"], Effect.reversible),
        (["CONFIG", "SET", "${{ name }}", "1"], Effect.disruptive),
        (["CONFIG", "SET", "dir", "/tmp"], Effect.disruptive),
        (["CLIENT", "KILL", "ID", 3], Effect.disruptive),
        (["REPLICAOF", "NO", "ONE"], Effect.disruptive),
        (["FLUSHALL"], Effect.destructive),
        (["SCRIPT", "FLUSH"], Effect.destructive),
        ([["GET", "k"], ["FLUSHDB"]], Effect.destructive),
        ({"script": "return 1"}, Effect.reversible),
        ({"unlink": {"prefix": "cache:"}}, Effect.disruptive),
        (["SOMETHING.NEW", "k"], Effect.reversible),
    ],
    ids=str,
)
def test_the_least_effect_is_what_the_command_can_do(request_: Any, effect: Effect) -> None:
    assert executor.least_effect(executor.Params.model_validate(request_))[0] is effect


@pytest.mark.parametrize(
    ("request_", "complaint"),
    [
        (["SET pwn 1"], r"Write each argument as its own item, e.g. \[SET, pwn, 1\]"),
        (["${{ name }}", "k"], "is not the name of one command"),
        (["CONFIG", "${{ word }}"], r"written out, e.g. \[CONFIG, GET\]"),
        (["KEYS", "*"], "use SCAN"),
        (["SCAN", 0, "COUNT", 10_001], "whole number up to 10000"),
        (["scan", 0, "match", "count", "count", "1000000"], "whole number up to 10000"),
        (["SCAN", 0, "COUNT", 10, "COUNT", 10**9], "whole number up to 10000"),
        (["SCAN", 0, "COUNT", 1e9], "whole number up to 10000"),
        (["SCAN", 0, "COUNT", "1e9"], "whole number up to 10000"),
        (["HSCAN", "count", 0, "NOVALUES", "COUNT", 20_000], "whole number up to 10000"),
        (["SSCAN", "k", 0, "COUNT", "many"], "whole number up to 10000"),
        ([["PING"], ["ZSCAN", "k", "${{ cursor }}", "MATCH", "${{ m }}", "COUNT", 20_000]], "whole number up to 10000"),
        (["SRANDMEMBER", "k", -1_000_000], "whole number up to 10000"),
        (["MULTI"], "one transaction already"),
        (["EVAL", "return 1", 0], "write {script"),
        ({"script": "return '${{ x }}'"}, r"read it as ARGV\[1\]"),
        ("GET k", "expected a command as a list"),
        ({"scrip": "return 1"}, "expected a command as a list"),
        ({"script": "return 1", "argv": []}, "Extra inputs"),
        (["SET", "k", True], "valid"),
        (["SET", "k", None], "valid"),
        ([], "at least 1"),
        ({"unlink": {"prefix": ""}}, "at least 3"),
    ],
    ids=str,
)
def test_what_cannot_be_sent_is_a_load_error_that_shows_the_mend(request_: Any, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        executor.Params.model_validate(request_)


BOUNDED: list[Any] = [
    ["SCAN", 0, "COUNT", 10_000],
    ["SCAN", "${{ cursor }}", "MATCH", "COUNT", "COUNT", "${{ count }}", "TYPE", "string"],
    ["HSCAN", "count", 0, "COUNT", "100"],
    ["SSCAN", "COUNT", "99999"],
    ["ZRANDMEMBER", "k"],
    ["HRANDFIELD", "k", -5, "WITHVALUES"],
]


@pytest.mark.parametrize("request_", BOUNDED, ids=str)
def test_a_scan_of_a_bounded_piece_may_be_written(request_: Any) -> None:
    assert executor.least_effect(executor.Params.model_validate(request_))[0] is Effect.read


@pytest.mark.parametrize("count", [10_001, "1000000000", "+9", " 9", "", {"base64": "OTk5OTk5"}], ids=str)
@pytest.mark.parametrize("word", ["COUNT", "Count", {"base64": "Q09VTlQ="}], ids=str)
def test_a_count_that_turns_out_too_large_is_refused_before_it_is_sent(
    reading: executor.Session, word: Any, count: Any
) -> None:
    with pytest.raises(Refused, match="whole number up to 10000"):
        reading.call(call(["SCAN", 0, word, count]))
    assert reading.call(call(["SCAN", 0, word, 10]))["result"] == ["0", []]


def test_replies_are_plain_json_with_the_shape_of_what_was_asked(reading: executor.Session, redis: Any) -> None:
    redis.set("text", "ü")
    redis.set("bytes", b"\xff\x00")
    redis.hset("hash", mapping={"a": "1"})
    redis.zadd("zset", {"m": 1.5})
    redis.xadd("stream", {"f": "v"}, id="1-1")
    redis.xgroup_create("stream", "g", "0")
    result = reading.call(
        call(
            [
                ["GET", "text"],
                ["GET", "bytes"],
                ["GET", "absent"],
                ["HGETALL", "hash"],
                ["ZRANGE", "zset", 0, -1, "WITHSCORES"],
                ["LLEN", "hash"],
                ["CONFIG", "GET", "maxmemory-policy"],
                ["XRANGE", "stream", "-", "+"],
                ["XPENDING", "stream", "g"],
            ]
        )
    )["result"]
    assert result == [
        "ü",
        {"base64": "/wA="},
        None,
        {"a": "1"},
        [["m", 1.5]],
        {
            "error": {
                "code": "WRONGTYPE",
                "message": "WRONGTYPE Operation against a key holding the wrong kind of value",
            }
        },
        {"maxmemory-policy": "noeviction"},
        [["1-1", {"f": "v"}]],
        {"pending": 0, "first": None, "last": None, "consumers": {}},
    ]


def test_info_is_a_table_of_numbers(reading: executor.Session, redis: Any) -> None:
    redis.set("k", "1")
    info = reading.call(call(["INFO"]))["result"]
    assert info["connected_clients"] >= 1 and info["db0"]["keys"] == 1 and info["role"] == "master"
    clients = reading.call(call(["CLIENT", "LIST"]))["result"]
    assert "runbook" in [client["name"] for client in clients]


def test_a_canary_is_written_in_a_read_session_and_goes_by_itself(reading: executor.Session, redis: Any) -> None:
    answer = reading.call(call(["SET", "rb:canary:1", 1, "PX", 60000, "NX"]))
    assert answer.pop("ms") > 0 and answer == {"result": "OK", "truncated": False, "affected": 1}
    assert redis.pttl("rb:canary:1") > 0


def test_a_long_reply_is_cut_says_so_and_the_connection_stays_in_step(reading: executor.Session, redis: Any) -> None:
    redis.rpush("list", *range(10_050))
    redis.set("big", "x" * (1 << 20) + "tail")
    answer = reading.call(call(["LRANGE", "list", 0, -1]))
    assert answer["truncated"] is True and len(answer["result"]) == 10_000
    answer = reading.call(call(["GET", "big"]))
    assert answer["truncated"] is True and len(answer["result"]) == 1 << 20
    assert reading.call(call(["LLEN", "list"]))["result"] == 10_050


def test_several_writes_are_one_transaction(writing: executor.Session, redis: Any) -> None:
    answer = writing.call(call([["SET", "a", 1], ["SET", "b", 2], ["DEL", "absent"]]))
    assert answer.pop("ms") > 0
    assert answer == {"result": ["OK", "OK", 0], "truncated": False, "affected": 2}
    with pytest.raises(TargetError) as failure:
        writing.call(call([["SET", "a", 9], ["SET", "b"]]))
    assert failure.value.happened == "no" and redis.get("a") == b"1"
    with pytest.raises(TargetError) as failure:
        writing.call(call([["SET", "a", 9], ["LPUSH", "b", 1]]))
    assert (failure.value.code, failure.value.happened) == ("WRONGTYPE", "unknown")


def test_more_keys_than_the_limit_are_refused_before_anything_is_sent(writing: executor.Session, redis: Any) -> None:
    redis.mset({"a": 1, "b": 2})
    with pytest.raises(Refused, match="names 2 keys"):
        writing.call(call(["DEL", "a", "b"], affected=1))
    assert redis.exists("a", "b") == 2
    assert writing.call(call(["DEL", "a"], affected=1))["affected"] == 1


def test_arguments_are_never_split_and_bytes_come_back_as_they_were(writing: executor.Session, redis: Any) -> None:
    writing.call(call(["SET", "k", "1\r\nFLUSHALL\r\n"]))
    assert redis.get("k") == b"1\r\nFLUSHALL\r\n"
    writing.call(call(["SET", "k", {"base64": "/wA="}]))
    assert redis.get("k") == b"\xff\x00"
    with pytest.raises(Refused, match="base64"):
        writing.call(call(["SET", "k", {"base64": "?"}]))


def test_a_script_takes_its_values_as_arguments(writing: executor.Session, redis: Any) -> None:
    script = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
    redis.set("k", "v")
    assert writing.call(call({"script": script, "keys": ["k"], "args": ["other"]}))["result"] == 0
    assert writing.call(call({"script": script, "keys": ["k"], "args": ["v"]}))["result"] == 1
    assert "ARGV v" in executor.show(call({"script": script, "keys": ["k"], "args": ["v"]}))


def test_a_lost_reply_leaves_the_write_done_once_and_unknown(redis: Any, redis_process: RedisServer) -> None:
    with (
        proxy(redis_process.port, lambda chunk: chunk != b":1\r\n") as port,
        session_of({"host": "127.0.0.1", "port": port}, "write") as session,
    ):
        with pytest.raises(TargetError) as failure:
            session.call(call(["INCR", "counter"]))
        assert (failure.value.code, failure.value.happened) == ("reset", "unknown")
        with pytest.raises(TargetError) as failure:
            session.call(call(["INCR", "counter"]))
        assert failure.value.happened == "no"
    assert redis.get("counter") == b"1"


def test_no_reply_within_the_deadline_is_a_timeout_and_unknown(redis: Any, redis_process: RedisServer) -> None:
    swallowed = threading.Event()

    def swallow(chunk: bytes) -> bool:
        if chunk == b":1\r\n":
            swallowed.wait(10)
            return False
        return True

    try:
        with (
            proxy(redis_process.port, swallow) as port,
            session_of({"host": "127.0.0.1", "port": port}, "write") as session,
        ):
            with pytest.raises(TargetError) as failure:
                session.call(call(["INCR", "counter"], deadline=0.3))
            swallowed.set()
    finally:
        swallowed.set()
    assert (failure.value.code, failure.value.happened) == ("timeout", "unknown")
    assert redis.get("counter") == b"1"


def test_a_call_in_flight_can_be_cancelled_from_another_thread(redis: Any, redis_process: RedisServer) -> None:
    carried_out, cancelled = threading.Event(), threading.Event()
    found: list[TargetError] = []

    def hold_back(chunk: bytes) -> bool:
        if chunk == b":1\r\n":
            carried_out.set()
            cancelled.wait(20)
        return True

    def run(session: executor.Session) -> None:
        try:
            session.call(call(["INCR", "counter"], deadline=20))
        except TargetError as fault:
            found.append(fault)

    with (
        proxy(redis_process.port, hold_back) as port,
        session_of({"host": "127.0.0.1", "port": port}, "write") as session,
    ):
        thread = threading.Thread(target=run, args=(session,))
        thread.start()
        assert carried_out.wait(10)
        session.cancel()
        thread.join(10)
        cancelled.set()
        with pytest.raises(TargetError) as failure:
            session.call(call(["INCR", "counter"]))
    assert [(fault.code, fault.happened) for fault in found] == [("cancelled", "unknown")]
    assert (failure.value.code, failure.value.happened) == ("cancelled", "no")
    assert redis.get("counter") == b"1"


def relay(client: ssl.SSLSocket, server: socket.socket) -> None:
    """A reply may come in several pieces, so both sides are listened to until one hangs up."""
    while True:
        ready = [client] if client.pending() else select.select([client, server], [], [])[0]
        for source, sink in ((client, server), (server, client)):
            if source in ready:
                chunk = source.recv(65536)
                if not chunk:
                    return
                sink.sendall(chunk)


@contextmanager
def tls_front(upstream: int, folder: Path) -> Iterator[int]:
    """Takes one TLS connection for localhost with a certificate of its own, `folder`/ca.pem, and passes it on."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate_for_localhost(folder))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", upstream)) as server:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as client:
                relay(client, server)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        thread.join(5)
        listener.close()


def certificate_for_localhost(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    today = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(today).not_valid_after(today + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "ca.pem"
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return path


def test_tls_is_spoken_to_a_server_whose_authority_is_named(redis_process: RedisServer, tmp_path: Path) -> None:
    with tls_front(redis_process.port, tmp_path) as port:
        settings = {"host": "localhost", "port": port, "tls": True, "ca": str(tmp_path / "ca.pem")}
        with session_of(settings) as session:
            assert session.call(call(["PING"]))["result"] == "PONG"


def test_a_server_whose_authority_is_not_known_is_not_talked_to(redis_process: RedisServer, tmp_path: Path) -> None:
    with tls_front(redis_process.port, tmp_path) as port, pytest.raises(TargetError) as failure:
        executor.connect(Target("cache", "redis", {"host": "localhost", "port": port, "tls": True}), "read")
    assert (failure.value.code, failure.value.happened) == ("tls", "no")


def test_the_servers_own_error_word_is_the_code(redis: Any, redis_process: RedisServer) -> None:
    try:
        with session_of(redis_process.settings) as session:
            for name, value, word in [
                ("maxmemory", "1", "OOM"),
                ("min-replicas-to-write", "1", "NOREPLICAS"),
            ]:
                before = redis.config_get(name)[name]
                redis.config_set(name, value)
                with pytest.raises(TargetError) as failure:
                    session.call(call(["SET", "rb:canary:1", 1, "PX", 1000, "NX"]))
                assert (failure.value.code, failure.value.happened) == (word, "no")
                assert session.call(call(["INFO", "memory"]))["result"]["used_memory"] > 0
                redis.config_set(name, before)
            redis.replicaof("127.0.0.1", free_port())
            with pytest.raises(TargetError) as failure:
                session.call(call(["SET", "rb:canary:1", 1, "PX", 1000, "NX"]))
            assert failure.value.code == "READONLY" and session.identity().name.endswith("replica")
            redis.config_set("replica-serve-stale-data", "no")
            with pytest.raises(TargetError) as failure:
                session.call(call(["GET", "k"]))
            assert failure.value.code == "MASTERDOWN"
    finally:
        redis.config_set("replica-serve-stale-data", "yes")
        redis.replicaof("NO", "ONE")
        redis.config_set("maxmemory", "0")
        redis.config_set("min-replicas-to-write", "0")


def word_of(session: executor.Session, request: Any) -> tuple[str, str]:
    with pytest.raises(TargetError) as failure:
        session.call(call(request))
    assert failure.value.message.partition(": ")[2].startswith(failure.value.code)
    return failure.value.code, failure.value.happened


def test_words_that_redis_py_turns_into_classes_stay_words(writing: executor.Session, redis: Any) -> None:
    redis.acl_setuser("reader", enabled=True, passwords=["+pw"], categories=["+@all"], commands=["-set", "-client"])
    redis.set("text", "1")
    settings = {"port": redis.connection_pool.connection_kwargs["port"], "username": "reader", "password": "pw"}
    try:
        with session_of(settings, "write") as session:
            assert word_of(session, ["SET", "k", 1]) == ("NOPERM", "no")
            assert session.call(call(["PING"]))["result"] == "PONG"
    finally:
        redis.acl_deluser("reader")
    # As a script gives them: a server whose state has each of them cannot be had in a test.
    words = "LOADING NOAUTH WRONGPASS EXECABORT NOSCRIPT TRYAGAIN CLUSTERDOWN CROSSSLOT MASTERDOWN READONLY OOM MISCONF"
    for word in words.split():
        script = f"return redis.error_reply('{word} for a reason')"
        assert word_of(writing, {"script": script})[0] == word
    for word in ("MOVED", "ASK"):
        assert word_of(writing, {"script": f"return redis.error_reply('{word} 3999 127.0.0.1:6381')"})[0] == word
    within = writing.call(call({"script": "return {1, redis.error_reply('LOADING x'), 2}"}))["result"]
    assert within == [1, {"error": {"code": "LOADING", "message": "LOADING x"}}, 2]
    assert writing.call(call(["PING"]))["result"] == "PONG"


def test_a_server_that_still_loads_says_so_and_the_session_lives_on(tmp_path: Path) -> None:
    # A server that loads looks at its clients after every 2 MB, here about a tenth of a second.
    fill = "for i = 1, 1600 do redis.call('SET', 'key' .. i, string.rep('x', 20000)) end return 1"
    options = ("--dir", str(tmp_path), "--rdbcompression", "no")
    with redis_server(*options) as server, session_of(server.settings, "write") as session:
        session.call(call({"script": fill}))
        assert session.call(call(["BGSAVE"]))["truncated"] is False
        while session.call(call(["INFO", "persistence"]))["result"]["rdb_bgsave_in_progress"]:
            time.sleep(0.02)
    with redis_server(*options, "--key-load-delay", "1000") as server, session_of(server.settings, "write") as session:
        assert word_of(session, ["GET", "key1"]) == ("LOADING", "no")
        assert word_of(session, ["GET", "key1"]) == ("LOADING", "no")
        assert session.call(call(["INFO", "persistence"]))["result"]["loading"] == 1


def test_out_of_memory_inside_a_script_is_known_to_have_changed_nothing(writing: executor.Session, redis: Any) -> None:
    redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(TargetError) as failure:
            writing.call(call({"script": "return redis.call('SET', KEYS[1], 1)", "keys": ["k"]}))
    finally:
        redis.config_set("maxmemory", "0")
    assert (failure.value.code, failure.value.happened) == ("OOM", "no")


def test_a_script_that_fails_halfway_is_unknown(writing: executor.Session, redis: Any) -> None:
    script = "redis.call('SET', KEYS[1], 1); return redis.call('LPUSH', KEYS[1], 1)"
    with pytest.raises(TargetError) as failure:
        writing.call(call({"script": script, "keys": ["k"]}))
    assert failure.value.happened == "unknown" and redis.get("k") == b"1"


def test_logging_in_fails_with_the_servers_word() -> None:
    with redis_server("--requirepass", "secret") as server:
        for settings, word in [({}, "NOAUTH"), ({"password": "wrong"}, "WRONGPASS")]:
            with pytest.raises(TargetError) as failure:
                executor.connect(Target("cache", "redis", {**server.settings, **settings}), "read")
            assert (failure.value.code, failure.value.happened) == (word, "no")
        with session_of({"url": f"redis://:secret@127.0.0.1:{server.port}/2"}) as session:
            assert " db 2 master" in session.identity().name
        with session_of({**server.settings, "username": "default", "password": "secret"}) as session:
            assert session.call(call(["PING"]))["result"] == "PONG"


def test_a_server_without_room_for_another_client_says_maxclients(redis: Any, redis_process: RedisServer) -> None:
    before = redis.config_get("maxclients")["maxclients"]
    redis.config_set("maxclients", "1")
    try:
        with pytest.raises(TargetError) as failure:
            executor.connect(Target("cache", "redis", redis_process.settings), "read")
    finally:
        redis.config_set("maxclients", before)
    assert (failure.value.code, failure.value.happened) == ("MAXCLIENTS", "no")


def test_a_connection_that_cannot_be_made_says_why() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as listener:
        accepting = int(listener.getsockname()[1])
        refusals: list[tuple[dict[str, Any], str]] = [
            ({"host": "127.0.0.1", "port": free_port()}, "refused"),
            ({"host": "no-such-host.invalid"}, "dns"),
            ({"host": "127.0.0.1", "port": accepting, "connect_timeout": 0.3}, "timeout"),
            ({"host": "127.0.0.1", "port": accepting, "connect_timeout": 0.3, "tls": True}, "timeout"),
            ({"host": "127.0.0.1", "tls": True, "port": accepting, "ca": "/no/such/file"}, "tls"),
        ]
        for settings, code in refusals:
            with pytest.raises(TargetError) as failure:
                executor.connect(Target("cache", "redis", settings), "read")
            assert (failure.value.code, failure.value.happened) == (code, "no")


def test_a_named_authority_is_trusted_alone(
    redis_process: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    other = certificate_for_localhost(tmp_path / "other")
    with tls_front(redis_process.port, tmp_path) as port:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))  # the system would trust this server
        with (
            pytest.raises(TargetError) as failure,
            session_of({"host": "localhost", "port": port, "tls": True, "ca": str(other)}),
        ):
            pass
    assert (failure.value.code, failure.value.happened) == ("tls", "no")


def test_tls_to_a_server_without_it_is_an_error_of_tls_or_of_the_connection(redis_process: RedisServer) -> None:
    with pytest.raises(TargetError) as failure:
        executor.connect(
            Target("cache", "redis", {**redis_process.settings, "tls": True, "connect_timeout": 0.5}), "read"
        )
    assert failure.value.code in ("tls", "reset", "timeout") and failure.value.happened == "no"


@contextmanager
def scripted_server(*replies: Iterable[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """Takes one connection and answers each request with the next reply, piece by piece. Yields what it was sent."""
    listener = socket.create_server(("127.0.0.1", 0))
    requests: list[bytes] = []

    def serve() -> None:
        client, _ = listener.accept()
        with client, contextlib.suppress(OSError):
            for reply in replies:
                requests.append(client.recv(65536))
                for piece in reply:
                    client.sendall(piece)
            client.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(listener.getsockname()[1]), requests
    finally:
        thread.join(20)
        listener.close()


NAMED = b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$7\r\nrunbook\r\n"


def test_connecting_says_our_name_and_nothing_else() -> None:
    with scripted_server([b"+OK\r\n"]) as (port, requests), session_of({"port": port}):
        pass
    assert requests == [NAMED]


def test_a_reply_that_drips_in_ends_by_the_deadline_all_the_same() -> None:
    def drip() -> Iterator[bytes]:
        yield b":"
        for _ in range(100):
            time.sleep(0.05)
            yield b"1"
        yield b"\r\n"

    with (
        scripted_server([b"+OK\r\n"], drip()) as (port, _),
        session_of({"port": port}, "write") as session,
        pytest.raises(TargetError) as failure,
    ):
        session.call(call(["INCR", "counter"], deadline=0.3))
    assert (failure.value.code, failure.value.happened) == ("timeout", "unknown")


def test_a_reply_beyond_all_measure_is_not_taken_into_memory() -> None:
    endless = itertools.chain([b"$999999999999\r\n"], itertools.repeat(b"x" * (1 << 20)))
    with (
        scripted_server([b"+OK\r\n"], endless) as (port, _),
        session_of({"port": port}, "write") as session,
    ):
        with pytest.raises(TargetError, match="larger than 64 MiB") as failure:
            session.call(call(["INCR", "counter"]))
        assert (failure.value.code, failure.value.happened) == ("reset", "unknown")
        with pytest.raises(TargetError) as failure:
            session.call(call(["INCR", "counter"]))
        assert (failure.value.code, failure.value.happened) == ("reset", "no")


def test_replies_that_make_no_sense_are_an_error_and_no_crash() -> None:
    for nonsense in (b"*x\r\n", b"$x\r\n", b":x\r\n", b"*1\r\n" * 5000, b"?\r\n", b"*1\r\n" * 20 + b":1\r\n"):
        with (
            scripted_server([b"+OK\r\n"], [nonsense]) as (port, _),
            session_of({"port": port}, "write") as session,
            pytest.raises(TargetError, match="does not speak Redis") as failure,
        ):
            session.call(call(["INCR", "counter"]))
        assert (failure.value.code, failure.value.happened) == ("reset", "unknown")


def test_something_that_is_no_redis_is_an_error_and_no_crash() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            client, _ = listener.accept()
            with client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(TargetError, match="does not speak Redis"):
            executor.connect(Target("cache", "redis", {"port": listener.getsockname()[1]}), "read")
        thread.join(5)


def test_identity_comes_from_the_server(redis_process: RedisServer, reading: executor.Session) -> None:
    identity = reading.identity()
    assert identity.facts["process_id"] == redis_process.process.pid
    assert identity.facts["tcp_port"] == redis_process.port and len(identity.facts["run_id"]) == 40
    version = identity.facts["redis_version"]
    assert identity.name == f"Redis {version} 127.0.0.1:{redis_process.port} db 0 master"


@pytest.mark.parametrize(
    "settings",
    [{"port": "x"}, {"port": 70000}, {"db": -1}, {"url": "http://x"}, {"url": "redis://[::1"}],
    ids=str,
)
def test_settings_that_make_no_address_are_the_environments_fault(settings: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="target 'cache'"):
        address_from(Target("cache", "redis", settings))


def test_memory_is_attributed_to_forms_of_keys(reading: executor.Session, redis: Any) -> None:
    pipe = redis.pipeline()
    for index in range(2000):
        pipe.set(f"session:cache:{index}", "x" * 200)
    for index in range(50):
        pipe.set(f"token:{index}", "x", ex=100)
        pipe.hset(f"asynq:{{default}}:t:{index}", "msg", "x")
    pipe.rpush("asynq:{default}:pending", *range(10))
    pipe.set("stream-like-singleton", "y" * 500_000)
    pipe.execute()
    result = reading.call(call({"memory": {"sample": 500, "seconds": 30}}, deadline=30))["result"]
    by_name = {row["name"]: row for row in result["classes"]}
    assert result["complete"] and result["keys"] == 2102
    assert by_name["session:cache:#"]["n"] == 2000 and by_name["session:cache:#"]["no_ttl_share"] == 1
    assert by_name["token:#"]["no_ttl_share"] == 0
    assert by_name["stream-like-singleton"]["bytes"] > 500_000
    assert result["orphan_hashes"] == {"default": 40}
    assert 0.3 < by_name["session:cache:#"]["share"] < 0.7


def test_unlink_removes_a_prefix_and_nothing_else(writing: executor.Session, redis: Any) -> None:
    redis.mset({f"cache:*:{index}": 1 for index in range(1200)} | {"cache:x": 1, "other": 1})
    with pytest.raises(Refused, match="1200 keys begin with"):
        writing.call(call({"unlink": {"prefix": "cache:*:", "batch": 100}}, affected=1000))
    assert redis.dbsize() == 1202
    answer = writing.call(call({"unlink": {"prefix": "cache:*:", "batch": 100}}, affected=1200))
    assert answer["affected"] == 1200 and answer["complete"] and redis.dbsize() == 2
    with pytest.raises(Refused, match="asynq"):
        writing.call(call({"unlink": {"prefix": "asynq:{default}:t:"}}))


def test_a_gate_shows_every_argument_with_control_characters_escaped() -> None:
    assert executor.show(call(["DEL", "asynq:{default}:paused"])) == "DEL asynq:{default}:paused"
    assert executor.show(call([["SET", "k", "a\x1b[2J b"], ["GET", "k"]])) == 'SET k "a\\u001b[2J b"\nGET k'
