"""Runs the `runbook` command as a person or a script does, in a folder and with a journal of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect

from runbook_engine.journal import Journal

RUNBOOK = str(Path(sys.executable).with_name("runbook"))
PATIENCE = 120  # seconds until a command counts as hung
REAPER = """
import ctypes, json, os, pathlib, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)
code = subprocess.call(sys.argv[2:])
deadline = time.monotonic() + 10
while True:
    try:
        pid, _ = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        left = []
        break
    if not pid and time.monotonic() > deadline:
        left = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        break
    time.sleep(0.02)
named = [pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace(chr(0), " ") for pid in left]
for pid in left:
    os.kill(int(pid), 9)
pathlib.Path(sys.argv[1]).write_text(json.dumps(named))
sys.exit(code)
"""


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)

    @property
    def said(self) -> str:
        return self.stdout + self.stderr


@dataclass(frozen=True)
class Place:
    """A working folder, and the state folder of the runs made there."""

    folder: Path
    state: Path
    more: dict[str, str] = field(default_factory=dict)

    def environ(self, **changes: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        return kept | {"RUNBOOK_STATE": str(self.state), "TERM": "xterm-256color"} | self.more | changes

    def run(self, *words: str, program: str = RUNBOOK, **changes: str) -> Finished:
        """From beginning to end, without a terminal and with nothing to read."""
        done = subprocess.run(
            [program, *words],
            cwd=self.folder,
            env=self.environ(**changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            start_new_session=True,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def run_and_look_for_survivors(self, scratch: Path, *words: str) -> tuple[Finished, list[str]]:
        """Also the command lines of all processes that outlived it, whoever their parent was."""
        found = scratch / "survivors.json"
        finished = self.run("-c", REAPER, str(found), RUNBOOK, *words, program=sys.executable)
        return finished, json.loads(found.read_text())

    @contextmanager
    def begun(self, *words: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
        """A command that goes on in the background, without a terminal; killed at the end if need be."""
        process = subprocess.Popen(
            [RUNBOOK, *words],
            cwd=self.folder,
            env=self.environ(**changes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            with process:
                try:
                    yield process
                finally:
                    process.kill()
        finally:
            process.wait()

    @contextmanager
    def at_a_terminal(self, *words: str, program: str = RUNBOOK, **changes: str) -> Iterator[Screen]:
        """At a terminal of 80 columns and 24 lines."""
        with warnings.catch_warnings():
            # From Python 3.12 on it warns of threads in the forking process; the child calls exec at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            child: Any = pexpect.spawn(
                program,
                list(words),
                cwd=str(self.folder),
                env=self.environ(**changes),
                timeout=PATIENCE,
                encoding="utf-8",
                dimensions=(24, 80),
            )
        child.delayafterclose = child.delayafterterminate = 0.02
        try:
            yield Screen(child)
        finally:
            child.close(force=True)

    def problems_of(self, run: str) -> list[str]:
        """What is wrong with the chain of a run's records."""
        with closing(Journal.open(self.state, readonly=True)) as journal:
            return journal.verify(journal.find(run))


class Screen:
    """What a person sees and types."""

    def __init__(self, child: Any) -> None:
        self.child = child
        self._shown: list[str] = []

    def see(self, pattern: str) -> str:
        self.child.expect(pattern)
        self._shown.append(self.child.before + self.child.after)
        return str(self.child.after)

    def type(self, text: str) -> None:
        self.child.send(text)

    def end(self) -> int:
        """Read to the end; the exit code, or minus the signal."""
        self.child.expect(pexpect.EOF)
        self._shown.append(self.child.before)
        self.child.wait()
        return int(self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus)

    @property
    def shown(self) -> str:
        return "".join(self._shown)


def run_id(said: str) -> str:
    """The number of the run, from anything the command said."""
    found = re.search(r"\bR-[0-9A-Z]{4,}\b", said)
    assert found, said
    return found[0]


def longest_line(said: str) -> int:
    """In characters as a terminal counts them, without what moves or colours."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)
    return max((len(line.rstrip("\r")) for line in re.split(r"\n|\r(?!\n)", plain)), default=0)
