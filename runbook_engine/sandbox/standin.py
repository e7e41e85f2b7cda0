"""What every stand-in process has in common: its arguments, its log lines, and telling that it is ready."""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .state import State, load_state
from .stopping import Stopping


class StandIn:
    """One process playing a part of LinkFlow. `stopping` is set by SIGTERM."""

    def __init__(self, service: str) -> None:
        parser = argparse.ArgumentParser()
        parser.add_argument("folder", type=Path)
        parser.add_argument("arguments", nargs="*")
        parser.add_argument("--ready", type=int)
        options = parser.parse_args()
        self.service = service
        self.arguments: list[str] = options.arguments
        self.state: State = load_state(options.folder)
        self.stopping = Stopping()
        self._ready: int | None = options.ready
        signal.signal(signal.SIGTERM, lambda *_: self.stopping.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        faulthandler.register(signal.SIGQUIT)  # as Go does: every thread's stack, into the log

    def ready(self) -> None:
        if self._ready is not None:
            with contextlib.suppress(OSError):
                os.write(self._ready, b"1")
            os.close(self._ready)
            self._ready = None

    def log(self, level: str, message: str, **fields: Any) -> None:
        """A line as zerolog writes it."""
        record = {
            "level": level,
            "service": f"linkflow-{self.service}",
            **fields,
            "time": now_iso(),
            "message": message,
        }
        write_line(json.dumps(record))

    def fatal(self, message: str, error: Exception) -> SystemExit:
        self.log("fatal", message, error=str(error).strip())
        return SystemExit(1)


def now_iso() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_line(line: str) -> None:
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), line.encode() + b"\n")
