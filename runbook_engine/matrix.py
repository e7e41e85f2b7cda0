"""Measures the playbooks: every fault of the sandbox, several times with jitter, and healthy runs between them."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .catalog import find_playbook, folders, libraries_for
from .consent import CommandLine
from .errors import UsageError
from .events import Event, GateRequested, RunStarted, encode, kind_of
from .executor import Effect
from .journal import Journal
from .loader import LoadedPlaybook, load_playbook
from .policy import Policy
from .report import fold
from .runner import Setting, begin, execute
from .sandbox import control
from .sandbox.state import State
from .targets import Environment, load_environment

Json = Any
Log = Callable[[str], None]
PLAYBOOKS = ("queue-backlog", "lock-contention")


class Experimenter(CommandLine):
    """Says yes to the first gate of a run, whatever its effect but destructive, and no to every later one.

    It may: what answers is the sandbox that this very process started.
    """

    __slots__ = ()

    def consent(self, gate: GateRequested) -> Any:
        if self.locked or Effect[gate.effect] >= Effect.destructive:
            return "no", "matrix", "only the first offer is tried"
        self.locked.add("first offer")
        return "yes", "matrix", "the sandbox it started itself"


def run_matrix(
    folder: Path | None, *, only: Sequence[str], repeat: int, healthy: int, pace: float, seed: int, log: Log
) -> dict[str, Json]:
    """One warm sandbox; each fault `repeat` times, then `healthy` runs of each playbook in turn."""
    faults = [fault for fault in control.faults() if not only or fault.id in only]
    unknown = set(only) - {fault.id for fault in faults}
    if unknown:
        raise UsageError(f"no fault is called {', '.join(sorted(unknown))}; `runbook sandbox faults` lists them")
    with _sandbox(folder, pace, seed, log) as (state, environment, journal):
        quiet = [_healthy(state, environment, journal, PLAYBOOKS[n % len(PLAYBOOKS)], log) for n in range(healthy)]
        rows = [
            _broken(state, environment, journal, fault, seed + round_, log)
            for fault in faults
            for round_ in range(repeat)
        ]
    return _summary(rows, quiet, pace, seed)


@contextmanager
def _sandbox(folder: Path | None, pace: float, seed: int, log: Log) -> Iterator[tuple[State, Environment, Journal]]:
    with tempfile.TemporaryDirectory(prefix="runbook-matrix-") as scratch:
        place = folder or Path(scratch) / "sandbox"
        state = control.up(place, pace=pace, seed=seed, log=log, tied=True)
        try:
            environment = load_environment(None, environ={}, folders=[], file=state.folder / "runbook.yaml")
            with closing(Journal.open(Path(scratch) / "state")) as journal:
                yield state, environment, journal
        finally:
            control.down(place)


def load(name: str) -> LoadedPlaybook:
    """A shipped playbook, whatever lies in the working folder."""
    places = folders({}, Path("/nonexistent"))
    entry = find_playbook(name, places)
    return load_playbook(entry.text, str(entry.path), libraries=libraries_for(entry.text, places, entry.path))


def _run(environment: Environment, journal: Journal, playbook: str, given: dict[str, str]) -> dict[str, Json]:
    loaded = load(playbook)
    events: list[Event] = []
    setting = Setting(environment, journal, (events.append,))
    start = begin(loaded, setting, given=given)
    # Repeated faults are the point here: the loop guard is for people.
    start = _without_history(start)
    execute(start, loaded, setting, Experimenter(Policy()))
    return fold([(kind_of(event), encode(event)) for event in events])


def _without_history(start: RunStarted) -> RunStarted:
    return replace(start, history=())


def _healthy(state: State, environment: Environment, journal: Journal, playbook: str, log: Log) -> dict[str, Json]:
    began = time.monotonic()
    document = _run(environment, journal, playbook, {})
    row = {
        "playbook": playbook,
        "outcome": document["outcome"],
        "offered": [action["id"] for action in document["actions"]],
        "because": document["reason"],
        "seconds": round(time.monotonic() - began, 1),
    }
    row["false_alarm"] = document["outcome"] != "healthy" or bool(row["offered"])
    log(f"healthy {playbook:16} {row['outcome']:12} {row['seconds']:5.1f}s")
    return row


def _broken(
    state: State, environment: Environment, journal: Journal, fault: Any, seed: int, log: Log
) -> dict[str, Json]:
    """Break, diagnose, try the first offer, restore. `diagnosed` is the time until the causes were ranked."""
    control.restore(state)
    control.break_(state, fault.id, seed)
    began = time.monotonic()
    try:
        document = _run(environment, journal, fault.playbook, {})
    finally:
        control.heal(state)
    top = next((cause for cause in document["causes"] if cause["verdict"] in ("confirmed", "suspected")), None)
    first = next((action for action in document["actions"] if action["decision"]["verdict"] == "yes"), None)
    row: dict[str, Json] = {
        "fault": fault.id,
        "seed": seed,
        "expected": list(fault.expect),
        **{
            name: top[key] if top else None for name, key in (("top", "id"), ("verdict", "verdict"), ("score", "score"))
        },
        "outcome": document["outcome"],
        "reason": document["reason"],
        "offered": first["id"] if first else None,
        "seconds": round(time.monotonic() - began, 1),
        "evidence": [
            line
            for cause in document["causes"]
            if cause["id"] in fault.expect
            for line in (*cause["for"], *cause["against"])
        ],
        "causes": [f"{cause['id']}:{cause['verdict']}:{cause['score']}" for cause in document["causes"][:4]],
    }
    row["right"] = row["verdict"] == "confirmed" and row["top"] in fault.expect
    row["harm"] = first is not None and first["id"] not in fault.helps
    mark = "ok  " if row["right"] and not row["harm"] else "FAIL"
    said = f"top {row['top']!s:22} {row['outcome']:12} offered {row['offered']!s:18} {row['seconds']:5.1f}s"
    log(f"{mark} {fault.id:5} {said}")
    return row


def _summary(rows: list[dict[str, Json]], quiet: list[dict[str, Json]], pace: float, seed: int) -> dict[str, Json]:
    right = sum(row["right"] for row in rows)
    harm = sum(row["harm"] for row in rows)
    return {
        "version": 1,
        "pace": pace,
        "seed": seed,
        "accuracy": round(right / len(rows), 4) if rows else 1.0,
        "false_alarms": sum(row["false_alarm"] for row in quiet),
        "harm_rate": round(harm / len(rows), 4) if rows else 0.0,
        "runs": len(rows),
        "healthy_runs": len(quiet),
        "faults": rows,
        "healthy": quiet,
    }


def table(result: dict[str, Json]) -> str:
    """The result for people."""
    lines = [f"{'fault':6} {'expected':22} {'top cause':22} {'outcome':13} {'first offer':18} {'harm':5} seconds"]
    lines += [
        f"{row['fault']:6} {'|'.join(row['expected']):22} {row['top'] or '-':22} {row['outcome']:13} "
        f"{row['offered'] or '-':18} {'HARM' if row['harm'] else 'no':5} {row['seconds']:.1f}"
        for row in result["faults"]
    ]
    healthy = f"{result['healthy_runs']} healthy runs, {result['false_alarms']} false alarms"
    lines.append(f"accuracy {result['accuracy']}  harm_rate {result['harm_rate']}  {healthy}")
    return "\n".join(lines)
