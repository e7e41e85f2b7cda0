"""LinkFlow's API as a prober sees it: its real paths, bodies and log lines, over the real database and queue."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

from . import go_errors, integration, pages, schedules_api
from .api_pool import Pool
from .api_start import StartError, connect_redis, mortal, plug, prepare
from .broker import Broker, new_message
from .identifiers import WORKFLOWS, row_id
from .knobs import KnobReader
from .rate_limit import WINDOW, is_limited, is_public, key_of
from .standin import StandIn, now_iso, write_line
from .timing import Timing

BY_WORKFLOW = (
    "select count(*), max(created_at) from executions where workflow_id = %s and created_at > now() - interval '1 day'"
)
PLANS = "select id::text, name, price_cents from plans order by price_cents"


class Api(ThreadingHTTPServer):
    """Connects and migrates first and listens last, as LinkFlow does."""

    daemon_threads = True
    request_queue_size = 1024  # Go's listener takes what the kernel allows

    def __init__(self, process: StandIn) -> None:
        self.process = process
        self.pool = Pool(process.state.postgres_dsn(application="linkflow-api"))
        self.redis = connect_redis(process.state)
        self.broker = Broker(self.redis)
        self.knobs = KnobReader(process.state.folder)
        timing = Timing(process.state.pace)
        self.retention, self.window = timing.retention, WINDOW * process.state.pace
        self.numbers = {row_id("workflow", number): number for number in range(WORKFLOWS)}
        self.deaf = self.knobs.now().deaf_before > time.time()
        if self.deaf:
            self.request_queue_size = 1
        prepare(process.state, self.pool.lend, self.redis)
        with contextlib.suppress(psycopg.Error):
            self.pool.warm()
        port = self.knobs.now().api_port or process.state.api_port
        try:
            super().__init__(("127.0.0.1", port), Request)
        except OSError as error:
            raise StartError("Failed to start server", f"listen tcp :{port}: bind: address already in use") from error


class Request(BaseHTTPRequestHandler):
    server: Api
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond("GET")

    def do_POST(self) -> None:
        self._respond("POST")

    def _respond(self, method: str) -> None:
        began = time.perf_counter()
        received = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self._is_limited():
            status, document = failure(429, "RATE_LIMIT_EXCEEDED", "rate limit exceeded, please try again later")
        else:
            status, document = answer(self.server, method, self.path, received)
        body = json.dumps(document).encode()
        request_id = str(uuid.uuid4())
        self._send(status, body, request_id)
        line = {
            "level": "info",
            "method": method,
            "path": urlsplit(self.path).path,
            "remote_addr": f"{self.client_address[0]}:{self.client_address[1]}",
            "status": status,
            "bytes": len(body),
            "duration": round((time.perf_counter() - began) * 1000, 3),
            "request_id": request_id,
            "caller": "middleware/logging.go:41",
            "time": now_iso(),
            "message": "request completed",
        }
        write_line(json.dumps(line))
        if self.server.knobs.now().debug_until > time.time():
            self.server.process.log("debug", "request handled", request_id=request_id, input=received.decode("latin-1"))

    def _is_limited(self) -> bool:
        if not is_public(urlsplit(self.path).path, self.headers):
            return False
        return is_limited(self.server.redis, key_of(self.headers, self.client_address), self.server.window)

    def _send(self, status: int, body: bytes, request_id: str) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send_response_only(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("X-Request-ID", request_id)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


def answer(api: Api, method: str, target: str, received: bytes) -> tuple[int, dict[str, Any]]:
    parts = urlsplit(target)
    match method, parts.path:
        case "GET", "/api/v1/health":
            return health(api)
        case "GET", "/api/v1/health/live":
            return success({"status": "alive"})
        case "GET", "/api/v1/health/ready":
            return ready(api)
        case "GET", "/api/v1/billing/plans":
            return guarded(
                api,
                lambda: success(
                    [dict(zip(("id", "name", "price_cents"), row, strict=True)) for row in rows(api, PLANS)]
                ),
            )
        case "GET", "/exec":
            workflow = parse_qs(parts.query).get("workflow_id", [""])[0]
            return guarded(api, lambda: success({"executions": rows(api, BY_WORKFLOW, [workflow])[0][0]}))
        case "POST", "/exec":
            return guarded(api, lambda: execute(api, json.loads(received or b"{}")))
        case "POST", path if schedules_api.PATH.fullmatch(path):
            return guarded(api, lambda: change_schedule(api, path))
        case _ if found := pages.find(method, parts.path):
            return guarded(api, lambda: visited(api, found))
        case _:
            return failure(404, "NOT_FOUND", "resource not found")


def visited(api: Api, page: pages.Page) -> tuple[int, dict[str, Any]]:
    try:
        with api.pool.lend() as connection:
            return success(page(connection, api.knobs.now().round_trip))
    except pages.BusyError as error:
        return failure(409, "CONFLICT", str(error))


def change_schedule(api: Api, path: str) -> tuple[int, dict[str, Any]]:
    with api.pool.lend() as connection:
        changed = schedules_api.change(connection, path)
    return success(changed) if changed else failure(404, "NOT_FOUND", "schedule not found")


def execute(api: Api, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    knobs = api.knobs.now()
    if knobs.bug:
        return panicked(api)
    if knobs.downstream:
        integration.call(knobs.downstream)
    workflow = str(asked.get("workflow_id", ""))
    if workflow not in api.numbers:
        return failure(400, "BAD_REQUEST", f"Workflow not found: {workflow}")
    message = new_message("default", workflow=api.numbers[workflow], retention=api.retention)
    api.broker.enqueue([message])
    count = rows(api, BY_WORKFLOW, [workflow])[0][0]
    return 202, {"success": True, "data": {"task_id": message.id, "executions": count}, "timestamp": now_iso()}


def guarded(api: Api, act: Any) -> tuple[int, dict[str, Any]]:
    state = api.process.state
    try:
        result: tuple[int, dict[str, Any]] = act()
    except (psycopg.Error, queue.Empty) as error:
        return failed(api, 500, "INTERNAL_ERROR", database_error(api, error))
    except redis.RedisError as error:
        return failed(api, 500, "INTERNAL_ERROR", go_errors.of_enqueue(error, state.redis_port))
    except integration.IntegrationError as error:
        return failed(api, 502, "BAD_GATEWAY", str(error))
    except ValueError as error:
        return failure(400, "BAD_REQUEST", str(error))
    return result


def failed(api: Api, status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    api.process.log("error", "request failed", error=message)
    return failure(status, code, message)


def panicked(api: Api) -> tuple[int, dict[str, Any]]:
    """What the recovery middleware leaves of a panic in a handler."""
    said = "runtime error: invalid memory address or nil pointer dereference"
    stack = "goroutine 4711 [running]:\nruntime/debug.Stack()\n\tapi/handlers/execution.go:118 +0x1d2"
    api.process.log("error", "panic recovered", panic=said, stack=stack)
    return failure(500, "INTERNAL_ERROR", "internal server error")


def database_error(api: Api, error: Exception) -> str:
    if isinstance(error, queue.Empty):
        return "context deadline exceeded: waiting for a connection of the database pool"
    return go_errors.of_database(error, api.process.state.postgres_port)


def health(api: Api) -> tuple[int, dict[str, Any]]:
    checks = {"database": database_check(api), "redis": redis_check(api)}
    healthy = all(said == "ok" for said in checks.values())
    data = {"status": "healthy" if healthy else "unhealthy", "service": "linkflow-api", "checks": checks}
    return (200 if healthy else 503), {"success": healthy, "data": data, "timestamp": now_iso()}


def ready(api: Api) -> tuple[int, dict[str, Any]]:
    for name, said in (("database", database_check(api)), ("redis", redis_check(api))):
        if said != "ok":
            return failure(503, "SERVICE_UNAVAILABLE", f"{name} not ready: {said.removeprefix('error: ')}")
    return success({"status": "ready"})


def database_check(api: Api) -> str:
    try:
        rows(api, "select 1")
    except (psycopg.Error, queue.Empty) as error:
        return f"error: {database_error(api, error)}"
    return "ok"


def redis_check(api: Api) -> str:
    """Only PING, as LinkFlow does: it says ok while Redis refuses every write."""
    try:
        api.redis.ping()
    except redis.RedisError as error:
        return f"error: {go_errors.of_redis(error, api.process.state.redis_port)}"
    return "ok"


def rows(api: Api, statement: str, arguments: list[Any] | None = None) -> list[tuple[Any, ...]]:
    began = time.perf_counter()
    with api.pool.lend() as connection:
        found = connection.execute(statement, arguments).fetchall()
    spent = (time.perf_counter() - began) * 1000
    slow = "SLOW SQL >= 200ms " if spent >= 200 else ""
    shown = " ".join(statement.split()).replace("%s", "$1")
    write_line(f"\x1b[33m[{spent:.3f}ms] \x1b[34;1m[rows:{len(found)}]\x1b[0m {slow}{shown}")
    return found


def success(data: Any) -> tuple[int, dict[str, Any]]:
    return 200, {"success": True, "data": data, "timestamp": now_iso()}


def failure(status: int, code: str, message: str) -> tuple[int, dict[str, Any]]:
    return status, {"success": False, "error": {"code": code, "message": message}, "timestamp": now_iso()}


def serve(process: StandIn, api: Api) -> None:
    callers = plug(api.socket) if api.deaf else []
    if not api.deaf:
        threading.Thread(target=api.serve_forever, daemon=True).start()
    process.log("info", "Starting API server", port=api.server_port)
    process.ready()
    process.stopping.wait()
    if not api.deaf:
        api.shutdown()
    for caller in callers:
        caller.close()
    process.log("info", "Server exited")


def main() -> None:
    process = StandIn("api")
    try:
        with mortal():
            api = Api(process)
    except StartError as error:
        raise process.fatal(error.message, error) from None
    serve(process, api)


if __name__ == "__main__":
    main()
