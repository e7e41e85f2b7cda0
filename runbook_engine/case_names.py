"""Names in tests that their playbook does not have, each at its place in the `.test.yaml`. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from .cases import Case, Cases
from .cast import LINE_KEYS
from .coverage import targets_of
from .errors import Complaint
from .executor import Executor
from .loader import LoadedPlaybook
from .loading.positions import Loc, find_node
from .loading.source_text import complaint_at
from .loading.suggestions import suggest
from .loading.yaml_reader import Node
from .model import Playbook, Probe

Json = Any
UNKNOWN_NAME, DOUBLED = "RB202", "RB108"
Named = tuple[Loc, str, str]  # where, what kind of thing, its name
BY_KIND = {"causes": "cause", "scores": "cause", "impacts": "action", "present": "symptom", "facts": "fact"}
LISTS = {
    **dict.fromkeys(("offered", "drawn", "skipped", "done"), "action"),
    **dict.fromkeys(("asked", "not_asked"), "step"),
    "unknown": "fact",
}


def misnamed(
    loaded: LoadedPlaybook, cases: Cases, root: Node, lines: list[str], executors: Mapping[str, Executor]
) -> list[Complaint]:
    """Every step, fact, cause, action, input, target or part of an answer that the playbook does not have."""
    known = _known(loaded.playbook)
    found: list[Complaint] = []

    def complain(loc: Loc, message: str, code: str = UNKNOWN_NAME) -> None:
        place = find_node(root, loc, ())
        at = place.key if place.key is not None else place.node
        found.append(complaint_at(lines, at.path, at.line, at.column, message, code))

    for loc, kind, name in _named(cases):
        if name not in known[kind]:
            complain(loc, f"{cases.cases} has no {kind} {name!r}{suggest(name, known[kind])}")
    answers = {probe.id: _answers(probe, executors) for probe in loaded.playbook.probes() if probe.executor}
    for loc, replies in _replies(cases):
        for step, reply in replies.items():
            for inner, part in _parts(reply) if step in answers else ():
                if part not in answers[step]:
                    said = f"no answer to step {step!r} has the part {part!r}"
                    complain((*loc, step, *inner), f"{said}{suggest(part, answers[step])}")
    for loc, name in _doubled(cases):
        complain(loc, f"there is already a test {name!r}. names are unique", DOUBLED)
    return sorted(found, key=lambda item: (item.line, item.column))


def without_playbook(why: str, root: Node, lines: list[str]) -> Complaint:
    """About a file of tests whose playbook is not there."""
    at = find_node(root, ("cases",), ()).node
    return complaint_at(lines, at.path, at.line, at.column, why, UNKNOWN_NAME)


def _doubled(cases: Cases) -> Iterator[tuple[Loc, str]]:
    names: set[str] = set()
    for number, case in enumerate(cases.tests):
        if case.name in names:
            yield ("tests", number, "name"), case.name
        names.add(case.name)


def _known(playbook: Playbook) -> dict[str, Collection[str]]:
    actions = [action.id for action in playbook.resolution]
    undone = [f"{name}:undo" for name in actions]
    inner = [step for each in playbook.resolution for step in (*each.snapshot, *(part.id for part in each.steps))]
    steps = [*(probe.id for probe in playbook.probes()), *actions, *inner]
    facts = [name for probe in playbook.probes() for name in probe.facts]
    return {
        "step": [*steps, *(f"{step}:undo" for step in (*actions, *inner))],
        "action": actions,
        "gate": [*actions, *undone],
        "question": [probe.id for probe in playbook.probes() if probe.ask],
        "cause": [cause.id for cause in playbook.causes],
        "symptom": [probe.id for probe in playbook.symptoms],
        "fact": [*facts, *(probe.ask.fact for probe in playbook.probes() if probe.ask)],
        "input": list(playbook.inputs),
        "target": sorted({*playbook.targets, *targets_of(playbook)}),
    }


def _named(cases: Cases) -> Iterator[Named]:
    """Everything that a file names, in its order."""
    yield from ((("replies", name), "step", name) for name in cases.replies)
    yield from ((("targets", name), "target", name) for name in cases.targets)
    yield from ((("baselines", name), "fact", name) for name in cases.baselines)
    for number, case in enumerate(cases.tests):
        for loc, kind, name in _named_in(case):
            yield ("tests", number, *loc), kind, name


def _named_in(case: Case) -> Iterator[Named]:
    for key, kind in (("inputs", "input"), ("replies", "step"), ("places", "target"), ("gates", "gate")):
        yield from (((key, name), kind, name) for name in getattr(case, key))
    yield from ((("answers", name), "question", name) for name in case.answers)
    yield from ((("unreachable", number), "target", name) for number, name in enumerate(case.unreachable))
    for key in ("after", "meanwhile"):
        for action, replies in getattr(case, key).items():
            yield (key, action), "gate", action
            yield from (((key, action, name), "step", name) for name in replies)
    expect = case.expect
    if expect.top is not None:
        yield ("expect", "top"), "cause", expect.top
    for key, kind in BY_KIND.items():
        yield from ((("expect", key, name), kind, name) for name in getattr(expect, key))
    for key, kind in LISTS.items():
        yield from ((("expect", key, number), kind, name) for number, name in enumerate(getattr(expect, key) or ()))


def _replies(cases: Cases) -> Iterator[tuple[Loc, Mapping[str, Json]]]:
    yield ("replies",), cases.replies
    for number, case in enumerate(cases.tests):
        yield ("tests", number, "replies"), case.replies
        for key in ("after", "meanwhile"):
            for action, replies in getattr(case, key).items():
                yield ("tests", number, key, action), replies


def _answers(probe: Probe, executors: Mapping[str, Executor]) -> Collection[str]:
    assert probe.executor is not None
    return executors[probe.executor].ANSWERS


def _parts(reply: Json) -> Iterator[tuple[Loc, str]]:
    """The parts that a reply gives to a step, at the top of its answer, and where."""
    if isinstance(reply, list):
        for number, each in enumerate(reply):
            yield from (((number, *inner), part) for inner, part in _parts(each))
    elif isinstance(reply, dict):
        if reply.keys() == {"in_turn"}:
            yield from ((("in_turn", *inner), part) for inner, part in _parts(reply["in_turn"]))
        elif reply.keys() == {"change"} and isinstance(reply["change"], dict):
            yield from ((("change", path), str(path).partition(".")[0]) for path in reply["change"])
        elif reply and reply.keys() <= LINE_KEYS and reply.keys() & {"answer", "error"}:
            answer = reply.get("answer")
            yield from ((("answer", part), part) for part in answer) if isinstance(answer, dict) else ()
        else:
            yield from (((part,), part) for part in reply)
