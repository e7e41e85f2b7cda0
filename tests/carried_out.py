"""Carries out one resolution on a sandbox that is really broken, as a person who wants that one and no other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from runbook_engine.cli.resuming import stored_undos
from runbook_engine.consent import CommandLine
from runbook_engine.events import Event, GateRequested, encode, kind_of
from runbook_engine.journal import Journal
from runbook_engine.matrix import load
from runbook_engine.policy import Policy
from runbook_engine.report import fold
from runbook_engine.runner import Setting, begin, execute
from runbook_engine.sandbox import control
from runbook_engine.sandbox.faults import find_fault
from runbook_engine.sandbox.state import State
from runbook_engine.targets import load_environment


class Wanting(CommandLine):
    """Says yes to the gate of one action, whatever its effect, and no to every other."""

    __slots__ = ("wanted",)
    wanted: str

    def consent(self, gate: GateRequested) -> Any:
        wanted = gate.action == self.wanted or self.wanted == "*"
        return ("yes" if wanted else "no"), "test", f"the test wants {self.wanted}"


@dataclass
class Trial:
    """A broken sandbox, the run that mended it, and what may follow: the same run once more, or its undo."""

    state: State
    folder: Path
    playbook: str
    inputs: dict[str, str] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)

    def run(self, wanted: str, answers: dict[str, str] | None = None) -> dict[str, Any]:
        """A whole run in which only the gate of `wanted` is confirmed. The folded document of it."""
        loaded = load(self.playbook)
        with self._setting() as (setting, events):
            person = _person(wanted, answers)
            start = replace(begin(loaded, setting, given=self.inputs), history=())
            execute(start, loaded, setting, person)
        self.events = events
        self.document = _folded(events)
        return self.document

    def again(self, within: float = 60.0) -> dict[str, Any]:
        """The first healthy run after the fix, or the last one within that time: a backlog takes a while to drain."""
        deadline = time.monotonic() + within
        while self.run("")["outcome"] != "healthy" and time.monotonic() < deadline:
            time.sleep(1)
        return self.document

    def undo(self) -> dict[str, Any]:
        """The stored way back of the last run, as `runbook undo` takes it."""
        loaded = load(self.playbook)
        acts = stored_undos(self.events)
        assert acts, "the run left nothing to undo"
        with self._setting() as (setting, events):
            start = begin(loaded, setting, given=self.inputs, follows=self.document["run"])
            execute(replace(start, mode="undo", undo=acts, history=()), loaded, setting, _person("*", None))
        return _folded(events)

    @contextmanager
    def _setting(self) -> Iterator[tuple[Setting, list[Event]]]:
        environment = load_environment(None, environ={}, folders=[], file=self.state.folder / "runbook.yaml")
        events: list[Event] = []
        with closing(Journal.open(self.folder)) as journal:
            yield Setting(environment, journal, (events.append,)), events


def broken(state: State, folder: Path, fault: str, *, seed: int = 7, **inputs: str) -> Trial:
    """The sandbox restored and then broken by `fault`; nothing has been run yet."""
    control.restore(state)
    control.break_(state, fault, seed)
    return Trial(state, folder, find_fault(fault).playbook, inputs)


def action_of(document: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((action for action in document["actions"] if action["id"] == name), None)
    assert found, f"{name} was not offered: {document['outcome']}, {document['reason']}, {document['causes'][:3]}"
    return found


def assert_fixed(document: dict[str, Any], name: str) -> None:
    """The action was done, came true and held, and the run says so."""
    done = action_of(document, name)
    assert (done["status"], done["verified"], done["held"]) == ("done", True, True), (done, document["reason"])
    assert document["outcome"] == "fixed", (document["reason"], document["symptoms"])


def _person(wanted: str, answers: dict[str, str] | None) -> Wanting:
    person = Wanting(Policy(), answers=answers or {}, terminal=lambda: None)
    person.wanted = wanted
    return person


def _folded(events: list[Event]) -> dict[str, Any]:
    document: dict[str, Any] = fold([(kind_of(event), encode(event)) for event in events])
    return document
