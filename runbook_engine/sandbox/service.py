"""What an environment names as the `command` of a service: one action on one service of the sandbox, one JSON answer.

It starts in a few hundredths of a second and imports no driver, because a diagnosis waits for it.
"""

from __future__ import annotations

import json
import math
import re
import socket
import sys
import time
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import RunbookError, TargetError, UsageError
from . import release_ledger
from .knobs import load_knobs, turn
from .state import State, load_state

USAGE = (
    "usage: python -m runbook_engine.sandbox.service FOLDER SERVICE "
    "status|start|stop|restart|scale N|logs LINES [SECONDS]|history|rollback REVISION|debug SECONDS"
)
BLOCK = 1 << 18
TIME = re.compile(rb'"time": ?"(\d{4}-\d\d-\d\dT[\d:.]{8,15})')


def request(state: State, message: dict[str, Any], timeout: float = 60.0) -> dict[str, Any]:
    """Ask the supervisor, and wait until it is done."""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(str(state.socket))
            connection.sendall(json.dumps(message).encode() + b"\n")
            with connection.makefile("rb") as reader:
                line = reader.readline()
    except OSError as error:
        raise TargetError("refused", f"the sandbox in {state.folder} does not answer: {error}") from error
    if not line:
        raise TargetError("reset", f"the sandbox in {state.folder} ended while it was asked")
    reply: dict[str, Any] = json.loads(line)
    if "error" in reply:
        raise TargetError("service", reply["error"])
    answer: dict[str, Any] = reply["answer"]
    return answer


def tail(log_file: Path, lines: int, seconds: int | None = None) -> str:
    """The last lines; of a long file only the part that is not older than so many seconds."""
    try:
        with log_file.open("rb") as file:
            if seconds is not None:
                seek_moment(file, datetime.fromtimestamp(time.time() - seconds, UTC).isoformat())
            return b"".join(deque(file, maxlen=lines)).decode(errors="replace")
    except FileNotFoundError:
        return ""


def seek_moment(file: BinaryIO, since: str) -> None:
    """To the block in which the first line that is not older stands: the times in a file only grow."""
    oldest, newest = 0, max(0, file.seek(0, 2) // BLOCK)
    while oldest < newest:
        middle = (oldest + newest + 1) // 2
        file.seek(middle * BLOCK)
        found = TIME.search(file.read(BLOCK))
        if found is not None and found[1].decode() < since:
            oldest = middle
        else:
            newest = middle - 1
    file.seek(oldest * BLOCK)
    if oldest:
        file.readline()


def status(state: State, service: str) -> dict[str, Any]:
    found = request(state, {"service": service, "action": "status"})
    if service == "api":
        found["debug"] = max(0, math.ceil(load_knobs(state.folder).debug_until - time.time()))
    return found


def run(arguments: list[str]) -> str:
    message: dict[str, Any]
    match arguments:
        case [folder, service, "history"]:
            return json.dumps(release_ledger.history(load_state(Path(folder)), service))
        case [folder, service, "rollback", revision]:
            message = {"service": service, "action": "rollback", "revision": revision}
            return json.dumps(request(load_state(Path(folder)), message))
        case [folder, "api", "debug", seconds] if seconds.isdecimal():
            # It ends by the clock: nobody has to come back to take it away.
            turn(Path(folder), debug_until=time.time() + int(seconds))
            return json.dumps(status(load_state(Path(folder)), "api"))
        case [folder, service, "status"]:
            return json.dumps(status(load_state(Path(folder)), service))
        case [folder, service, ("start" | "stop" | "restart") as action]:
            return json.dumps(request(load_state(Path(folder)), {"service": service, "action": action}))
        case [folder, service, "scale", number] if number.isdecimal():
            message = {"service": service, "action": "scale", "replicas": int(number)}
            return json.dumps(request(load_state(Path(folder)), message))
        case [folder, service, "logs", number, *since] if number.isdecimal():
            window = int(since[0]) if since and since[0] else None
            return tail(load_state(Path(folder)).log_file(service), int(number), window).rstrip("\n")
        case _:
            raise UsageError(USAGE)


def main() -> None:
    try:
        sys.stdout.write(run(sys.argv[1:]) + "\n")
    except RunbookError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None


if __name__ == "__main__":
    main()
