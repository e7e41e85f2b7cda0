"""Starts, owns and ends every process of one sandbox. `control` talks to it through a socket only its user may use.

It leaves nothing behind: ended by `down` or a signal it ends its processes itself; killed outright, its guard does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import RunbookError, TargetError
from . import guard, postgres, recovery, redis_server, release_ledger
from .cron import plan_schedules
from .environment import write_environment
from .processes import Recipe, Service, stand_in
from .state import ROLES, State, save_state, write_private
from .stopping import Stopping
from .timing import SCHEDULERS, WORKERS, Timing

LOG_LIMIT = 8 * 1024 * 1024
STAND_INS = {"worker": WORKERS, "scheduler": SCHEDULERS, "api": 1, "load": 1}


class Supervisor:
    def __init__(self, state: State, guard_pipe: int) -> None:
        self.state = state
        self.ending = Stopping()
        self.services: dict[str, Service] = {}
        self._guard_pipe = guard_pipe
        self._guard_lock = threading.Lock()

    def add(self, name: str, recipe: Recipe) -> Service:
        service = self.services[name] = Service(name, recipe, self._record)
        return service

    def _record(self, word: str, pid: int, name: str) -> None:
        with self._guard_lock:
            os.write(self._guard_pipe, f"{word} {pid} {name}\n".encode())

    def end(self) -> None:
        """Everything that holds sessions first, then the databases, so that each can say goodbye."""
        databases = [self.services.pop(name) for name in ("redis", "postgres") if name in self.services]
        for wave in (list(self.services.values()), databases):
            threads = [threading.Thread(target=service.stop) for service in wave]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(15)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        match request:
            case {"action": "shutdown"}:
                self.ending.set()
            case {"action": "overview"}:
                return {name: service.status() for name, service in self.services.items()}
            case {"action": "hold", "name": str(name), "arguments": [*arguments]}:
                recipe = Recipe(
                    lambda: stand_in("holder", self.state.folder, *arguments), self.state.log_file("holder"), 1
                )
                self.add(name, recipe).start()
            case {"action": "release", "name": str(name)}:
                if service := self.services.pop(name, None):
                    service.kill(signal.SIGKILL)
            case {"service": str(name), "action": "rollback", "revision": str(revision)} if name in self.services:
                return roll_back(self.state, self.services[name], revision)
            case {"service": str(name)} if name in self.services:
                return act(self.services[name], request)
            case _:
                known = ", ".join(sorted(self.services))
                raise TargetError("usage", f"the sandbox has no such service. It has {known}", "no")
        return {}


def act(service: Service, request: dict[str, Any]) -> dict[str, Any]:
    match request:
        case {"action": "status"}:
            service.tick()
        case {"action": "start"}:
            service.start()
        case {"action": "stop"}:
            service.stop()
        case {"action": "restart"}:
            service.restart()
        case {"action": "scale", "replicas": int(replicas)} if 0 <= replicas <= 20:
            service.scale(replicas)
        case {"action": "kill", "signal": int(number)}:
            service.kill(number)
        case {"action": "signal", "signal": int(number)}:
            service.send(number)
        case {"action": "replace", "after": after}:
            service.restart_after = after
        case _:
            raise TargetError(
                "usage", f"{service.name} cannot do that. Known: status, start, stop, restart, scale 0 to 20", "no"
            )
    return service.status()


def roll_back(state: State, service: Service, revision: str) -> dict[str, Any]:
    """Another version instead of the one that runs; the same one again is nothing to do."""
    ledger = release_ledger.load(state, service.name)
    ledger.find(revision)

    def switch() -> None:
        service.image = release_ledger.switch(state, service.name, revision)

    if ledger.current != revision:
        service.restart(switch)
    return service.status()


class Door(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, supervisor: Supervisor) -> None:
        self.supervisor = supervisor
        super().__init__(str(supervisor.state.socket), Visitor)
        os.chmod(supervisor.state.socket, 0o600)


class Visitor(socketserver.StreamRequestHandler):
    server: Door

    def handle(self) -> None:
        try:
            answer: dict[str, Any] = {"answer": self.server.supervisor.answer(json.loads(self.rfile.readline()))}
        except (RunbookError, OSError, ValueError, subprocess.SubprocessError) as error:
            answer = {"error": str(error)}
        with contextlib.suppress(BrokenPipeError):
            self.wfile.write(json.dumps(answer).encode() + b"\n")


def build_state(folder: Path, run_folder: Path, pace: float, seed: int) -> State:
    redis_port, postgres_port, api_port = free_ports(3)
    return State(
        folder=folder,
        run_folder=run_folder,
        pace=pace,
        seed=seed,
        supervisor=os.getpid(),
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
        redis_port=redis_port,
        postgres_port=postgres_port,
        api_port=api_port,
        redis_binary=redis_server.find_redis(),
        postgres_binaries=postgres.find_binaries(run_folder),
        passwords={name: secrets.token_urlsafe(18) for name in (*ROLES, "redis")},
    )


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def prepare(state: State, cache: Path, say: Callable[[str], None]) -> str:
    (state.folder / "logs").mkdir(exist_ok=True)
    password = postgres.prepare_data(state.postgres_binaries, state.postgres_data, cache, state.postgres_port, say)
    for name, secret in state.passwords.items():
        write_private(state.folder / f"{name}.password", secret)
    for leftover in ("knobs.json", "faults.json", "releases.json"):
        (state.folder / leftover).unlink(missing_ok=True)
    save_state(state)
    write_environment(state)
    return password


def start_all(supervisor: Supervisor, known_password: str, say: Callable[[str], None]) -> None:
    state = supervisor.state
    databases = (supervisor.add("postgres", postgres_recipe(state)), supervisor.add("redis", redis_recipe(state)))
    for service in databases:
        service.start()
    postgres.set_passwords(state.postgres_port, known_password, state.passwords)
    with postgres.connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        plan_schedules(connection)
    say(f"PostgreSQL on port {state.postgres_port}, Redis on port {state.redis_port}")
    failures: list[RunbookError] = []
    threads = []
    for name, desired in STAND_INS.items():
        recipe = stand_in_recipe(state, name, desired)
        service = supervisor.add(name, recipe)
        service.image = release_ledger.current_image(state, name)
        threads.append(threading.Thread(target=start_one, args=(service, failures)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    say(f"API on {state.api_url}, {WORKERS} workers, {SCHEDULERS} schedulers, constant load")


def start_one(service: Service, failures: list[RunbookError]) -> None:
    try:
        service.start()
    except RunbookError as error:
        failures.append(error)


def stand_in_recipe(state: State, name: str, desired: int) -> Recipe:
    grace = Timing(state.pace).stop_grace + 5
    return Recipe(lambda: stand_in(name, state.folder), state.log_file(name), desired, stop_timeout=grace)


def postgres_recipe(state: State) -> Recipe:
    return Recipe(
        lambda: postgres.server_command(state.postgres_binaries, state.postgres_data, state.postgres_port),
        state.log_file("postgres"),
        stop_signal=signal.SIGINT,
        ready=lambda server: postgres.wait_accepting(state.postgres_binaries, state.postgres_port, server),
        options={"cwd": state.run_folder, **postgres.account().popen},
    )


def redis_recipe(state: State) -> Recipe:
    def ready(server: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + 10
        while server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", state.redis_port), 1):
                return
            time.sleep(0.01)
        raise TargetError("start", f"Redis did not start. See {state.log_file('redis')}", "no")

    return Recipe(lambda: redis_server.redis_command(state), state.log_file("redis"), ready=ready)


def start_guard(run_folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, str(run_folder)],
        stdin=subprocess.PIPE,
        cwd="/",
        start_new_session=True,
    )
    assert process.stdin
    return process, process.stdin.fileno()


def supervise(options: argparse.Namespace, say: Callable[[str], None], done: Callable[[], None]) -> None:
    """Live until told to end. `say` reports progress to whoever started us, `done` lets them go."""
    run_folder = postgres.make_run_folder()
    keeper, pipe = start_guard(run_folder)
    try:
        state = build_state(options.folder, run_folder, options.pace, options.seed)
        supervisor = Supervisor(state, pipe)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: supervisor.ending.set())
        try:
            start_all(supervisor, prepare(state, options.cache, say), say)
            with Door(supervisor) as door:
                threading.Thread(target=door.serve_forever, daemon=True).start()
                done()
                watch(supervisor, options.tied)
                door.shutdown()
        finally:
            supervisor.end()
            recovery.stop_side(run_folder)
    finally:
        shutil.rmtree(run_folder, ignore_errors=True)
        assert keeper.stdin
        keeper.stdin.close()
        keeper.wait(10)


def watch(supervisor: Supervisor, tied: int | None) -> None:
    if tied is not None:
        threading.Thread(target=end_with, args=(tied, supervisor.ending), daemon=True).start()
    while not supervisor.ending.wait(0.1):
        for service in list(supervisor.services.values()):
            service.tick()
        for log_file in (supervisor.state.folder / "logs").glob("*.log"):
            if log_file.stat().st_size > LOG_LIMIT:
                os.truncate(log_file, 0)


def end_with(pipe: int, ending: Stopping) -> None:
    """The other end is held open by the process that this sandbox must not outlive."""
    while os.read(pipe, 1):
        pass
    ending.set()


def detach(log_file: Path) -> int:
    """Leave the caller's process group and streams; returns the pipe on which it still listens."""
    sys.stdout.flush()
    if os.fork():
        os._exit(0)
    os.setsid()
    speak = os.dup(1)
    out = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(source, target)
    os.close(out)
    os.close(nothing)
    return speak


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--pace", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--tied", type=int, help="a pipe: when its other end closes, the sandbox ends")
    options = parser.parse_args()
    speak = detach(options.folder / "logs" / "supervisor.log")

    def say(line: str) -> None:
        # When nobody listens any more, whoever started us has given up: the error ends us, and all we started.
        os.write(speak, f"{line}\n".encode())

    def done() -> None:
        say("ready")
        os.close(speak)

    try:
        supervise(options, say, done)
    except (RunbookError, OSError, subprocess.SubprocessError) as error:
        with contextlib.suppress(OSError):
            say(f"failed: {error}")
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
