"""`demo`: break a small LinkFlow on this machine and mend it, from nothing to a verified fix in one command."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..consent import CommandLine
from .run import OUTPUTS, Output, check_approvals, open_journal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..events import GateRequested
    from ..sandbox.state import State
    from ..targets import Environment

Json = Any
FAULTS = {"queue-backlog": "F30", "lock-contention": "F80"}
PACE = 0.1


@dataclass(slots=True)
class DemoPerson(CommandLine):
    """Asks at a terminal like any run. Without one it approves its own gate, and says so.

    It may only because what answers is the sandbox that this very command started: `own` has checked the identity.
    """

    own: Callable[[GateRequested], bool] = field(default=lambda gate: False)

    def consent(self, gate: GateRequested) -> Any:
        verdict, by, how = CommandLine.consent(self, gate)
        if verdict == "none" and self.own(gate) and not gate.action.endswith(":undo") and not self.terminal():
            return "yes", "demo", "the demo approves its own sandbox, as there is no terminal"
        return verdict, by, how


@click.command("demo")
@click.argument("name", default="queue-backlog", type=click.Choice(list(FAULTS)))
@click.option("--fault", metavar="FAULT", help="How to break it; `runbook sandbox faults` lists the ways.")
@click.option("--approve", multiple=True, metavar="STEP", help="Confirm this step in advance, up to disruptive.")
@click.option("--seed", type=int, help="Of the sandbox's and the fault's jitter; printed when not given.")
@click.option("--output", type=OUTPUTS, default="text", help="text, one JSON document, or the events as JSON lines.")
@click.option("-v", "--verbose", is_flag=True)
def demo_command(
    name: str, fault: str | None, approve: tuple[str, ...], seed: int | None, output: str, verbose: bool
) -> int:
    """Start a small LinkFlow, break it, run NAME against it, and end everything again."""
    from ..matrix import load
    from ..runner import begin, execute
    from ..sandbox import control
    from ..sandbox.faults import find_fault
    from ..targets import load_environment

    loaded = load(name)
    check_approvals(loaded, approve)
    chosen = find_fault(fault or FAULTS[name])
    out = Output(output, verbose)
    with sandbox(seed) as state, closing(open_journal()) as journal:
        say(f"breaking it: {chosen.id}, {chosen.title}")
        control.break_(state, chosen.id, seed, say)
        environment = load_environment(None, environ={}, folders=[], file=state.folder / "runbook.yaml")
        setting = out.setting(environment, journal)
        start = begin(loaded, setting, given={})
        person = DemoPerson(
            environment.policy,
            frozenset(approve),
            seen=setting.seen,
            own=lambda gate: belongs(gate, environment, state),
        )
        finished = execute(start, loaded, setting, person)
        return out.end(finished.exit_code, journal, start.run)


@contextmanager
def sandbox(seed: int | None) -> Iterator[State]:
    """A sandbox of our own that ends with this process, however it ends."""
    from ..sandbox import control

    with tempfile.TemporaryDirectory(prefix="runbook-demo-") as scratch:
        say("starting a small LinkFlow: real PostgreSQL, real Redis, API, two workers, scheduler")
        folder = Path(scratch) / "sandbox"
        state = control.up(folder, pace=PACE, seed=seed, log=say, tied=True)
        try:
            yield state
        finally:
            control.down(folder)
            say("the sandbox is gone: `runbook report` still tells what happened, `runbook undo` has nothing to act on")


def belongs(gate: GateRequested, environment: Environment, state: State) -> bool:
    """Whether everything that answers at this gate is of the sandbox we started."""
    return all(_ours(environment, state, target, who["facts"]) for target, who in gate.identity.items())


def _ours(environment: Environment, state: State, name: str, facts: dict[str, Json]) -> bool:
    from ..sandbox import control

    target = environment.targets.get(name)
    pids = control.status(state.folder)["pids"]
    match target.kind if target else "":
        case "redis":
            return facts.get("process_id") in pids["redis"]
        case "postgres":
            return facts.get("address") == f"127.0.0.1:{state.postgres_port}"
        case "service":
            assert target is not None
            return all(str(state.folder) in argv for argv in target.settings["command"].values())
        case "http":
            return facts.get("url") == state.api_url
    return False


def say(line: str) -> None:
    from ..safe_text import safe_text

    click.echo(f"  {safe_text(line)}", err=True)
