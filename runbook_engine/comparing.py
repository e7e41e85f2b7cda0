"""What came out of a rehearsed run, in the words of `expect`, and where that is not what was expected. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .cases import Expectation

Json = Any
PLAIN = ("outcome", "exit_code", "top", "offered", "drawn", "skipped", "done")
BY_NAME = {"causes": "cause", "scores": "score of", "impacts": "impact of", "present": "symptom", "facts": "fact"}
NOT_THERE = "not there"


def came_out(document: Mapping[str, Json], asked: Collection[str]) -> dict[str, Json]:
    """Everything that a test can expect, as it came out."""
    causes, actions = document["causes"], document["actions"]
    drawn = [each for each in actions if each["decision"]["how"] != "not asked"]
    return {
        "outcome": document["outcome"],
        "exit_code": document["exit_code"],
        "top": next((each["id"] for each in causes if each["verdict"] in ("confirmed", "suspected")), None),
        "offered": tuple(each["id"] for each in actions),
        "drawn": tuple(each["id"] for each in drawn),
        "skipped": tuple(each["id"] for each in actions if each not in drawn),
        "done": tuple(each["id"] for each in actions if each["status"] == "done"),
        "causes": {each["id"]: each["verdict"] for each in causes},
        "scores": {each["id"]: each["score"] for each in causes},
        "impacts": {each["id"]: each["impact"] for each in actions},
        "present": {each["id"]: each["present"] for each in document["symptoms"]},
        "facts": document["facts"],
        "unknown": document["unknown"],
        "says": document["reason"],
        "asked": frozenset(asked),
    }


def differences(expect: Expectation, found: Mapping[str, Json]) -> Iterator[str]:
    """Each thing that came out otherwise, with both."""
    for name in PLAIN:
        wanted = getattr(expect, name)
        if wanted is not None and wanted != found[name]:
            yield f"{name}: expected {plain(wanted)}, was {plain(found[name])}"
    for group, what in BY_NAME.items():
        for name, wanted in getattr(expect, group).items():
            if not as_wanted(found[group], name, wanted):
                yield f"{what} {name}: expected {plain(wanted)}, was {plain(found[group].get(name, NOT_THERE))}"
    for step in expect.asked or ():
        if step not in found["asked"]:
            yield f"step {step}: expected to be asked, was not"
    for step in expect.not_asked or ():
        if step in found["asked"]:
            yield f"step {step}: expected not to be asked, was asked"
    for fact in expect.unknown or ():
        if fact not in found["unknown"]:
            yield f"fact {fact}: expected unknown, was {plain(found['facts'].get(fact))}"
    for text in expect.says:
        if text not in found["says"]:
            yield f"reason: expected {text!r} in it, was {found['says']!r}"


def as_wanted(found: Mapping[str, Json], name: str, wanted: Json) -> bool:
    """True is not 1 here: a fact that changed its type has changed."""
    value = found.get(name, NOT_THERE)
    return bool(name in found and value == wanted and isinstance(value, bool) == isinstance(wanted, bool))


def plain(value: Json) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
