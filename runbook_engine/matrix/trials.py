"""One trial: break the sandbox, run the playbook as one who takes the first offer would, and judge what it said."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..cassette import read_cassette, write_cassette
from ..catalog import find_playbook, folders, libraries_for
from ..consent import CommandLine
from ..events import CausesRanked, Event, GateRequested, encode, kind_of
from ..executor import Effect
from ..journal import Journal
from ..loader import LoadedPlaybook, load_playbook
from ..playing import replayed
from ..policy import Policy
from ..report import fold
from ..runner import Setting, begin, execute, used_executors
from ..sandbox import control
from ..sandbox.doubles import Double
from ..sandbox.guide_rules import conclude
from ..sandbox.state import State
from ..sandbox.world import Fault
from ..targets import Environment

Json = Any
Log = Callable[[str], None]
PLANNED = "--plan"
LISTED = ("confirmed", "suspected", "explained", "possible")


class Experimenter(CommandLine):
    """Says yes to the first gate of a run, whatever its effect but destructive, and no to every later one.

    It may: what answers is the sandbox that this very process started.
    """

    __slots__ = ()

    def consent(self, gate: GateRequested) -> Any:
        if self.planned:
            return "plan", "matrix", PLANNED
        if self.locked or Effect[gate.effect] >= Effect.destructive:
            return "no", "matrix", "only the first offer is tried"
        self.locked.add("first offer")
        return "yes", "matrix", "the sandbox it started itself"


@dataclass(slots=True)
class Bench:
    """One warm sandbox with its environment and a journal of its own."""

    state: State
    environment: Environment
    journal: Journal
    log: Log
    mode: Literal["run", "plan"] = "run"
    record: Path | None = None  # a folder for the cassettes of the runs
    ranked_after: float | None = field(default=None)
    replays: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)  # of each run: what came out otherwise

    def run(
        self,
        playbook: str,
        mode: Literal["run", "plan", "diagnose"],
        label: str = "",
        given: Mapping[str, Json] | None = None,
    ) -> dict[str, Json]:
        """A whole run, folded into its document; `ranked_after` is then the time until the causes were ranked.

        `label` names its cassette where one is kept.
        """
        loaded = load(playbook)
        events: list[Event] = []
        began = time.monotonic()
        self.ranked_after = None

        def listen(event: Event) -> None:
            events.append(event)
            if isinstance(event, CausesRanked):
                self.ranked_after = round(time.monotonic() - began, 1)

        setting = Setting(self.environment, self.journal, (listen,))
        # Repeated faults are the point here: the loop guard is for people.
        start = replace(begin(loaded, setting, mode=mode, given=given), history=())
        execute(start, loaded, setting, Experimenter(Policy(), planned=mode == "plan", terminal=lambda: None))
        text = write_cassette(events)
        differences = replayed(loaded, read_cassette(text, label), used_executors(loaded))
        self.replays.append((f"{playbook} {label}".strip(), differences))
        if differences:
            self.log(f"     the replay of {playbook} {label}: {'; '.join(differences)}")
        if self.record is not None and label:
            keep(self.record / f"{playbook}-{label}.jsonl.gz", text)
        return fold([(kind_of(event), encode(event)) for event in events])


def keep(file: Path, cassette: str) -> None:
    """The cassette of a run; the same run gives the same bytes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(cassette.encode(), mtime=0))


def load(name: str) -> LoadedPlaybook:
    """A shipped playbook, whatever lies in the working folder."""
    places = folders({}, Path("/nonexistent"))
    entry = find_playbook(name, places)
    return load_playbook(entry.text, str(entry.path), libraries=libraries_for(entry.text, places, entry.path))


def healthy(bench: Bench, playbook: str) -> dict[str, Json]:
    """A run on a sandbox that nobody broke: anything but healthy is a false alarm."""
    began = time.monotonic()
    document = bench.run(playbook, bench.mode, "healthy")
    row = {
        "playbook": playbook,
        "outcome": document["outcome"],
        "offered": [action["id"] for action in document["actions"]],
        "because": document["reason"],
        "seconds": round(time.monotonic() - began, 1),
    }
    row["false_alarm"] = document["outcome"] != "healthy" or bool(row["offered"])
    bench.log(f"healthy {playbook:24} {row['outcome']:12} {row['seconds']:5.1f}s")
    return row


