"""What faults make a worker suffer from: memory it does not give back, jobs that end it, jobs that never end.

Bounded, whatever the fault: it ends itself long before the machine would miss the memory, and spins one thread only.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable

from ..asynq.wire import TaskMessage
from .knobs import KnobReader, Knobs
from .processes import oom_mark, resident
from .standin import StandIn, write_line

LARGE = 1 << 20  # a payload of which a worker makes many copies
COPIES = 12
ALREADY = 0.2  # of its room a worker has left when it has been leaking for hours
LONGEST_SPIN = 120.0
STACK_OVERFLOW = ("runtime: goroutine stack exceeds 1000000000-byte limit", "fatal error: stack overflow")


class Ailments:
    """One worker's; `luck` spreads what happens to several of them."""

    def __init__(self, process: StandIn, knobs: KnobReader, luck: float) -> None:
        self._process = process
        self._knobs = knobs
        self._luck = luck
        self._born = time.time()
        self._healthy_size = resident(os.getpid())
        self._leaked: list[bytes] = []
        self._spinner: threading.Thread | None = None

    def strike(self, message: TaskMessage) -> bool:
        """What taking this job does to the worker. True when the job never ends."""
        knobs = self._knobs.now()
        fate = knobs.doomed.get(message.id)
        if fate == "exit":
            self._overflow()
        if fate == "spin":
            self._spin(message.id)
        if knobs.memory_room is not None:
            self._fill(knobs, message)
        return fate == "spin"

    def _overflow(self) -> None:
        """As Go ends a program: its own words on stderr, no log line, no clean-up."""
        for line in STACK_OVERFLOW:
            write_line(line)
        os._exit(2)

    def _fill(self, knobs: Knobs, message: TaskMessage) -> None:
        assert knobs.memory_room is not None
        room = knobs.memory_room * self._luck * (ALREADY if self._born < knobs.leak_since else 1.0)
        if knobs.leak:
            self._leaked.append(b"x" * knobs.leak)
        copies = b"x" * (len(message.payload) * COPIES) if len(message.payload) > LARGE else b""
        if resident(os.getpid()) - self._healthy_size > room or len(copies) > room:
            self.die_of_memory()

    def die_of_memory(self) -> None:
        """As the kernel's OOM killer does it; the mark is what a container's runtime would know."""
        oom_mark(self._process.state.log_file(self._process.service), os.getpid()).touch()
        os.kill(os.getpid(), signal.SIGKILL)

    def _spin(self, task: str) -> None:
        if self._spinner is None:
            self._spinner = threading.Thread(target=spin, args=(lambda: task in self._knobs.now().doomed,), daemon=True)
            self._spinner.start()


def spin(wanted: Callable[[], bool]) -> None:
    """Use one core, giving way to others a little. Hashing lets go of the interpreter, so that heartbeats go on."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 1)
    block, end = b"x" * (1 << 22), time.monotonic() + LONGEST_SPIN
    while wanted() and time.monotonic() < end:
        hashlib.sha256(block)
