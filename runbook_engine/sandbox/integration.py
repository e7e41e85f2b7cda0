"""The service that a workflow calls over HTTP: how LinkFlow's API calls it, and a stand-in that answers badly."""

from __future__ import annotations

import http.client
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

PATIENCE = 0.5


class IntegrationError(Exception):
    """What the Go client says of a call that did not succeed."""


def call(url: str) -> None:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE)
    try:
        connection.request("POST", parts.path, "{}")
        status = connection.getresponse().status
    except TimeoutError as error:
        waiting = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        raise IntegrationError(f'Post "{url}": {waiting}') from error
    except (OSError, http.client.HTTPException) as error:
        dialled = f"dial tcp {parts.hostname}:{parts.port}: connect: connection refused"
        raise IntegrationError(f'Post "{url}": {dialled}') from error
    finally:
        connection.close()
    if status >= 500:
        raise IntegrationError(f'Post "{url}": unexpected status code: {status}')


class _Failing(BaseHTTPRequestHandler):
    server: FailingServer

    def do_POST(self) -> None:
        if self.server.chance.random() < self.server.slow_share:
            time.sleep(2 * PATIENCE)
        self.send_response_only(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def handle(self) -> None:
        try:
            super().handle()
        except (BrokenPipeError, ConnectionResetError):
            return  # the caller lost its patience


class FailingServer(ThreadingHTTPServer):
    """Answers 503; to some it does not answer in time."""

    daemon_threads = True

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.slow_share = chance.uniform(0.0, 0.2)
        super().__init__(("127.0.0.1", 0), _Failing)

    def begin(self) -> None:
        threading.Thread(target=self.serve_forever, daemon=True).start()
