"""Which ways through a playbook its tests take, and which facts they never see unknown. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .events import ActionFinished, CausesRanked, Event, GateAnswered, GateRequested, GuardChecked, StepFinished
from .model import Action, Playbook
from .planning import undos_of

Json = Any
EMPTY_LIST = "its list is empty"
GUARD_FALSE = ("it does not apply", "the guard no longer holds")


@dataclass(slots=True)
class Branches:
    """Each way (`step canary: left out`) and each fact, and whether a test has been there."""

    ways: dict[str, bool]
    unknown: dict[str, bool]  # facts: whether a test saw one unknown

    @classmethod
    def of(cls, playbook: Playbook) -> Branches:
        facts = [name for probe in playbook.probes() for name in probe.facts]
        return cls(dict.fromkeys(_ways(playbook), False), dict.fromkeys(facts, False))

    def add(self, events: Sequence[Event]) -> None:
        """What the events of one test visit."""
        self.ways.update((way, True) for way in _visited(events) if way in self.ways)
        seen = {name for event in events if isinstance(event, StepFinished) for name in event.unknown}
        self.unknown.update((name, True) for name in seen if name in self.unknown)

    def with_(self, other: Branches) -> Branches:
        return Branches(
            {way: seen or other.ways[way] for way, seen in self.ways.items()},
            {name: seen or other.unknown[name] for name, seen in self.unknown.items()},
        )

    def share(self) -> float:
        """Of the ways; 1.0 is all."""
        return sum(self.ways.values()) / len(self.ways) if self.ways else 1.0

    def missing(self) -> list[str]:
        return [way for way, seen in self.ways.items() if not seen]

    def never_unknown(self) -> list[str]:
        return [name for name, seen in self.unknown.items() if not seen]


def _ways(playbook: Playbook) -> Iterator[str]:
    for probe in playbook.probes():
        if probe.when is not None:
            yield from (f"step {probe.id}: {way}" for way in ("asked", "left out"))
    for cause in playbook.causes:
        yield from (f"cause {cause.id}: {way}" for way in ("holds", "excluded", "unknown"))
    for action in playbook.resolution:
        yield from _ways_of(action)


def _ways_of(action: Action) -> Iterator[str]:
    if action.guard is not None:
        yield from (f"guard of {action.id}: {way}" for way in ("holds", "does not hold"))
    if action.each is not None:
        yield from (f"each of {action.id}: {way}" for way in ("some", "none"))
    yield from (f"gate of {action.id}: {way}" for way in ("yes", "no", "nobody"))
    if action.verify is not None:
        yield from (f"verify of {action.id}: {way}" for way in ("came true", "did not"))
        if action.verify.hold:
            yield f"verify of {action.id}: did not last"
    if undos_of(action):
        yield f"undo of {action.id}: done"


def _visited(events: Sequence[Event]) -> Iterator[str]:
    gates: dict[str, str] = {}
    for event in events:
        match event:
            case StepFinished():
                left_out = event.skipped.startswith("not asked, as ")
                yield f"step {event.step}: {'left out' if left_out else '' if event.skipped else 'asked'}"
            case CausesRanked():
                yield from (f"cause {cause['id']}: {_way_of(cause)}" for cause in event.causes)
            case GateRequested():
                gates[event.id] = event.action
                yield f"guard of {event.action}: holds"
                yield f"each of {event.action}: some"
            case GateAnswered():
                said = "nobody" if event.verdict == "none" else event.verdict
                yield f"gate of {gates[event.id]}: {said}"
            case GuardChecked(holds=False):
                yield f"guard of {event.action}: does not hold"
            case ActionFinished():
                yield from _end_of(event)
            case _:
                pass


def _way_of(cause: Json) -> str:
    """Whether what it needs holds. Only a cause whose `needs` is unknown has a line that says so."""
    if cause["verdict"] == "refuted":
        return "excluded"
    return "unknown" if cause["for"] and cause["for"][0].startswith("not established: ") else "holds"


def _end_of(action: ActionFinished) -> Iterator[str]:
    if action.reason.startswith(GUARD_FALSE):
        yield f"guard of {action.id}: does not hold"
    if action.reason.startswith(EMPTY_LIST):
        yield f"each of {action.id}: none"
    if action.verified is not None:
        came = "did not last" if action.held is False else "came true" if action.verified else "did not"
        yield f"verify of {action.id}: {came}"
    if action.status == "undone":
        yield f"undo of {action.id}: done"
