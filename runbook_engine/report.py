"""Folds the records of a run into what is handed on: the JSON document, a report to paste, a timeline.

Text in, text out: never asks a target, never reads a clock or a file, and says nothing that is not in the records.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from .safe_text import escape_markdown, safe_text
from .timeline import Data, Moment, Records, answer_says, mode_says, presence, proof, timeline
from .units import format_duration, format_number

Json = Any

DOCUMENT_VERSION = 1
EXIT_UNKNOWN = 6
EXIT_INTERRUPTED = 130
LONGEST_VALUE = 300
LONGEST_TEXT = 600

__all__ = ["Moment", "fold", "timeline", "to_json", "to_markdown"]


def fold(records: Records) -> dict[str, Json]:
    """The document of `--output json`, also of a run that was cut off or still goes on."""
    told = _valid(records)
    started = _newest(told, "RunStarted") or {}
    ended = _newest(told, "RunFinished") or _cut_off(told, str(started.get("run", "")))
    facts, unknown = _facts(told)
    ranked = _newest(told, "CausesRanked") or {}
    return {
        "version": DOCUMENT_VERSION,
        "run": started.get("run", ""),
        "playbook": started.get("playbook", ""),
        "digest": started.get("digest", ""),
        "environment": started.get("environment", ""),
        "outcome": ended["outcome"],
        "exit_code": ended["exit_code"],
        "reason": ended["reason"],
        "symptoms": _symptoms(told),
        "facts": facts,
        "unknown": unknown,
        "causes": [_cause(cause) for cause in ranked.get("causes", ())],
        "actions": [_action(action) for action in _actions(told)],
        "unchecked": list(ranked.get("unchecked", ())),
        "seconds": round(ended["at"], 3),
        "mode": started.get("mode", ""),
        "next": list(ended.get("next", ())),
    }


def _valid(records: Records) -> list[tuple[str, Data]]:
    """The records that count: a resume declares those void that nobody acted on."""
    valid: list[tuple[str, Data]] = []
    for kind, data in records:
        if kind == "RunResumed":
            del valid[data["kept"] :]
        else:
            valid.append((kind, data))
    return valid


def to_json(document: Mapping[str, Json]) -> str:
    """One JSON text, whatever the targets answered: all ASCII, and no NaN, which JSON does not have."""
    return json.dumps(_finite(document), ensure_ascii=True, allow_nan=False, indent=2, default=str)


def _finite(value: Json) -> Json:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _all(told: Sequence[tuple[str, Data]], kind: str) -> list[Data]:
    return [data for each, data in told if each == kind]


def _newest(told: Sequence[tuple[str, Data]], kind: str) -> Data | None:
    found = _all(told, kind)
    return found[-1] if found else None


def _cut_off(told: Sequence[tuple[str, Data]], run: str) -> Data:
    """The end of a run that has none: unknown when a write was under way, since nobody saw what became of it."""
    at = max((data["at"] for _, data in told if isinstance(data.get("at"), float | int)), default=0.0)
    settle = (f"runbook resume {run}",) if run else ()
    writes = _open_writes(told)
    if writes:
        titles = ", ".join(str(write["title"]) for write in writes)
        reason = f"the run has no end on record; whether this took place is not known: {titles}"
        return {"outcome": "unknown", "exit_code": EXIT_UNKNOWN, "reason": reason, "at": at, "next": settle}
    reason = "the run has no end on record: it was cut off, or it still goes on"
    return {"outcome": "interrupted", "exit_code": EXIT_INTERRUPTED, "reason": reason, "at": at, "next": settle}


def _open_writes(told: Sequence[tuple[str, Data]]) -> list[Data]:
    settled = {data["id"] for data in _all(told, "CallFinished") if data.get("happened") != "unknown"}
    writes = [data for data in _all(told, "CallRequested") if data.get("mode") == "write"]
    return [write for write in writes if write["id"] not in settled]


def _facts(told: Sequence[tuple[str, Data]]) -> tuple[dict[str, Json], dict[str, str]]:
    """The newest word on each fact, be it a value or that it is unknown."""
    facts: dict[str, Json] = {}
    unknown: dict[str, str] = {}
    for step in _all(told, "StepFinished"):
        for name, value in step["facts"].items():
            facts[name] = value
            unknown.pop(name, None)
        for name, why in step["unknown"].items():
            unknown[name] = why
            facts.pop(name, None)
    return facts, unknown


def _symptoms(told: Sequence[tuple[str, Data]]) -> list[dict[str, Json]]:
    judged = {symptom["id"]: symptom for data in _all(told, "SymptomsJudged") for symptom in data["symptoms"]}
    keys = ("id", "present", "recovering", "title", "because")
    return [{key: symptom.get(key) for key in keys} for symptom in judged.values()]


def _cause(cause: Data) -> dict[str, Json]:
    return {
        "id": cause["id"],
        "verdict": cause["verdict"],
        "score": cause["score"],
        "title": cause["title"],
        "for": list(cause.get("for", ())),
        "against": list(cause.get("against", ())),
        "explained_by": cause.get("explained_by"),
        "fix": list(cause.get("fix", ())),
    }


def _action(action: Data) -> dict[str, Json]:
    decision = action["decision"]
    return {
        "id": action["id"],
        "effect": action["effect"],
        "decision": {key: decision.get(key, "") for key in ("verdict", "by", "how")},
        "status": action["status"],
        "impact": action["impact"],
        "items": list(action["items"]),
        "verified": action["verified"],
        "held": action["held"],
    }


def _actions(told: Sequence[tuple[str, Data]]) -> list[Data]:
    """Every action that ended, and of a run that was cut off the one that was confirmed."""
    gates: dict[str, Data] = {}
    since: dict[str, int] = {}  # action -> place of the consent that has not led to an end yet
    actions: list[Data] = []
    for place, (kind, data) in enumerate(told):
        if kind == "GateRequested":
            gates[data["id"]] = data
        elif kind == "GateAnswered" and data["verdict"] == "yes" and data["id"] in gates:
            since[gates[data["id"]]["action"]] = place
        elif kind == "ActionFinished":
            actions.append(data)
            since.pop(data["id"], None)
    cut_off = _newest(told, "RunFinished") is None
    return actions + [_unfinished(gates, told[place:]) for place in since.values() if cut_off]


def _unfinished(gates: Mapping[str, Data], rest: Sequence[tuple[str, Data]]) -> Data:
    answer = rest[0][1]
    gate = gates[answer["id"]]
    began = any(kind == "CallRequested" and data.get("mode") == "write" for kind, data in rest)
    status = "unknown" if _open_writes(rest) else "done" if began else "skipped"
    return {
        "id": gate["action"],
        "title": gate["title"],
        "effect": gate["effect"],
        "decision": answer,
        "status": status,
        "reason": "the run was cut off",
        "impact": gate["impact"],
        "items": gate["items"],
        "verified": None,
        "held": None,
    }


def to_markdown(document: Mapping[str, Json], records: Records) -> str:
    """A report that can be pasted into an incident channel. Whatever came from outside is shown as it is."""
    everything = list(records)
    told = _valid(everything)
    parts = [
        _headline(document, told),
        _section("Symptoms", _symptom_lines(told)),
        _section("Causes", _cause_lines(told)),
        _section("Actions", [line for action in _actions(told) for line in _action_lines(action)]),
        _section("Facts", [f"- {_escaped(name)}: {_value(value)}" for name, value in document["facts"].items()]),
        _section("Unknown", [f"- {_escaped(name)}: {_escaped(why)}" for name, why in document["unknown"].items()]),
        _section("Not checked", [f"- {_escaped(what)}" for what in document["unchecked"]]),
        _section("Timeline", [_moment_line(moment) for moment in timeline(everything)]),
        _section("Next", [f"- {_code(command)}" for command in document["next"]]),
    ]
    return "\n".join(part for part in parts if part).rstrip("\n")


def _headline(document: Mapping[str, Json], told: Sequence[tuple[str, Data]]) -> str:
    started = _newest(told, "RunStarted") or {}
    outcome = str(document["outcome"]).replace("_", " ").upper()
    people = sorted({data["by"] for kind, data in told if kind in ("GateAnswered", "QuestionAnswered") and data["by"]})
    mode = mode_says(document["mode"])
    where = f"run {_escaped(document['run'])}, environment {_escaped(document['environment'])}{mode}"
    after = format_duration(document["seconds"])
    lines = [
        f"**{_escaped(document['playbook'])}: {_escaped(outcome)}** after {after} ({where})",
        _escaped(document["reason"]),
        f"Started {_when(started.get('wall', 0.0), '%Y-%m-%d %H:%M:%S')} UTC"
        + (f" by {_escaped(started['by'])}" if started.get("by") else "")
        + (f"; answers by {_escaped(', '.join(people))}." if people else "; nobody answered."),
    ]
    return "  \n".join(line for line in lines if line) + "\n"


def _section(title: str, lines: Sequence[str]) -> str:
    return f"**{title}**\n\n" + "\n".join(lines) + "\n" if lines else ""


def _symptom_lines(told: Sequence[tuple[str, Data]]) -> list[str]:
    lines = []
    for data in _all(told, "SymptomsJudged"):
        when = "after the fix: " if data["after"] == "fix" else ""
        for symptom in data["symptoms"]:
            because = f": {_code(symptom['because'])}" if symptom["because"] else ""
            lines.append(f"- {when}{_escaped(symptom['title'])}: **{presence(symptom)}**{because}")
    return lines


def _cause_lines(told: Sequence[tuple[str, Data]]) -> list[str]:
    causes = (_newest(told, "CausesRanked") or {}).get("causes", ())
    lines = [line for cause in causes if cause["verdict"] != "refuted" for line in _told_cause(cause)]
    refuted = [_escaped(cause["title"]) for cause in causes if cause["verdict"] == "refuted"]
    return lines + ([f"- refuted: {'; '.join(refuted)}"] if refuted else [])


def _told_cause(cause: Data) -> list[str]:
    by = f" by {_escaped(cause['explained_by'])}" if cause.get("explained_by") else ""
    lines = [f"- **{_escaped(cause['verdict'])}**{by} ({format_number(cause['score'])}): {_escaped(cause['title'])}"]
    lines += [f"  - for: {_escaped(said)}" for said in cause.get("for", ())]
    lines += [f"  - against: {_escaped(said)}" for said in cause.get("against", ())]
    if cause["verdict"] in ("confirmed", "suspected") and cause.get("advice"):
        lines.append(f"  - advice: {_escaped(cause['advice'])}")
    return lines


def _action_lines(action: Data) -> list[str]:
    effect, impact = _escaped(action["effect"]), _escaped(action["impact"])
    lines = [f"- **{_escaped(action['status'])}**: {_escaped(action['title'])} ({effect}){proof(action)}"]
    if impact:
        lines.append(f"  - impact: {impact}")
    lines.append(f"  - decision: {_escaped(answer_says({'by': '', 'how': '', **action['decision']}))}")
    if action["items"]:
        lines.append(f"  - items: {len(action['items'])}, {', '.join(_value(item) for item in action['items'][:10])}")
    if action["reason"]:
        lines.append(f"  - {_escaped(action['reason'])}")
    return lines


def _moment_line(moment: Moment) -> str:
    return f"- {_when(moment.wall, '%H:%M:%S')} +{format_duration(moment.at)} {_escaped(moment.says)}"


def _when(wall: float, shape: str) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime(shape)


def _value(value: Json) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return format_number(value)
    text = value if isinstance(value, str) else json.dumps(_finite(value), ensure_ascii=False, default=str)
    return _escaped(text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)")


def _escaped(text: Json) -> str:
    # Within a line `>` opens nothing, and as an entity it would be noise in a channel that shows plain text.
    return escape_markdown(_bounded(str(text))).replace("&gt;", ">")


def _bounded(text: str) -> str:
    """A channel cuts long messages anywhere; here the reader is told, and where the rest is."""
    return (
        text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}… ({len(text)} characters; --format json has all)"
    )


def _code(text: str) -> str:
    """A command or an expression as code, where nothing in it can end the code."""
    shown = safe_text(text)
    return _escaped(text) if "`" in shown or not shown.strip() else f"`{shown}`"
