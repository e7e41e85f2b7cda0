"""Seals this process: no socket and no program from here on. Enforced by the interpreter, not promised."""

from __future__ import annotations

import sys
from typing import Any

FORBIDDEN = ("subprocess.Popen", "ctypes.dlopen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
FORBIDDEN_TOO = ("os.kill", "os.killpg", "os.remove", "os.rename", "os.truncate", "os.mkdir", "os.rmdir", "pty.spawn")
READING = frozenset({"socket.gethostname"})


class SealedError(RuntimeError):
    """Something wanted to leave a sealed process."""


def seal() -> None:
    """From now on these raise SealedError, whoever calls them; there is no way back in this process."""
    forbidden = frozenset({*FORBIDDEN, *FORBIDDEN_TOO})

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event in forbidden or (event.startswith("socket.") and event not in READING):
            raise SealedError(f"{event} is not allowed here: a rehearsal touches nothing")

    sys.dont_write_bytecode = True  # what is still imported is not written down
    sys.addaudithook(watch)
