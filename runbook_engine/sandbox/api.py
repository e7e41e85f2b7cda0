"""LinkFlow's API as a prober sees it: its real paths, bodies and log lines, over the real database and queue."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
import redis

from .broker import Broker, connect_redis, new_message
from .identifiers import WORKFLOWS, row_id
from .standin import StandIn, now_iso, write_line
from .timing import Timing

POOL = 5
BY_WORKFLOW = (
    "select count(*), max(created_at) from executions where workflow_id = %s and created_at > now() - interval '1 day'"
)
PLANS = "select id::text, name, price_cents from plans order by price_cents"


class Pool:
    """At most five connections, as `max_open_conns` says; who comes when all are lent waits."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: queue.LifoQueue[psycopg.Connection[Any] | None] = queue.LifoQueue()
        for _ in range(POOL):
            self._idle.put(None)

    @contextlib.contextmanager
    def lend(self) -> Iterator[psycopg.Connection[Any]]:
        connection = self._idle.get(timeout=15)
        try:
            if connection is None or connection.closed:
                connection = psycopg.connect(self._dsn, autocommit=True)
            yield connection
        except psycopg.OperationalError:
            if connection is not None:
                connection.close()
            raise
        finally:
            self._idle.put(connection)

    def warm(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(POOL):
                stack.enter_context(self.lend())


class Api(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, process: StandIn) -> None:
        self.process = process
        self.pool = Pool(process.state.postgres_dsn(application="linkflow-api"))
        self.redis = connect_redis(process.state)
        self.broker = Broker(self.redis)
        self.retention = Timing(process.state.pace).retention
        self.numbers = {row_id("workflow", number): number for number in range(WORKFLOWS)}
        super().__init__(("127.0.0.1", process.state.api_port), Request)


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
        case _:
            return failure(404, "NOT_FOUND", "resource not found")


def execute(api: Api, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    workflow = str(asked.get("workflow_id", ""))
    if workflow not in api.numbers:
        return failure(400, "BAD_REQUEST", f"Workflow not found: {workflow}")
    message = new_message("default", workflow=api.numbers[workflow], retention=api.retention)
    api.broker.enqueue([message])
    count = rows(api, BY_WORKFLOW, [workflow])[0][0]
    return 202, {"success": True, "data": {"task_id": message.id, "executions": count}, "timestamp": now_iso()}


def guarded(api: Api, act: Any) -> tuple[int, dict[str, Any]]:
    try:
        result: tuple[int, dict[str, Any]] = act()
    except (psycopg.Error, redis.RedisError, queue.Empty) as error:
        message = str(error).strip() or "connection pool timeout"
        api.process.log("error", "request failed", error=message)
        return failure(500, "INTERNAL_ERROR", message)
    except ValueError as error:
        return failure(400, "BAD_REQUEST", str(error))
    return result


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
        return f"error: {str(error).strip() or 'connection pool timeout'}"
    return "ok"


def redis_check(api: Api) -> str:
    """Only PING, as LinkFlow does: it says ok while Redis refuses every write."""
    try:
        api.redis.ping()
    except redis.RedisError as error:
        return f"error: {error}"
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


def main() -> None:
    process = StandIn("api")
    try:
        api = Api(process)
        api.redis.ping()
        api.pool.warm()
    except psycopg.Error as error:
        raise process.fatal("Failed to connect to database", error) from None
    except redis.RedisError as error:
        raise process.fatal("Failed to connect to Redis", error) from None
    except OSError as error:
        raise process.fatal(f"listen tcp :{process.state.api_port}: bind: address already in use", error) from None
    threading.Thread(target=api.serve_forever, daemon=True).start()
    process.log("info", "Starting API server", port=process.state.api_port)
    process.ready()
    process.stopping.wait()
    api.shutdown()
    process.log("info", "Server exited")


if __name__ == "__main__":
    main()
