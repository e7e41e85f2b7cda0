"""Turns events into lines for people. Pure: knows no stream and no clock.

Every word that came from outside goes through `Ink.safe`; nothing else may bring foreign text into a line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any

from ..events import ActionFinished, CausesRanked, GateAnswered, GateRequested, RunFinished, RunStarted, StepFinished
from ..safe_text import cells
from ..units import format_number
from .ink import LEAD, LONGEST_TITLE, TITLE, Ink, indented, labelled, pad, row, took, wrap

Json = Any

ITEMS_SHOWN = 10
REQUEST_LINES_SHOWN = 25
REQUEST_INDENT = 16
CAUSES_IN_FULL = 3
LONGEST_ERROR = 600

EFFECTS = {
    "read": "changes nothing",
    "touch": "tiny, and gone by itself",
    "reversible": "can be undone exactly",
    "disruptive": "drops work in flight, heals by itself",
    "destructive": "loses something for good",
}
OUTCOME_COLOURS = {
    "healthy": "green",
    "fixed": "green",
    "undone": "green",
    "not_fixed": "red",
    "relapsed": "red",
    "unknown": "red",
    "error": "red",
}
STATUS_WORDS = {
    "done": "ok",
    "failed": "FAILED",
    "skipped": "skip",
    "refused": "REFUSED",
    "unknown": "UNKNOWN",
    "undone": "undone",
}


def header(event: RunStarted, ink: Ink, zone: tzinfo | None, verbose: bool) -> list[str]:
    when = datetime.fromtimestamp(event.wall).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    name = ink.cut(ink.safe(event.playbook), ink.width)
    title = ink.cut(ink.safe(title_in(event.text)), ink.width - cells(name) - 2)
    targets = ", ".join(f"{name} ({kind})" for name, kind in event.targets.items())
    lines = [
        f"{ink.paint(name, 'bold')}  {title}".rstrip(),
        *labelled(ink, "run", f"{ink.safe(event.run)}  {when}", 2),
        *labelled(ink, "on", f"{ink.safe(event.environment)}{': ' if targets else ''}{ink.safe(targets)}", 2),
    ]
    if event.mode in ("plan", "diagnose"):
        lines += labelled(ink, event.mode, "looks only; nothing will be changed", 2)
    if event.follows:
        lines += labelled(ink, "undoes" if event.mode == "undo" else "follows", ink.safe(event.follows), 2)
    if event.pace != 1:
        lines += labelled(ink, "pace", f"{event.pace:g}: waits are {_pace_in_words(event.pace)}", 2)
    if verbose and event.inputs:
        lines += labelled(
            ink, "inputs", ", ".join(f"{ink.safe(k)} {short(v, ink)}" for k, v in event.inputs.items()), 2
        )
    return [*lines, ""]


def title_in(playbook: str) -> str:
    """The title of a playbook's text, without the cost of reading YAML."""
    for line in playbook.splitlines():
        if line.startswith("title:"):
            title = line.removeprefix("title:").strip()
            return "" if title[:1] in (">", "|") else title.strip("\"'")
    return ""


def _pace_in_words(pace: float) -> str:
    times = 1 / pace if pace < 1 else pace
    words = {2: "twice", 10: "ten times", 100: "a hundred times"}
    return f"{words.get(round(times), f'{times:.3g} times')} {'shorter' if pace < 1 else 'longer'}"


def short(value: Json, ink: Ink, width: int = 30) -> str:
    """A fact in a few characters."""
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return format_number(value)
    if isinstance(value, str):
        return ink.cut(ink.safe(value[:1000]), width) or "''"
    return f"{len(value)} {'fields' if isinstance(value, Mapping) else 'item' if len(value) == 1 else 'items'}"


