"""Where threads and signal handlers leave what the driver waits for.

Not a queue of the standard library: a handler that puts into a `Queue` can meet its own lock, and in CPython 3.11
`SimpleQueue.get(timeout)` can wait for ever when a signal arrives as its time runs out.
"""

from __future__ import annotations

import contextlib
import select
import socket
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """`put` from any thread or signal handler; `get` from one thread."""

    def __init__(self) -> None:
        self._items: deque[T] = deque()
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._woken.setblocking(False)

    def put(self, item: T) -> None:
        """Never blocks. After `close` the item is dropped: nobody waits for it."""
        self._items.append(item)
        with contextlib.suppress(OSError):
            self._wake.send(b".")

    def get(self, seconds: float) -> T | None:
        """The oldest item, waiting at most `seconds` for one."""
        if not self._items:
            select.select([self._woken], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            self._woken.recv(4096)
        return self._items.popleft() if self._items else None

    def close(self) -> None:
        self._wake.close()
        self._woken.close()
