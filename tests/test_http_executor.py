"""`http:` against a real server that misbehaves: one deadline, one byte limit, no other origin, and honest errors."""

from __future__ import annotations

import gzip
import http.server
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
from pydantic import ValidationError

from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Target
from runbook_engine.executors import http as executor
from runbook_engine.http_exchange import BODY_CAP


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; remembers every request."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, dict[str, str], bytes]]] = []

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.seen.append((self.command, self.path, headers, self.rfile.read(length)))
        name = self.path.split("?")[0].split("/")[1]
        try:
            getattr(self, f"serve_{name}", self.serve_echo)()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815 - names of the standard library

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve_echo(self) -> None:
        self.reply(200, json.dumps({"path": self.path}).encode(), Content_Type="application/json")

    def serve_limited(self) -> None:
        self.reply(429, b"slow down", Retry_After="7")

    def serve_silent(self) -> None:
        time.sleep(3)
        self.close_connection = True

    def serve_slowhead(self) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200:
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)

    def serve_slowbody(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"x")
            time.sleep(0.05)

    def serve_slowclose(self) -> None:
        """A body without a length, which ends with the connection."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"part")
        time.sleep(3)

    def serve_endless(self) -> None:
        self.send_response(200)
        self.end_headers()
        while True:
            self.wfile.write(b"z" * 65536)

    def serve_short(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "10")
        self.end_headers()
        self.wfile.write(b"four")
        self.close_connection = True

    def serve_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    def serve_reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.rfile.close()
        self.wfile.close()
        self.connection.close()

    def serve_nothing(self) -> None:
        self.close_connection = True

    def serve_garbage(self) -> None:
        self.wfile.write(b"220 this is mail\r\n")
        self.close_connection = True

    def serve_bomb(self) -> None:
        self.reply(200, gzip.compress(bytes(100_000_000), 6), Content_Encoding="gzip")

    def serve_zipped(self) -> None:
        self.reply(200, gzip.compress(b'{"a": 1}'), Content_Encoding="gzip")

    def serve_badzip(self) -> None:
        self.reply(200, b"plain", Content_Encoding="gzip")

    def serve_redirect(self) -> None:
        self.reply(302, Location="/echo/there?q=a%20b")

    def serve_loop(self) -> None:
        self.reply(302, Location="/loop")

    def serve_elsewhere(self) -> None:
        self.reply(302, Location=f"http://localhost:{self.connection.getsockname()[1]}/echo/stolen")

    def serve_nan(self) -> None:
        self.reply(200, b'{"a": NaN}')

    def log_message(self, *arguments: object) -> None:
        return


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what is tested here."""


