"""Up, down, status, break, heal and restore of a sandbox: what a command line, a demonstration or a test calls.

Light to import: drivers are loaded by what needs them.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RunbookError, TargetError, UsageError
from . import guard
from .environment import environment
from .service import request
from .state import STATE_FILE, State, default_folder, load_state

if TYPE_CHECKING:
    from .world import Fault

__all__ = ["break_", "default_folder", "down", "environment", "faults", "heal", "load_state", "restore", "status", "up"]

Log = Callable[[str], None]


def quiet(line: str) -> None:
    """Says nothing."""


def default_cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "runbook" / "sandbox"


def up(
    folder: Path,
    *,
    pace: float = 1.0,
    seed: int | None = None,
    log: Log = quiet,
    cache: Path | None = None,
    tied: bool = False,
) -> State:
    """Start a sandbox in `folder` and wait until it is healthy. `tied`: it ends when the caller's process ends."""
    folder = folder.absolute()
    if not 0.01 <= pace <= 10:
        raise UsageError(f"pace is {pace}. It can be 0.01 to 10; 0.1 makes everything ten times shorter")
    if is_running(folder):
        raise UsageError(f"{folder}: a sandbox runs here already. `runbook sandbox down` ends it")
    (folder / "logs").mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)
    seed = secrets.randbelow(1_000_000) if seed is None else seed
    log(f"seed {seed}, pace {pace:g}")
    _start_supervisor(folder, pace, seed, log, cache or default_cache(), tied)
    try:
        return _settle(folder)
    except BaseException:
        down(folder)
        raise


def _settle(folder: Path) -> State:
    from .baseline import wait_healthy
    from .history import write_history

    state = load_state(folder)
    write_history(state)
    wait_healthy(state)
    return state


# The write ends of the pipes that tie sandboxes to this process; they close when it ends.
_ties: dict[Path, int] = {}


def _start_supervisor(folder: Path, pace: float, seed: int, log: Log, cache: Path, tied: bool) -> None:
    command = [sys.executable, "-m", "runbook_engine.sandbox.supervisor", str(folder)]
    command += [f"--cache={cache}", f"--pace={pace}", f"--seed={seed}"]
    passed: tuple[int, ...] = ()
    if tied:
        read, _ties[folder] = os.pipe()
        passed = (read,)
        command.append(f"--tied={read}")
    try:
        said = _listen(command, passed, log)
    except BaseException:
        cut_tie(folder)
        raise
    if said != "ready":
        cut_tie(folder)
        (folder / STATE_FILE).unlink(missing_ok=True)
        reason = said.removeprefix("failed: ") or f"see {folder / 'logs' / 'supervisor.log'}"
        raise TargetError("start", f"the sandbox did not start: {reason}", "no")


def _listen(command: list[str], passed: tuple[int, ...], log: Log) -> str:
    """What the supervisor says last; it is on its own from then on. Stop listening, and it gives up."""
    said = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=passed, cwd="/") as starter:
        for descriptor in passed:
            os.close(descriptor)
        assert starter.stdout
        for line in starter.stdout:
            said = line.strip()
            if said != "ready" and not said.startswith("failed: "):
                log(said)
    return said


def down(folder: Path) -> bool:
    """End the sandbox in `folder` and everything it started. False when none ran."""
    folder = folder.absolute()
    if not (folder / STATE_FILE).exists():
        cut_tie(folder)
        return False
    state = load_state(folder)
    ran = is_running(folder)
    if ran:
        with contextlib.suppress(TargetError):
            request(state, {"action": "shutdown"})
        _wait_gone(state.supervisor)
    for stale in (STATE_FILE, "runbook.yaml", "redis.conf", *(f"{name}.password" for name in state.passwords)):
        (folder / stale).unlink(missing_ok=True)
    cut_tie(folder)
    return ran


def _wait_gone(pid: int) -> None:
    since = guard.started(pid)
    deadline = time.monotonic() + 30
    while since and guard.started(pid) == since:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)  # its guard ends the rest
        time.sleep(0.02)


def cut_tie(folder: Path) -> None:
    """What the end of this process would do to a tied sandbox."""
    descriptor = _ties.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)


def is_running(folder: Path) -> bool:
    try:
        request(load_state(folder.absolute()), {"action": "overview"}, timeout=5)
    except RunbookError:
        return False
    return True


def status(folder: Path) -> dict[str, Any]:
    """Whether it runs, where everything is, which faults are active. Passwords stay in their files."""
    try:
        state = load_state(folder.absolute())
        services = request(state, {"action": "overview"}, timeout=5)
    except RunbookError as error:
        return {"running": False, "folder": str(folder.absolute()), "reason": str(error)}
    return {
        "running": True,
        "folder": str(state.folder),
        "pace": state.pace,
        "seed": state.seed,
        "started_at": state.started_at,
        "supervisor": state.supervisor,
        "ports": {"redis": state.redis_port, "postgres": state.postgres_port, "api": state.api_port},
        "pids": {name: [row["pid"] for row in service["processes"]] for name, service in services.items()},
        "connections": {
            "redis": f"redis://127.0.0.1:{state.redis_port}/0",
            "postgres": f"postgresql://runbook@127.0.0.1:{state.postgres_port}/linkflow",
            "api": state.api_url,
        },
        "environment": str(state.folder / "runbook.yaml"),
        "services": services,
        "faults": active_faults(state),
    }


def active_faults(state: State) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads((state.folder / "faults.json").read_text())
    except FileNotFoundError:
        return []
    return found


def faults() -> tuple[Fault, ...]:
    """The catalogue, in the order of its numbers."""
    from .faults import CATALOGUE

    return CATALOGUE


def break_(state: State, fault_id: str, seed: int | None = None, log: Log = quiet) -> int:
    """Inject the fault and wait until its symptom shows. Returns the seed of its jitter, which is also logged."""
    from .faults import inject

    return inject(state, fault_id, secrets.randbelow(1_000_000) if seed is None else seed, log)


def heal(state: State, fault_id: str | None = None, log: Log = quiet) -> tuple[str, ...]:
    """Take back one fault, or all that are active. Returns their ids."""
    from .faults import heal as heal_faults

    return heal_faults(state, fault_id, log)


def restore(state: State, log: Log = quiet) -> None:
    """Back to the healthy baseline without a new start: faults healed, queues empty, everybody alive."""
    from .baseline import restore as restore_baseline

    restore_baseline(state, log)