def single(bench: Bench, fault: Fault, seed: int) -> dict[str, Json]:
    """Restore, break, diagnose, try the first offer, heal."""
    control.restore(bench.state)
    control.break_(bench.state, fault.id, seed)
    try:
        naive = conclude(bench.state, fault.group)
        began = time.monotonic()
        document = bench.run(fault.playbook, bench.mode, fault.id.lower(), dict(fault.inputs))
        seconds = round(time.monotonic() - began, 1)
    finally:
        control.heal(bench.state)
    row = _judged(document, fault, seed) | {"seconds": seconds, "diagnosed": bench.ranked_after, "naive": naive}
    row["naive_right"] = naive in fault.expect if fault.expect else naive == "healthy"
    mark = "ok  " if row["right"] and not row["harm"] else "FAIL"
    said = f"top {row['top']!s:24} {row['outcome']:12} offered {row['offered']!s:20} {row['seconds']:5.1f}s"
    bench.log(f"{mark} {fault.id:5} {said}")
    return row


def _judged(document: dict[str, Json], fault: Fault, seed: int) -> dict[str, Json]:
    """Right: the expected cause is confirmed and on top; for a fault that is none, healthy and nothing offered."""
    top = top_of(document)
    first = next((each for each in document["actions"] if _taken(each["decision"])), None)
    row: dict[str, Json] = {
        "fault": fault.id,
        "group": fault.group,
        "playbook": fault.playbook,
        "seed": seed,
        "expected": list(fault.expect),
        **{
            name: top[key] if top else None for name, key in (("top", "id"), ("verdict", "verdict"), ("score", "score"))
        },
        "outcome": document["outcome"],
        "reason": document["reason"],
        "offered": first["id"] if first else None,
        "causes": [f"{cause['id']}:{cause['verdict']}:{cause['score']}" for cause in document["causes"][:4]],
        "evidence": [
            line
            for cause in document["causes"]
            if cause["id"] in fault.expect
            for line in (*cause["for"], *cause["against"])
        ],
    }
    row["unknown"] = bool(fault.expect) and row["verdict"] != "confirmed"
    row["harm"] = first is not None and first["id"] not in fault.helps
    row["right"] = (
        row["verdict"] == "confirmed" and row["top"] in fault.expect
        if fault.expect
        else document["outcome"] == "healthy" and first is None
    )
    return row


def _taken(decision: Mapping[str, Json]) -> bool:
    """Whether this is the offer that was tried, or would have been."""
    return bool(decision["verdict"] == "yes" or decision["how"] == PLANNED)


def top_of(document: dict[str, Json]) -> dict[str, Json] | None:
    found: dict[str, Json] | None = next(
        (cause for cause in document["causes"] if cause["verdict"] in ("confirmed", "suspected")), None
    )
    return found


def double(bench: Bench, both: Double, seed: int) -> dict[str, Json]:
    """Two faults at once: the upstream cause must be on top, and the other one listed, here or by its own playbook."""
    control.restore(bench.state)
    try:
        for fault in both.faults:
            control.break_(bench.state, fault, seed)
        began = time.monotonic()
        document = bench.run(both.playbook, "diagnose")
        other = document if both.other_playbook == both.playbook else bench.run(both.other_playbook, "diagnose")
        seconds = round(time.monotonic() - began, 1)
    finally:
        control.heal(bench.state)
    top = top_of(document)
    listed = [cause["id"] for cause in other["causes"] if cause["verdict"] in LISTED]
    row: dict[str, Json] = {
        "faults": list(both.faults),
        "seed": seed,
        "expected": both.top,
        "top": top["id"] if top else None,
        "other": both.other,
        "listed": listed,
        "causes": [f"{cause['id']}:{cause['verdict']}:{cause['score']}" for cause in document["causes"][:5]],
        "seconds": seconds,
    }
    row["right"] = row["top"] == both.top and both.other in listed
    mark = "ok  " if row["right"] else "FAIL"
    bench.log(f"{mark} {'+'.join(both.faults):9} top {row['top']!s:24} with {', '.join(listed[:4])} {seconds:5.1f}s")
    return row


def spoilt_single(fault: Fault, seed: int) -> dict[str, Json]:
    """The row of a trial that could not be made."""
    known = {"fault": fault.id, "group": fault.group, "playbook": fault.playbook, "seed": seed}
    nothing = dict.fromkeys(("top", "verdict", "score", "offered", "diagnosed", "naive"))
    judged = {"right": False, "harm": False, "unknown": True, "naive_right": False}
    told = {"expected": list(fault.expect), "outcome": "error", "seconds": 0.0, "causes": [], "evidence": []}
    return {**known, **nothing, **judged, **told}


def spoilt_double(both: Double, seed: int) -> dict[str, Json]:
    """The row of a pair that could not be made."""
    told = {"faults": list(both.faults), "seed": seed, "expected": both.top, "top": None, "other": both.other}
    return {**told, "listed": [], "causes": [], "seconds": 0.0, "right": False}