def _flat(facts: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    """Facts by name, records opened by one level: `worst.pending`."""
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            yield name, value


def facts_in_short(facts: Mapping[str, Json], ink: Ink, room: int) -> str:
    """As many facts as there is room for, numbers first; an ellipsis says that there are more."""
    flat = sorted(_flat(facts), key=lambda fact: _interest(fact[1]))
    parts = [f"{ink.safe(name)} {_named(name, value, ink)}" for name, value in flat]
    more = " …" if ink.unicode else " ..."
    for count in range(len(parts), 0, -1):
        text = ", ".join(parts[:count]) + (more if count < len(parts) else "")
        if cells(text) <= room:
            return text
    return ink.cut(parts[0], room) if parts else ""


def _named(name: str, value: Json, ink: Ink) -> str:
    """A pid or a point in time is a name, not a quantity: no thousands in it."""
    label = isinstance(value, int) and not isinstance(value, bool) and name.endswith(("pid", "_since", "port"))
    return str(value) if label else short(value, ink)


def _interest(value: Json) -> int:
    if isinstance(value, bool) or value is None:
        return 1
    return 0 if isinstance(value, int | float) else 2 if isinstance(value, str) else 3


def step(event: StepFinished, ink: Ink, verbose: bool) -> list[str]:
    """A probe as it finished: its main facts, or why there are none."""
    if event.skipped:
        return row(ink, "skip", event.title, ink.safe(event.skipped))
    if event.error:
        return row(ink, "FAILED", event.title, error_in_short(event.error, event.target, ink), event.seconds)
    if event.unknown and not event.facts:
        return row(ink, "UNKNOWN", event.title, ink.safe(next(iter(event.unknown.values()))), event.seconds)
    title = max(TITLE, min(cells(ink.safe(event.title)), LONGEST_TITLE))
    room = max(ink.width - LEAD - title - len(took(event.seconds)) - 4, 16)
    lines = row(ink, "ok", event.title, "" if verbose else facts_in_short(event.facts, ink, room), event.seconds)
    if verbose:
        lines += [line for name, value in _flat(event.facts) for line in indented(ink, _in_full(name, value, ink))]
    unknown = [f"{ink.safe(name)} is unknown: {ink.safe(why)}" for name, why in event.unknown.items()]
    if unknown and not verbose:
        unknown = [f"unknown: {', '.join(ink.safe(name) for name in event.unknown)}"]
    return lines + [line for text in unknown for line in indented(ink, text)]


def _in_full(name: str, value: Json, ink: Ink) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return f"{ink.safe(name)} {ink.cut(ink.safe(text[:LONGEST_ERROR]), LONGEST_ERROR)}"


def error_in_short(error: Mapping[str, Json], target: str, ink: Ink) -> str:
    where = f"{target}: " if target else ""
    code, message = str(error.get("code", "")), str(error.get("message", ""))[:LONGEST_ERROR]
    return ink.safe(f"{where}{message} ({code})" if code and code not in message else f"{where}{message}")


def symptoms(judged: Sequence[Mapping[str, Json]], after: str, ink: Ink) -> list[str]:
    lines = ["", ink.paint("Symptoms after the fix" if after == "fix" else "Symptoms", "bold")]
    for symptom in judged:
        lines += row(ink, _presence(symptom), symptom["title"])
        if symptom["because"]:
            lines += indented(ink, ink.safe(symptom["because"]))
    return lines


def _presence(symptom: Mapping[str, Json]) -> str:
    if symptom["present"] is None:
        return "UNKNOWN"
    if not symptom["present"]:
        return "not present"
    return "recovering" if symptom.get("recovering") else "PRESENT"


def causes(event: CausesRanked, ink: Ink) -> list[str]:
    """The best few with their evidence, others in a line each; those nothing speaks for are only counted."""
    refuted = sum(cause["verdict"] == "refuted" for cause in event.causes)
    standing = [cause for cause in event.causes if cause["verdict"] != "refuted" and not _unestablished(cause)]
    unestablished = len(event.causes) - refuted - len(standing)
    lines = ["", ink.paint("Causes", "bold")]
    for place, cause in enumerate(standing, start=1):
        lines += _cause(place, cause, ink)
    if unestablished:
        lines.append(ink.paint(f"    {unestablished} could not be established", "dim"))
    if refuted:
        lines.append(ink.paint(f"    {refuted} refuted by the facts", "dim"))
    if not event.causes:
        lines.append("    none is known to this playbook")
    if event.unchecked:
        lines += indented(ink, f"not checked: {ink.safe(', '.join(event.unchecked))}", 4)
    return lines


def _unestablished(cause: Mapping[str, Json]) -> bool:
    return bool(cause["verdict"] == "possible" and not cause["score"])


def _cause(place: int, cause: Mapping[str, Json], ink: Ink) -> list[str]:
    colour = {"confirmed": "red", "suspected": "yellow"}.get(cause["verdict"], "dim")
    by = f" (explained by {ink.safe(cause['explained_by'])})" if cause.get("explained_by") else ""
    score = format_number(cause["score"])
    first, *more = wrap(f"{ink.safe(cause['title'])}{by}", ink.width - 21)
    lines = [f"  {place:>2} {ink.paint(pad(cause['verdict'], 10), colour)}{score:>4}  {first}"]
    if place > CAUSES_IN_FULL:
        return [lines[0] if not more else f"{lines[0]}{'…' if ink.unicode else '...'}"]
    lines += [" " * 21 + line for line in more]
    said = [("for", text) for text in cause.get("for", ())] + [("against", text) for text in cause.get("against", ())]
    for label, text in [*said, *_what_helps(cause)]:
        lines += labelled(ink, label, ink.safe(text), 5)
    return lines


def _what_helps(cause: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    if cause["verdict"] not in ("confirmed", "suspected"):
        return
    if cause.get("fix"):
        yield "fix", ", else ".join(cause["fix"])
    if cause.get("see"):
        yield "see", f"runbook run {cause['see']['playbook']}"
    if cause.get("advice"):
        yield "advice", cause["advice"]


def gate(event: GateRequested, run: str, ink: Ink) -> list[str]:
    """What consent is asked for. The engine's own lines come first and in this order, whatever an author wrote."""
    corner, edge, end, dash = ("┌", "│", "└", "─") if ink.unicode else ("+", "|", "+", "-")
    inner = Ink(ink.width - 2, ink.colour, ink.unicode)
    top = f"{corner}{dash} GATE  {ink.safe(event.action)}  {ink.safe(event.effect)} "
    body = [line for label, text in _gate_rows(event, run, ink) for line in labelled(inner, label, text, 0)]
    frame = _GATE_COLOURS.get(event.effect, "yellow")
    return [
        "",
        ink.paint(ink.cut(top, ink.width) + dash * max(0, ink.width - cells(top)), frame),
        *(f"{ink.paint(edge, frame)} {line}".rstrip() for line in body),
        ink.paint(end + dash * (ink.width - 1), frame),
    ]


_GATE_COLOURS = {"reversible": "cyan", "disruptive": "yellow", "destructive": "red"}


def _gate_rows(event: GateRequested, run: str, ink: Ink) -> Iterator[tuple[str, str]]:
    yield "will do", ink.safe(event.title)
    yield (
        "effect",
        event.effect
        + ": "
        + EFFECTS.get(event.effect, "")
        + ("; declared by the author, the engine cannot see it" if event.declared else ""),
    )
    for place, (target, identity) in enumerate(event.identity.items()):
        yield "" if place else "answers", ink.safe(f"{target}: {identity_in_short(identity)}")
    if not event.identity:
        yield "answers", "no target is spoken to"
    yield from _request_rows(event.requests, ink)
    yield "impact", ink.safe(event.impact) or "not measured"
    yield from _item_rows(event, ink)
    yield "undo", ink.safe(event.undo) or "there is none"
    if event.cause:
        yield "mends", ink.safe(event.cause)
    if event.about:
        yield "author", f'"{ink.safe(event.about.strip())}"'
    if event.alternatives:
        yield "else", ink.safe(", ".join(event.alternatives))
    yield "needs", _needs(event, ink)
    if event.second_person:
        yield "", f"and a second person, who types: runbook approve {ink.safe(run)}"


def _request_rows(requests: Sequence[str], ink: Ink) -> Iterator[tuple[str, str]]:
    # Wrapped before they are counted: one long value must not push who answers, and how much, off the screen.
    safe = [line for request in requests for line in ink.safe_lines(request)]
    lines = [part for line in safe for part in wrap(line, ink.width - REQUEST_INDENT)]
    for place, line in enumerate(lines[:REQUEST_LINES_SHOWN]):
        yield "" if place else "will run", line
    if len(lines) > REQUEST_LINES_SHOWN:
        yield "", f"and {len(lines) - REQUEST_LINES_SHOWN} more lines, bound by the digest below"


def _item_rows(event: GateRequested, ink: Ink) -> Iterator[tuple[str, str]]:
    digest = event.digest.removeprefix("sha256:")[:16]
    if event.items or event.total:
        shown = event.items[:ITEMS_SHOWN]
        total = event.total if event.total is not None else len(event.items)
        yield (
            "items",
            f"{len(shown)} of {format_number(total)} shown; the list is frozen, digest {ink.safe(digest)}",
        )
        yield from (("", f"- {ink.cut(ink.safe(item), ink.width - 16)}") for item in shown)
    elif digest:
        yield "digest", ink.safe(digest)


def identity_in_short(identity: Mapping[str, Json]) -> str:
    """Who really answers: the name, and the facts it is compared by."""
    facts, name = identity.get("facts") or {}, str(identity.get("name", ""))
    more = ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None and str(value) not in name)
    return f"{name} ({more})" if name and more else name or more


def _needs(event: GateRequested, ink: Ink) -> str:
    if event.word:
        return f"the word {ink.safe(event.word)} typed at this terminal"
    return f"y typed at this terminal, or --approve {ink.safe(event.action)} on the command line"


def gate_answer(event: GateAnswered, action: str, ink: Ink) -> list[str]:
    how = f" ({ink.safe(event.how)})" if event.how else ""
    who = ink.safe(event.by) or "nobody"
    word, says = {
        "yes": ("ok", f"confirmed by {who}{how}"),
        "no": ("skip", f"declined by {who}{how}"),
        "none": ("REFUSED", f"nobody confirmed{how}"),
        "plan": ("skip", "plan: it would run"),
        "interrupted": ("skip", "interrupted"),
    }[event.verdict]
    return row(ink, word, action, says)


def action(event: ActionFinished, ink: Ink) -> list[str]:
    said = [f"{format_number(event.affected)} affected"] if event.affected is not None else []
    if event.verified is not None:
        lasted = {True: ", and it lasted", False: ", but it did not last", None: ""}[event.held]
        said.append(f"verified{lasted}" if event.verified else "not verified")
    if event.reason:
        said.append(ink.safe(event.reason))
    return row(ink, STATUS_WORDS[event.status], event.title, "; ".join(said))


def verdict(event: RunFinished, ink: Ink, thinking: float = 0.0) -> list[str]:
    """The last lines: how it ended, why, and what to type now. A person's thinking is not the engine's time."""
    outcome = event.outcome.replace("_", " ").upper()
    waited = f" (waited {took(thinking)} for you)" if thinking >= 1 else ""
    lasted = f"{took(event.at - (thinking if waited else 0.0))}{waited}"
    first, *more = wrap(f"{outcome} in {lasted}  {ink.safe(event.reason)}".rstrip(), ink.width)
    painted = ink.paint(outcome, OUTCOME_COLOURS.get(event.outcome, "yellow")) + first.removeprefix(outcome)
    commands = [line for command in event.next for line in _command(command, ink)]
    return ["", painted, *("  " + line for text in more for line in wrap(text, ink.width - 2)), *commands]


def _command(command: str, ink: Ink) -> list[str]:
    # Not wrapped: a command is there to be copied, and the terminal's own wrapping keeps it whole.
    return [f"  next  {ink.safe(command)}"]
