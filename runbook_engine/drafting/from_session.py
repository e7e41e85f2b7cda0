"""A recorded session to a draft: what looked becomes the diagnosis, what changed something is told, nothing is run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..redaction import MASK
from ..safe_text import safe_text, shorten
from .commands import Step, step_of
from .draft import Draft, complaints_about
from .recordings import Typed
from .taming import identifier, masked, name, tamed

Json = Any
MOST_STEPS = 25
MOST_NOTES = 40
MOST_SHOWN = 12  # lines of output in the first test
_FACTS = {
    "shell": ("lines | last | default('nothing')", "says"),
    "sql": ("rowcount", "rows"),
    "redis": ("result", "result"),
    "http": ("status", "status"),
}
_LEAVING = frozenset(("exit", "quit", "logout", "clear", "history", "reset", "\\q"))
COMMENTS = {
    "": "Drafted from a recorded session; nothing of it was run. What only looked is the diagnosis below.",
    "notes": "What was typed and not taken over, in its order, and why.",
    "targets": "Name and kind; where each is stands in runbook.yaml (`runbook doctor` asks them).",
    "symptoms": "Is it true? A person is asked, until one of the steps below is moved here and given a `present:`.",
    "diagnosis": "What the session looked at. Give the facts that matter names, and causes that read them.",
    "causes": "Why? One cause for each answer that the steps can give; `needs:` says which.",
}


def from_session(typed: Sequence[Typed], wanted: str | None, where: str) -> Draft:
    """`where` is what the recording is called; the playbook is named after it when nobody named it."""
    called = identifier(wanted or where.rpartition("/")[2].partition(".")[0], "session")
    title = tamed(wanted.replace("-", " ").capitalize() if wanted else f"What the session {called} looked into", 120)
    taken, steps, notes, replies = _sorted_out(typed)
    shown = "; ".join(f"{step['id']} ${{{{ {next(iter(step['facts']))} }}}}" for step in steps)
    advice = "Find the cause, and write it here, with what mends it."
    playbook: dict[str, Json] = {
        "runbook": 1,
        "name": called,
        "title": title,
        "about": "Write here what users see when this happens, and what it costs.",
        **({"notes": notes} if notes else {}),
        **({"targets": taken} if taken else {}),
        "symptoms": [
            {
                "id": "seen",
                "title": title,
                "ask": {"question": f"Is it so now? {title}", "type": "boolean", "fact": "seen"},
                "present": "seen",
            }
        ],
        **({"diagnosis": steps} if steps else {}),
        "causes": [
            {
                "id": "not-known-yet",
                "title": "Nobody has written down yet why this happens",
                "needs": "seen",
                "advice": f"{advice} What the steps found: {shown}." if steps else advice,
            }
        ],
    }
    tests = [
        {"name": "it is so", "answers": {"seen": True}, "expect": {"outcome": "diagnosed", "top": "not-known-yet"}},
        {"name": "it has passed", "answers": {"seen": False}, "expect": {"outcome": "healthy"}},
    ]
    return Draft(playbook, {"cases": called, **({"replies": replies} if replies else {}), "tests": tests}, COMMENTS)


def _sorted_out(typed: Sequence[Typed]) -> tuple[dict[str, str], list[Json], list[str], dict[str, Json]]:
    """Targets, steps, notes about the rest, and what the steps were answered."""
    targets: dict[str, str] = {}
    steps: list[Json] = []
    notes: list[str] = []
    replies: dict[str, Json] = {}
    seen: set[str] = set()
    for each in (Typed(one.prompt, masked(one.text), one.output) for one in typed):
        if each.text in seen or each.text.rstrip(";").lower() in _LEAVING:
            continue
        seen.add(each.text)
        made = _made(each, steps)
        if isinstance(made, str):
            notes.append(f"{tamed(each.text, 400)} ({tamed(made, 200)})")
            continue
        step, found = made
        targets[found.target] = found.kind
        steps.append(step)
        replies[step["id"]] = _reply(found, each)
    kept = notes[:MOST_NOTES]
    if len(notes) > MOST_NOTES:
        kept.append(f"{len(notes) - MOST_NOTES} more commands were not taken over.")
    return targets, steps, kept, replies


def _made(typed: Typed, steps: Sequence[Json]) -> tuple[dict[str, Json], Step] | str:
    found = step_of(typed)
    if isinstance(found, str):
        return found
    told = _as_text(found.request)
    if MASK in told or masked(told) != told:
        return "it holds a secret"
    if len(steps) >= MOST_STEPS:
        return f"more than {MOST_STEPS} steps"
    taken = {step["id"] for step in steps} | {"seen"}
    names = {fact for step in steps for fact in step["facts"]} | {"seen"}
    for request in _variants(found):
        step = _step(Step(found.executor, request, found.target, found.kind), typed, taken, names)
        if not complaints_about(_alone(step, found)):
            return step, found
    return "the language does not take it as a step that only looks"


def _variants(found: Step) -> list[Json]:
    """A statement that may return any number of rows is also tried with a limit."""
    limited = f"{found.request.rstrip()}\nlimit 100\n" if found.executor == "sql" else None
    return [found.request, *([limited] if limited else [])]


def _step(found: Step, typed: Typed, taken: set[str], names: set[str]) -> dict[str, Json]:
    expression, ending = _FACTS[found.executor]
    called = identifier(" ".join(_as_text(found.request).split()[:4]), found.executor, taken)
    return {
        "id": called,
        "title": tamed(_as_text(found.request), 80) or called,
        "target": found.target,
        **({"effect": "read"} if found.executor == "shell" else {}),
        found.executor: found.request,
        "facts": {name(f"{called} {ending}", "fact", names): expression},
    }


def _alone(step: Mapping[str, Json], found: Step) -> dict[str, Json]:
    """A playbook of this step and nothing else, for whoever judges steps."""
    fact = next(iter(step["facts"]))
    return {
        "runbook": 1,
        "name": "alone",
        "title": "Alone",
        "targets": {found.target: found.kind},
        "symptoms": [
            {
                "id": "seen",
                "title": "Seen",
                "ask": {"question": "Seen?", "type": "boolean", "fact": "seen"},
                "present": "seen",
            }
        ],
        "diagnosis": [dict(step)],
        "causes": [{"id": "any", "title": "Any", "needs": "seen", "advice": f"Found ${{{{ {fact} }}}}."}],
    }


def _as_text(request: Json) -> str:
    if isinstance(request, dict):
        return " ".join(map(str, request.values()))
    return " ".join(map(str, request)) if isinstance(request, list) else str(request)


def _reply(found: Step, typed: Typed) -> Json:
    """What the session showed, masked; of a table or a reply that only its client printed, as much as is sure."""
    match found.executor:
        case "shell":
            lines = [shorten(safe_text(masked(line)), 200) for line in typed.output[:MOST_SHOWN]]
            while lines and not lines[-1].strip():
                lines.pop()
            return {"exit_code": 0, "lines": lines}
        case "sql":
            return {"rows": [], "rowcount": 0}
        case "redis":
            return {"result": _value(shorten(safe_text(masked(typed.output[0])), 200)) if typed.output else ""}
    return {"status": 200}


def _value(shown: str) -> Json:
    """What redis-cli means by `(integer) 5003`, `(nil)` and `"text"`; anything else is text as it stands."""
    if number := re.fullmatch(r"\(integer\) (-?\d{1,18})", shown):
        return int(number[1])
    if shown == "(nil)":
        return None
    quoted = re.fullmatch(r'"([^"\\]*)"', shown)
    return quoted[1] if quoted else shown