def serve(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    Handler.seen.clear()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def port() -> Iterator[int]:
    yield from serve()


def session(port: int, mode: Any = "read", **settings: object) -> executor.Session:
    return executor.connect(Target("api", "http", {"url": f"http://127.0.0.1:{port}", **settings}), mode)


def ask(port: int, request: object, deadline: float = 5.0, mode: str = "read", **settings: object) -> Any:
    return session(port, mode, **settings).call(Call(id="run/s/1/1", request=request, deadline=deadline))


def failure(port: int, request: object, deadline: float = 0.5, mode: str = "read") -> TargetError:
    with pytest.raises(TargetError) as caught:
        ask(port, request, deadline, mode)
    return caught.value


def free_port() -> int:
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


def test_an_answer_has_all_documented_names(port: int) -> None:
    answer = ask(port, "/echo/x")
    assert set(answer) == set(executor.ANSWERS)
    assert (answer["status"], answer["json"], answer["truncated"]) == (200, {"path": "/echo/x"}, False)
    assert answer["headers"]["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("request_", "path"),
    [
        ("/echo/api/v1/health", "/echo/api/v1/health"),
        ({"get": "/echo/api/"}, "/echo/api/"),
        ("/", "/"),
        ({"get": ["echo", "a/b", "c?d#e%2f"]}, "/echo/a%2Fb/c%3Fd%23e%252f"),
        ({"get": "/echo", "query": {"q": "a&b=c", "n": 5, "on": True, "many": [1, 2], "none": None}},
         "/echo?q=a%26b%3Dc&n=5&on=true&many=1&many=2"),
        ({"get": "/echo/é x"}, "/echo/%C3%A9%20x"),
    ],
)  # fmt: skip
def test_a_path_is_sent_encoded(port: int, request_: object, path: str) -> None:
    ask(port, request_)
    assert Handler.seen[-1][1] == path


@pytest.mark.parametrize("value", ["..", ".", "", "\ud800", None, ["x"]])
def test_a_segment_that_would_change_the_path_is_refused(port: int, value: object) -> None:
    with pytest.raises(Refused):
        ask(port, {"get": ["echo", value, "x"]})
    assert Handler.seen == []


@pytest.mark.parametrize(
    "value", ["a/../../b", "x\r\nX-Evil: 1", "?a=1", "#", "a b", "//host", "\\..\\", "%2e%2e", "é"]
)
def test_a_value_stays_one_segment(port: int, value: str) -> None:
    ask(port, {"get": ["echo", value, "end"]})
    sent = Handler.seen[-1][1].split("/")
    assert [unquote(part) for part in sent] == ["", "echo", value, "end"]
    assert "x-evil" not in Handler.seen[-1][2]


def test_a_template_in_a_path_becomes_one_segment_of_it() -> None:
    params = executor.Params.model_validate("/api/${{ a / b }}/x-${{ c }}/")
    assert params.get == ["api", "${{ a / b }}", "x-${{ c }}"] and params.slash
    assert executor.Params.model_validate(params.model_dump(by_alias=True)) == params
    assert executor.Params.model_validate({"get": "${{ health_path }}"}).get == "${{ health_path }}"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ("http://other/x", "starts with one slash"),
        ("//other/x", "starts with one slash"),
        ("/x?a=1", "under query"),
        ({"get": "/x", "post": "/y"}, "one method"),
        ({"fetch": "/x"}, "one method"),
        ({"get": "/x", "json": {}}, "takes no json"),
        ({"get": "/x", "headers": {"Host": "other"}}, "cannot be set"),
        ({"get": "/x", "headers": {"a\r\nb": "c"}}, "cannot be set"),
        ({"get": "/x", "proxy": "y"}, "Extra inputs"),
    ],
)
def test_a_request_that_cannot_be_meant_is_a_load_error(request_: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        executor.Params.model_validate(request_)


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\0b", "漢"])
def test_a_header_value_cannot_start_another_header(port: int, value: str) -> None:
    with pytest.raises(Refused):
        ask(port, {"get": "/echo", "headers": {"X-Value": value}})


@pytest.mark.parametrize(("path", "status"), [("/limited", 429), ("/redirect", 302), ("/echo", 200)])
def test_any_status_is_an_answer(port: int, path: str, status: int) -> None:
    assert ask(port, path)["status"] == status


def test_a_head_has_no_body(port: int) -> None:
    assert ask(port, {"head": "/echo"})["body"] == ""


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/silent", "empty"),
        ("/nothing", "empty"),
        ("/slowhead", "empty"),
        ("/slowbody", "timeout"),
        ("/slowclose", "timeout"),
        ("/short", "reset"),
        ("/reset", "reset"),
        ("/garbage", "protocol"),
    ],
)
def test_a_transport_that_fails_says_how(port: int, path: str, code: str) -> None:
    error = failure(port, path)
    assert (error.code, error.happened) == (code, "unknown")


def test_nobody_listening_is_refused_and_did_not_happen() -> None:
    error = failure(free_port(), {"post": "/echo"}, mode="write")
    assert (error.code, error.happened) == ("refused", "no")


def test_a_full_backlog_is_a_timeout_and_did_not_happen() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        waiting = []
        for _ in range(3):
            plug = socket.socket()
            plug.setblocking(False)
            plug.connect_ex(("127.0.0.1", port))
            waiting.append(plug)
        error = failure(port, "/x")
        for plug in waiting:
            plug.close()
    assert (error.code, error.happened) == ("timeout", "no")


def test_a_name_that_does_not_resolve_is_dns() -> None:
    with pytest.raises(TargetError) as caught:
        executor.connect(Target("api", "http", {"url": "http://no-such-host.invalid"}), "read")
    assert (caught.value.code, caught.value.happened) == ("dns", "no")


@pytest.mark.parametrize("url", ["", "ftp://x", "http://u:p@x", "http://x/base", "http://x:99999", "x:80"])
def test_an_address_that_is_no_origin_is_refused(url: str) -> None:
    with pytest.raises(TargetError) as caught:
        executor.connect(Target("api", "http", {"url": url}), "read")
    assert caught.value.code == "settings"


