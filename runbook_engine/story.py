"""A rehearsed run as a short story, with what was expected beside what came out. Pure.

Lines begin with a space, `-` for what was expected and did not come, `+` for what came instead.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from .cases import Expectation
from .comparing import NOT_THERE, as_wanted, came_out, plain
from .events import (
    CallFinished,
    CallRequested,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    StepFinished,
    SymptomsJudged,
    VerificationProgressed,
    encode,
    kind_of,
)
from .report import fold
from .safe_text import safe_text, shorten

Json = Any
Line = tuple[str, str]  # mark and text
MOST_LINES, LONGEST = 60, 170
MOST_CAUSES, MOST_EVIDENCE, MOST_UNKNOWN = 5, 4, 6
WORDS = {True: "present", False: "absent", None: "unknown"}
WORDS_OF_LOOKS = {True: "true", False: "not true", None: "unknown"}


def story(expect: Expectation, events: Sequence[Event], asked: Collection[str], *, broken: bool = False) -> list[str]:
    """What happened, in its order. One that broke off is told up to there, and compared with nothing."""
    document = fold([(kind_of(event), encode(event)) for event in events])
    told = Expectation.model_construct() if broken else expect
    found = came_out(document, asked)
    twice = sum(isinstance(event, SymptomsJudged) for event in events) > 1
    facts = [*_facts(told, found)]  # as they were last: where a fix was looked at, as it left them
    lines = [
        *_symptoms(told, document, events),
        *(facts if not twice else ()),
        *_asked(told, found, events),
        *_causes(told, document, found),
        *_actions(told, document, found, events),
        *(_compared(told, document, "after the fix, symptom") if twice else ()),
        *(facts if twice else ()),
        *(_last_call(events) if broken else _end(told, found)),
    ]
    return [safe_text(f"{mark} {shorten(text, LONGEST)}") for mark, text in _bounded(lines)]


def _bounded(lines: list[Line]) -> list[Line]:
    """Lines with a mark first, then as many others as there is room for; all in their order."""
    if len(lines) <= MOST_LINES:
        return lines
    by_worth = sorted(range(len(lines)), key=lambda n: (lines[n][0] == " ", n))
    kept = sorted(by_worth[: MOST_LINES - 1])
    return [*(lines[n] for n in kept), (" ", f"… and {len(lines) - len(kept)} lines more")]


def _pair(text: str, wanted: str, was: str) -> Iterator[Line]:
    yield "-", f"{text}: {wanted}"
    yield "+", f"{text}: {was}"


def _symptoms(expect: Expectation, document: Mapping[str, Json], events: Sequence[Event]) -> Iterator[Line]:
    """As they were judged first. What a fix made of them is told after it, and compared there."""
    judged = [event for event in events if isinstance(event, SymptomsJudged)]
    if len(judged) > 1:
        yield from ((" ", f"symptom {each['id']}: {_presence(each)}") for each in judged[0].symptoms)
    else:
        yield from _compared(expect, document, "symptom")


def _compared(expect: Expectation, document: Mapping[str, Json], word: str) -> Iterator[Line]:
    present = {each["id"]: each["present"] for each in document["symptoms"]}
    for each in document["symptoms"]:
        name, told = f"{word} {each['id']}", _presence(each)
        if each["id"] in expect.present and not as_wanted(present, each["id"], expect.present[each["id"]]):
            yield from _pair(name, WORDS[expect.present[each["id"]]], told)
        else:
            yield " ", f"{name}: {told}"
    for name in expect.present.keys() - present.keys():
        yield from _pair(f"{word} {name}", WORDS[expect.present[name]], NOT_THERE)


def _presence(symptom: Mapping[str, Json]) -> str:
    return WORDS[symptom["present"]] + (f" ({symptom['because']})" if symptom["because"] else "")


def _facts(expect: Expectation, found: Mapping[str, Json]) -> Iterator[Line]:
    facts, unknown = found["facts"], found["unknown"]
    for name, wanted in expect.facts.items():
        if not as_wanted(facts, name, wanted):
            yield from _pair(f"fact {name}", plain(wanted), _fact(name, found))
    for name in expect.unknown or ():
        if name not in unknown:
            yield from _pair(f"fact {name}", "unknown", _fact(name, found))
    for name in list(unknown)[:MOST_UNKNOWN]:
        if name not in expect.facts:
            yield " ", f"fact {name}: {_fact(name, found)}"
    if len(unknown) > MOST_UNKNOWN:
        yield " ", f"… and {len(unknown) - MOST_UNKNOWN} more facts are unknown"


def _fact(name: str, found: Mapping[str, Json]) -> str:
    if name in found["facts"]:
        return plain(found["facts"][name])
    return f"unknown ({found['unknown'][name]})" if name in found["unknown"] else NOT_THERE


def _asked(expect: Expectation, found: Mapping[str, Json], events: Sequence[Event]) -> Iterator[Line]:
    skipped = {event.step: event.skipped for event in events if isinstance(event, StepFinished) and event.skipped}
    for step in expect.asked or ():
        if step not in found["asked"]:
            yield from _pair(f"step {step}", "asked", skipped.get(step, "not asked"))
    for step in expect.not_asked or ():
        if step in found["asked"]:
            yield from _pair(f"step {step}", "not asked", "asked")


def _causes(expect: Expectation, document: Mapping[str, Json], found: Mapping[str, Json]) -> Iterator[Line]:
    """The best ones, those that were expected otherwise, and of each what decided."""
    if expect.top is not None and expect.top != found["top"]:
        yield from _pair("top cause", expect.top, found["top"] or "none")
    missed = {name for name, wanted in expect.causes.items() if not as_wanted(found["causes"], name, wanted)}
    missed |= {name for name, wanted in expect.scores.items() if not as_wanted(found["scores"], name, wanted)}
    shown = [each["id"] for each in document["causes"] if each["verdict"] != "refuted"][:MOST_CAUSES]
    for each in document["causes"]:
        name, told = f"cause {each['id']}", f"{each['verdict']}, score {each['score']}"
        if each["id"] in missed:
            verdict = expect.causes.get(each["id"], each["verdict"])
            yield from _pair(name, f"{verdict}, score {expect.scores.get(each['id'], each['score'])}", told)
        elif each["id"] in (*shown, expect.top):
            by = f", by {each['explained_by']}" if each["explained_by"] else ""
            yield " ", f"{name}: {told}{by}"
        else:
            continue
        yield from ((" ", f"    for: {said}") for said in each["for"][:MOST_EVIDENCE])
        yield from ((" ", f"    against: {said}") for said in each["against"][:MOST_EVIDENCE])
    for name in missed - found["causes"].keys():
        yield from _pair(f"cause {name}", expect.causes.get(name, "ranked"), NOT_THERE)


def _actions(
    expect: Expectation, document: Mapping[str, Json], found: Mapping[str, Json], events: Sequence[Event]
) -> Iterator[Line]:
    for name in ("offered", "drawn", "skipped", "done"):
        wanted = getattr(expect, name)
        if wanted is not None and wanted != found[name]:
            yield from _pair(name, plain(wanted), plain(found[name]))
    for name, wanted in expect.impacts.items():
        if not as_wanted(found["impacts"], name, wanted):
            yield from _pair(f"impact of {name}", wanted, found["impacts"].get(name, NOT_THERE))
    yield from ((" ", text) for text in _deeds(events))
    reasons = {data["id"]: data["reason"] for data in map(encode, events) if "decision" in data}
    for each in document["actions"]:
        proof = "".join(f", {word}" for word in ("verified", "held") if each[word])
        yield " ", f"action {each['id']}: {each['status']}{proof}: {reasons.get(each['id'], '')}".rstrip(": ")


def _deeds(events: Sequence[Event]) -> Iterator[str]:
    """Gates with their answers, second looks, writes, and the last look of each verification."""
    gates: dict[str, GateRequested] = {}
    writes: dict[str, CallRequested] = {}
    looks: dict[tuple[str, str], VerificationProgressed] = {}
    for event in events:
        match event:
            case GateRequested():
                gates[event.id] = event
            case GateAnswered() if event.id in gates:
                size = f" ({gates[event.id].impact})" if gates[event.id].impact else ""
                yield f"gate {gates[event.id].action}: {event.verdict}{size}"
            case GuardChecked() if event.refused:
                yield f"second look at {event.action}: {event.refused}"
            case CallRequested(mode="write"):
                writes[event.id] = event
            case CallFinished() if event.id in writes:
                ended = f"failed: {event.error['message']}" if event.error else "answered"
                yield f"request {writes[event.id].step}: {ended}"
            case VerificationProgressed():
                looks[event.action, event.phase] = event
            case _:
                pass
    for look in looks.values():
        yield f"verification of {look.action}, {look.phase}: {WORDS_OF_LOOKS[look.holds]} ({look.because})"


def _end(expect: Expectation, found: Mapping[str, Json]) -> Iterator[Line]:
    outcome, code = expect.outcome, expect.exit_code
    missed: list[str] = [] if outcome is None or outcome == found["outcome"] else [outcome]
    missed += [f"exit code {code}"] if code not in (None, found["exit_code"]) else []
    missed += [f"… {text} …" for text in expect.says if text not in found["says"]]
    yield from (("-", f"end: {text}") for text in missed)
    yield "+" if missed else " ", f"end: {found['outcome']} (exit code {found['exit_code']}): {found['says']}"


def _last_call(events: Sequence[Event]) -> Iterator[Line]:
    last = next((event for event in reversed(events) if isinstance(event, CallRequested)), None)
    yield " ", f"broken off at step {last.step}" if last else "broken off before anything was asked"
