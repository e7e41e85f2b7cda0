"""A path as a person reads it: what happened, one line each, with the place of the action in the file. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..events import (
    ActionFinished,
    CallFinished,
    CallRequested,
    CausesRanked,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    Interrupted,
    RunFinished,
    SymptomsJudged,
    VerificationProgressed,
)
from ..loader import LoadedPlaybook
from .paths import Path


def story(path: Path, loaded: LoadedPlaybook) -> Iterator[str]:
    """The events that matter, in their order."""
    writes: dict[str, str] = {}
    gates: dict[str, str] = {}
    last = ""
    for event in path.events:
        told = _told(event, loaded, writes, gates)
        if told and told != last:
            yield told
        last = told or last


def _told(event: Event, loaded: LoadedPlaybook, writes: dict[str, str], gates: dict[str, str]) -> str:
    match event:
        case SymptomsJudged(symptoms=symptoms, after=after):
            there = [each["id"] for each in symptoms if each["present"]]
            return f"{'symptoms' if after == 'symptoms' else 'symptoms again'}: {', '.join(there) or 'none'}"
        case CausesRanked(causes=causes) if causes:
            return f"cause {causes[0]['id']} is {causes[0]['verdict']}{_at(loaded, 'causes', causes[0]['id'])}"
        case GateRequested():
            gates[event.id] = event.action
            return ""
        case GateAnswered():
            action = gates.get(event.id, event.id)
            return f"gate {action}: {event.verdict}{_at(loaded, 'resolution', action.partition(':')[0])}"
        case GuardChecked():
            return f"second look at {event.action}: guard {_truth(event.holds)}"
        case CallRequested(mode="write"):
            writes[event.id] = event.step
            return f"{event.id} is sent ({event.effect})"
        case CallFinished() if event.id in writes:
            error = event.error
            return f"{event.id}: done" if error is None else f"{event.id}: {error['code']}, happened {event.happened}"
        case Interrupted():
            return f"Ctrl-C ({event.level})"
        case VerificationProgressed():
            return f"{event.phase} of {event.action}: {_truth(event.holds)}"
        case ActionFinished():
            return f"{event.id} is {event.status}, verified {_truth(event.verified)}"
        case RunFinished():
            return f"the run ends {event.outcome} with exit code {event.exit_code}: {event.reason}"
    return ""


def _truth(value: bool | None) -> str:
    return "unknown" if value is None else "true" if value else "false"


def _at(loaded: LoadedPlaybook, section: str, name: str) -> str:
    playbook = loaded.playbook
    ids = [each.id for each in (playbook.causes if section == "causes" else playbook.resolution)]
    place = ids.index(name) if name in ids else None
    if place is None:
        return ""
    path, line, _ = loaded.position((section, place))
    return f" ({path}:{line})"