@pytest.mark.parametrize("path", ["/endless", "/bomb"])
def test_a_body_is_kept_up_to_its_limit(port: int, path: str) -> None:
    answer = ask(port, path, 20.0)
    assert len(answer["body"]) == BODY_CAP and answer["truncated"] and answer["json"] is None


def test_bodies_in_chunks_or_compressed_are_read(port: int) -> None:
    assert ask(port, "/chunked")["body"] == "abcde"
    assert ask(port, "/zipped")["json"] == {"a": 1}
    assert ask(port, "/badzip")["body"] == "plain"
    assert ask(port, "/nan")["json"] is None


def test_a_redirect_is_followed_only_when_asked_and_only_at_home(port: int) -> None:
    secret: dict[str, Any] = {"headers": {"Authorization": "Bearer secret"}}
    assert ask(port, {"get": "/redirect", "follow": True}, **secret)["json"] == {"path": "/echo/there?q=a%20b"}
    assert ask(port, {"get": "/elsewhere", "follow": True}, **secret)["status"] == 302
    assert [path for _, path, _, _ in Handler.seen] == ["/redirect", "/echo/there?q=a%20b", "/elsewhere"]
    assert all(headers["authorization"] == "Bearer secret" for _, _, headers, _ in Handler.seen)
    assert failure(port, {"get": "/loop", "follow": True}, 5.0).code == "redirects"


def test_proxies_of_the_environment_are_not_used(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    assert ask(port, "/echo")["status"] == 200


def test_a_read_session_sends_no_method_that_may_write(port: int) -> None:
    for method in ("post", "put", "patch", "delete"):
        with pytest.raises(Refused):
            ask(port, {method: "/echo"})
        assert executor.least_effect({method: "/echo"})[0] == Effect.disruptive
    assert Handler.seen == []
    assert executor.least_effect("/x")[0] == Effect.read


def test_a_write_is_sent_once_with_its_key(port: int) -> None:
    ask(port, {"post": "/echo", "json": {"a": [1, "ü"]}}, mode="write")
    error = failure(port, {"post": "/reset", "json": 1}, mode="write")
    assert (error.code, error.happened) == ("reset", "unknown")
    assert [path for _, path, _, _ in Handler.seen] == ["/echo", "/reset"]
    _, _, headers, body = Handler.seen[0]
    assert headers["idempotency-key"] == "run/s/1/1" and headers["content-type"] == "application/json"
    assert json.loads(body) == {"a": [1, "ü"]}


def test_a_request_can_be_cancelled_from_another_thread(port: int) -> None:
    opened = session(port)

    def stop() -> None:
        while not Handler.seen:
            time.sleep(0.01)
        opened.cancel()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(TargetError) as caught:
        opened.call(Call(id="x", request="/slowbody", deadline=30))
    thread.join()
    opened.close()
    assert caught.value.code == "cancelled"


def test_the_identity_names_the_resolved_address(port: int) -> None:
    identity = session(port).identity()
    assert identity.name == f"http://127.0.0.1:{port} (127.0.0.1)"
    assert identity.facts == {"url": f"http://127.0.0.1:{port}", "addresses": ["127.0.0.1"]}


def test_what_is_shown_is_what_is_sent() -> None:
    request = {"post": ["a b"], "query": {"x": 1}, "json": {"k": "v"}, "headers": {"X-A": "b"}}
    assert executor.show(Call(id="x", request=request)) == 'POST /a%20b?x=1\nX-A: b\n{\n  "k": "v"\n}'


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([*words.split(), "-keyout", "key", "-out", "cert"], cwd=folder, check=True, capture_output=True)
    return folder


def test_a_certificate_is_checked(certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert", certificate / "key")
    servers = serve(context)
    port = next(servers)
    url = f"https://localhost:{port}"
    trusted = executor.connect(Target("api", "http", {"url": url, "ca": str(certificate / "cert")}), "read")
    assert trusted.call(Call(id="x", request="/echo", deadline=5))["status"] == 200
    untrusted = executor.connect(Target("api", "http", {"url": url}), "write")
    with pytest.raises(TargetError) as caught:
        untrusted.call(Call(id="x", request={"post": "/echo"}, deadline=5))
    assert (caught.value.code, caught.value.happened) == ("tls", "no")
    next(servers, None)
