"""Plays a test of a playbook, or a recorded run, and tells what came out otherwise. Pure: touches no target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from . import __version__
from .cases import Case, Cases, Expectation, StoryError
from .cassette import Cassette, ranking_of
from .cast import CaseCast
from .errors import RunbookError
from .events import Event, RunStarted, encode, kind_of
from .executor import Executor
from .interpreter import interpret
from .loader import LoadedPlaybook
from .loading.inputs import resolve_inputs
from .policy import Policy
from .rehearsal import rehearse
from .report import fold

Json = Any
WALL = 1_800_000_000.0  # 2027-01-15 08:00 UTC: the moment of every rehearsal that has no recorded one


@dataclass(frozen=True, slots=True)
class Result:
    """One test that was run: what differs from the expectation, and the document of the run."""

    case: Case
    differences: tuple[str, ...]
    document: Mapping[str, Json]
    step: str = ""  # where the story broke off

    @property
    def passed(self) -> bool:
        return not self.differences


def play(
    loaded: LoadedPlaybook, cases: Cases, case: Case, cassette: Cassette | None, executors: Mapping[str, Executor]
) -> tuple[Result, list[Event]]:
    """One test from its first event to its last. Whatever breaks in it fails it, and no other test."""
    try:
        start = _start(loaded, cases, case, cassette)
        cast = CaseCast(case, cases.replies, cassette, start.mode == "plan")
        events = rehearse(interpret(start, loaded.playbook, loaded.needs, executors), cast, start.wall)
    except StoryError as broken:
        return Result(case, (str(broken),), {}, broken.step), []
    except RunbookError as broken:
        return Result(case, (str(broken),), {}), []
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as broken:
        # What a cassette or a reply says may be anything: the other tests must be told all the same.
        return Result(case, (f"the story cannot be told: {type(broken).__name__}: {broken}",), {}), []
    document = fold([(kind_of(event), encode(event)) for event in events])
    return Result(case, tuple(differences(case.expect, document)), document), events


def replayed(loaded: LoadedPlaybook, cassette: Cassette, executors: Mapping[str, Executor]) -> tuple[str, ...]:
    """What a recorded run comes to now, where that is not what it came to then."""
    if cassette.end is None:
        return ("the cassette does not say how its run ended: record it again with `runbook run --record`",)
    case = Case(name="as recorded", expect=Expectation(outcome=str(cassette.end["outcome"])))
    result, _ = play(loaded, Cases(cases=loaded.playbook.name, tests=(case,)), case, cassette, executors)
    if not result.document:
        return result.differences
    then, now = list(cassette.end["causes"]), ranking_of(result.document["causes"])
    moved = [f"cause ranked {old}, is now {new}" for old, new in zip_longest(then, now) if old != new]
    return (*result.differences, *moved[:3])


def _start(loaded: LoadedPlaybook, cases: Cases, case: Case, cassette: Cassette | None) -> RunStarted:
    playbook = loaded.playbook
    kept: dict[str, Json] = dict(cassette.header) if cassette else {}
    given = resolve_inputs(playbook, dict(case.inputs), kept.get("pace", 1.0))
    inputs = {**given, **{name: value for name, value in kept.get("inputs", {}).items() if name not in case.inputs}}
    places: dict[str, dict[str, Json]] = kept.get("places", {})
    kinds = {name: use.kind for name, use in playbook.targets.items() if use.kind}
    return RunStarted(
        run=kept.get("run", "R-CASE"),
        playbook=playbook.name,
        digest=loaded.digest,
        text=loaded.text,
        path=loaded.path,
        libraries=dict(loaded.libraries),
        inputs=inputs,
        environment=kept.get("environment", "rehearsal"),
        targets=cases.targets or kept.get("targets", kinds),
        policy=kept.get("policy", Policy().model_dump()),
        baselines=cases.baselines or kept.get("baselines", {}),
        history=(),
        pace=kept.get("pace", 1.0),
        budget=kept.get("budget", 60.0),
        mode=case.mode or kept.get("mode", "run"),
        engine=__version__,
        wall=kept.get("wall", WALL),
        places={name: {**places.get(name, {}), **case.places.get(name, {})} for name in places.keys() | case.places},
    )


def differences(expect: Expectation, document: Mapping[str, Json]) -> Iterable[str]:
    """Each thing that came out otherwise, with both."""
    top = next((each["id"] for each in document["causes"] if each["verdict"] in ("confirmed", "suspected")), None)
    actions: Sequence[Mapping[str, Json]] = document["actions"]
    plain = (
        ("outcome", expect.outcome, document["outcome"]),
        ("exit_code", expect.exit_code, document["exit_code"]),
        ("top", expect.top, top),
        ("offered", expect.offered, tuple(each["id"] for each in actions)),
        ("done", expect.done, tuple(each["id"] for each in actions if each["status"] == "done")),
    )
    for name, wanted, found in plain:
        if wanted is not None and wanted != found:
            yield f"{name}: expected {_plain(wanted)}, was {_plain(found)}"
    verdicts = {each["id"]: each["verdict"] for each in document["causes"]}
    present = {each["id"]: each["present"] for each in document["symptoms"]}
    for what, wanted_ones, found_ones in (
        ("cause", expect.causes, verdicts),
        ("score of", expect.scores, {each["id"]: each["score"] for each in document["causes"]}),
        ("impact of", expect.impacts, {each["id"]: each["impact"] for each in actions}),
        ("symptom", expect.present, present),
        ("fact", expect.facts, document["facts"]),
    ):
        for key, wanted in wanted_ones.items():
            if key not in found_ones or not _same(found_ones[key], wanted):
                yield f"{what} {key}: expected {_plain(wanted)}, was {_plain(found_ones.get(key, 'not there'))}"
    for fact in expect.unknown or ():
        if fact not in document["unknown"]:
            yield f"fact {fact}: expected unknown, was {_plain(document['facts'].get(fact))}"
    for text in expect.says:
        if text not in document["reason"]:
            yield f"reason: expected {text!r} in it, was {document['reason']!r}"


def _same(found: Json, wanted: Json) -> bool:
    """True is not 1 here: a fact that changed its type has changed."""
    return bool(found == wanted and isinstance(found, bool) == isinstance(wanted, bool))


def _plain(value: Json) -> str:
    return ", ".join(value) or "none" if isinstance(value, tuple) else str(value)
