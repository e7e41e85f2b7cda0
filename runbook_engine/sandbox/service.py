"""What an environment names as the `command` of a service: one action on one service of the sandbox, one JSON answer.

It starts in a few hundredths of a second and imports no driver, because a diagnosis waits for it.
"""

from __future__ import annotations

import json
import socket
import sys
from collections import deque
from pathlib import Path
from typing import Any

from ..errors import RunbookError, TargetError, UsageError
from .state import State, load_state

USAGE = "usage: python -m runbook_engine.sandbox.service FOLDER SERVICE status|start|stop|restart|scale N|logs LINES"


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


def tail(log_file: Path, lines: int) -> str:
    try:
        with log_file.open(errors="replace") as file:
            return "".join(deque(file, maxlen=lines))
    except FileNotFoundError:
        return ""


def run(arguments: list[str]) -> str:
    match arguments:
        case [folder, service, ("status" | "start" | "stop" | "restart") as action]:
            return json.dumps(request(load_state(Path(folder)), {"service": service, "action": action}))
        case [folder, service, "scale", number] if number.isdecimal():
            message = {"service": service, "action": "scale", "replicas": int(number)}
            return json.dumps(request(load_state(Path(folder)), message))
        case [folder, service, "logs", number] if number.isdecimal():
            return tail(load_state(Path(folder)).log_file(service), int(number)).rstrip("\n")
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
