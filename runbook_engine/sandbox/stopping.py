"""A flag that a signal handler may raise. `threading.Event` must not be used there: whoever waits may hold its lock."""

from __future__ import annotations

import os
import select


class Stopping:
    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._raised = False

    def set(self) -> None:
        if not self._raised:
            self._raised = True
            os.write(self._write, b"1")

    def is_set(self) -> bool:
        return self._raised

    def wait(self, timeout: float | None = None) -> bool:
        """True as soon as the flag is up, False when the time is over."""
        return bool(select.select([self._read], [], [], timeout)[0])
