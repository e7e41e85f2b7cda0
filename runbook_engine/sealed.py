"""Seals this process: no socket, no program and no change to a file from here on. Enforced, not promised.

Twice: by audit hooks, which see whatever Python code does, and by the kernel, which sees C code too, where it can.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys
from collections.abc import Mapping
from typing import Any

STARTING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn")
CALLING = ("ctypes.dlopen", "ctypes.dlsym", "ctypes.dlsym/handle", "ctypes.call_function")
SIGNALLING = ("os.kill", "os.killpg", "signal.pthread_kill")
MOVING = ("os.remove", "os.rename", "os.truncate", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "shutil.rmtree")
MARKING = ("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr", "sqlite3.connect")
FORBIDDEN = frozenset({*STARTING, *CALLING, *SIGNALLING, *MOVING, *MARKING})
READING = frozenset({"socket.gethostname"})
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2  # of prctl(2)
LOAD, IF_EQUAL, IF_AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06  # of BPF
ALLOW, REFUSE = 0x7FFF0000, 0x00050001  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
OTHER_CALLS = 0x40000000  # x32: the same processor, other numbers
# By machine: what the kernel calls it, and the numbers of socket, connect, accept, sendto, sendmsg, bind, listen,
# execve, execveat, kill, ptrace, process_vm_writev, pidfd_send_signal and io_uring_setup.
CALLS: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "x86_64": (0xC000003E, (41, 42, 43, 44, 46, 49, 50, 59, 322, 62, 101, 311, 424, 425)),
    "aarch64": (0xC00000B7, (198, 203, 202, 206, 211, 200, 201, 221, 281, 129, 117, 271, 424, 425)),
}


class SealedError(RuntimeError):
    """Something wanted to leave a sealed process."""


def seal() -> bool:
    """From now on these raise SealedError, whoever calls them; there is no way back in this process.

    Whether the kernel refuses them as well, with EPERM to C code that asks it by itself.
    """

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if isinstance(flags := arguments[2], int) and flags & CHANGES:
                raise SealedError(f"{arguments[0]!r} may not be written here: a rehearsal touches nothing")
        elif event in FORBIDDEN or (event.startswith("socket.") and event not in READING):
            raise SealedError(f"{event} is not allowed here: a rehearsal touches nothing")

    sys.dont_write_bytecode = True  # what is still imported is not written down
    by_kernel = _ask_kernel()
    sys.addaudithook(watch)
    return by_kernel


def _ask_kernel() -> bool:
    """Hand the kernel a filter of system calls; False where there is none, or it does not take one."""
    if sys.platform != "linux" or platform.machine() not in CALLS:
        return False
    program = _filter(*CALLS[platform.machine()])
    instructions = ctypes.create_string_buffer(program, len(program))
    handed = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(instructions)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    number = ctypes.c_ulong
    if prctl(NEW_PRIVILEGES, number(1), number(0), number(0), number(0)) != 0:
        return False
    return bool(prctl(SECCOMP, number(FILTER), handed, number(0), number(0)) == 0)


def _filter(machine: int, refused: tuple[int, ...]) -> bytes:
    """Allow everything but these; refuse everything that comes by another way into the kernel."""
    count = len(refused)
    steps = [
        (LOAD, 0, 0, 4),  # the way into the kernel
        (IF_EQUAL, 0, count + 3, machine),
        (LOAD, 0, 0, 0),  # the number of the call
        (IF_AT_LEAST, count + 1, 0, OTHER_CALLS),
        *((IF_EQUAL, count - place, 0, call) for place, call in enumerate(refused)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
