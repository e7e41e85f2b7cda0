"""A sealed process: what Python code wants is refused with a reason, what C code wants is refused by the kernel."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROLOGUE = """
import ctypes, os, socket, subprocess, sys, _posixsubprocess
from multiprocessing import util
libc = ctypes.CDLL(None, use_errno=True)
from runbook_engine.sealed import seal
by_kernel = seal()
"""


def sealed(code: str, folder: Path, before: str = PROLOGUE) -> str:
    words = [sys.executable, "-c", before + code]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "code",
    [
        "socket.socket()",
        "socket.create_connection(('127.0.0.1', 1))",
        "socket.getaddrinfo('localhost', 1)",
        "subprocess.run(['true'])",
        "os.system('true')",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "os.execv('/bin/true', ['true'])",
        "ctypes.CDLL('libc.so.6')",
        "ctypes.CDLL(None)",
        "libc.getppid",
        "ctypes.pythonapi.PyErr_Clear",
        "open('made', 'w')",
        "open('made', 'a')",
        "os.open('made', os.O_CREAT | os.O_WRONLY)",
        "os.mkdir('made')",
        "os.kill(os.getppid(), 0)",
        "os.symlink('/', 'made')",
        "import sqlite3; sqlite3.connect('made')",
    ],
)
def test_what_leaves_the_process_is_refused(code: str, tmp_path: Path) -> None:
    said = sealed(code, tmp_path)
    assert "SealedError" in said and "a rehearsal touches nothing" in said
    assert list(tmp_path.iterdir()) == []


def test_reading_and_thinking_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("read")
    code = "import json, uuid\nprint(open('x').read(), socket.gethostname() != '', json.loads('1'))"
    assert sealed(code, tmp_path).strip() == "read True 1"


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="no filter for this kernel"
)
def test_c_code_that_no_hook_sees_is_refused_by_the_kernel(tmp_path: Path) -> None:
    """A function that was looked up before the seal tells nobody when it is called; nor does what starts programs."""
    early = PROLOGUE.replace("from runbook_engine", "opened = libc.socket\nfrom runbook_engine")
    code = """
print(by_kernel, opened(2, 1, 0), ctypes.get_errno())
child = util.spawnv_passfds(b"/bin/true", [b"true"], [])
print(os.waitpid(child, 0)[1] != 0)
"""
    assert sealed(code, tmp_path, early).split() == ["True", "-1", "1", "True"]
