"""Tells the records of a run as moments: what happened, and when. Pure; says nothing that is not in the records."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .units import format_duration

Json = Any
Data = Mapping[str, Json]
Records = Iterable[tuple[str, Data]]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of a timeline. `at` is seconds since the start of the run, `wall` is seconds since 1970."""

    at: float
    wall: float
    says: str


def timeline(records: Records) -> list[Moment]:
    """What happened and when; facts without a time of their own have that of the last reply."""
    moments: list[Moment] = []
    at = wall = 0.0
    intents: dict[str, Data] = {}
    looked = ""
    for kind, data in records:
        since, at = at, max(at, data.get("at", at))
        wall = data.get("wall", wall + at - since)
        if kind == "CallRequested" and data["mode"] == "write":
            intents[data["id"]] = data
        told = _TELLS[kind](data) if kind in _TELLS else _call_says(data, intents) if kind == "CallFinished" else ""
        if told and not (kind == "VerificationProgressed" and told == looked):
            moments.append(Moment(at, wall, told))
        looked = told if kind == "VerificationProgressed" else looked
    return moments


def _call_says(data: Data, intents: Mapping[str, Data]) -> str:
    if data["id"] not in intents:
        return ""
    title = intents[data["id"]]["title"]
    error = data.get("error")
    if error is None:
        return f"done: {title}"
    became = "nothing was done" if data["happened"] == "no" else "whether it took place is not known"
    return f"failed: {title}: {error.get('message', '')} ({became})"


def _started_says(data: Data) -> str:
    follows = f" (follows {data['follows']})" if data.get("follows") else ""
    return f"{data['playbook']} started on {data['environment']}{mode_says(data['mode'])}{follows}"


def mode_says(mode: str) -> str:
    """How a run that is not a plain one differs."""
    return {"run": "", "": "", "undo": ", an undo"}.get(mode, f", {mode} only")


def _step_says(data: Data) -> str:
    if data["again"] and not data["error"]:
        return ""
    if data["skipped"]:
        return f"not asked: {data['title']} ({data['skipped']})"
    if data["error"]:
        return f"no answer: {data['title']}: {data['error'].get('message', '')}"
    return f"asked: {data['title']} ({format_duration(data['seconds'])})"


def _symptoms_say(data: Data) -> str:
    when = "after the fix, " if data["after"] == "fix" else ""
    return when + "; ".join(f"{symptom['title']}: {presence(symptom)}" for symptom in data["symptoms"])


def presence(symptom: Data) -> str:
    """How a symptom stands, in a word or two."""
    if symptom["present"] is None:
        return "unknown"
    if not symptom["present"]:
        return "not present"
    return "present, recovering" if symptom.get("recovering") else "present"


def _causes_say(data: Data) -> str:
    leading = [cause for cause in data["causes"] if cause["verdict"] in ("confirmed", "suspected")]
    return "; ".join(f"{cause['verdict']}: {cause['title']}" for cause in leading) or "no cause stands out"


def _gate_says(data: Data) -> str:
    impact = f", {data['impact']}" if data["impact"] else ""
    return f"consent asked for {data['effect']} action: {data['title']}{impact}"


def answer_says(data: Data) -> str:
    """The answer to a gate: what, who, how."""
    who = data["by"] or "nobody"
    words = {
        "yes": f"confirmed by {who}",
        "no": f"declined by {who}",
        "none": "nobody confirmed",
        "plan": "a plan only: it would run",
        "interrupted": "interrupted at the gate",
    }
    return words[data["verdict"]] + (f" ({data['how']})" if data["how"] else "")


def _guard_says(data: Data) -> str:
    return f"checked again right before the act, refused: {data['refused']}" if data["refused"] else ""


def _verification_says(data: Data) -> str:
    if data["phase"] == "until":
        return "verified: the fix took effect" if data["holds"] else "waiting for the fix to take effect"
    return "watching whether it lasts" if data["holds"] else "it does not last"


def _action_says(data: Data) -> str:
    reason = f": {data['reason']}" if data["reason"] else ""
    return f"{data['title']}: {data['status']}{reason}{proof(data)}"


def proof(action: Data) -> str:
    """Whether an action was seen to work, and to last."""
    if action["verified"] is None:
        return ""
    if not action["verified"]:
        return " (not verified)"
    return {True: " (verified, and it lasted)", False: " (verified, but it did not last)"}.get(
        action["held"], " (verified)"
    )


_TELLS: Mapping[str, Callable[[Data], str]] = {
    "RunStarted": _started_says,
    "RunResumed": lambda data: f"resumed{' by ' + data['by'] if data['by'] else ''}",
    "StepFinished": _step_says,
    "SymptomsJudged": _symptoms_say,
    "CausesRanked": _causes_say,
    "QuestionAnswered": lambda data: f"question {data['id']}: {data['value']} ({data['how']})",
    "GateRequested": _gate_says,
    "GateAnswered": answer_says,
    "GuardChecked": _guard_says,
    "VerificationProgressed": _verification_says,
    "ActionProgressed": lambda data: str(data["says"]),
    "ActionFinished": _action_says,
    "BudgetSpent": lambda data: "the time for the diagnosis was spent",
    "Interrupted": lambda data: f"interrupted ({data['signal']})",
    "RunFinished": lambda data: f"{data['outcome']}: {data['reason']}",
}
