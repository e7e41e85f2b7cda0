"""Plays a test of a playbook, or a recorded run, and tells what came out otherwise. Pure: touches no target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from . import __version__
from .cases import Case, Cases, Expectation, StoryError
from .cassette import Cassette, ranking_of
from .cast import CaseCast
from .comparing import came_out, differences
from .errors import RunbookError
from .events import CallRequested, Event, QuestionRequested, Reply, RunFinished, RunStarted, encode, kind_of
from .executor import Executor
from .interpreter import interpret
from .loader import LoadedPlaybook
from .loading.inputs import resolve_inputs
from .policy import Policy
from .recorded import no_longer_asked, place_of
from .rehearsal import rehearse
from .report import fold
from .state import Run

Json = Any
WALL = 1_800_000_000.0  # 2027-01-15 08:00 UTC: the moment of every rehearsal that has no recorded one


@dataclass(frozen=True, slots=True)
class Result:
    """One test that was run: what differs from the expectation, and the document of the run."""

    case: Case
    differences: tuple[str, ...]
    document: Mapping[str, Json]
    found: Mapping[str, Json] | None = None  # what came out, in the words of `expect`
    notes: tuple[str, ...] = ()  # what a person should know though nothing failed

    @property
    def passed(self) -> bool:
        return not self.differences


def play(
    loaded: LoadedPlaybook, cases: Cases, case: Case, cassette: Cassette | None, executors: Mapping[str, Executor]
) -> tuple[Result, list[Event]]:
    """One test from its first event to its last. Whatever breaks in it fails it, and no other test."""
    events: list[Event] = []
    try:
        start = _start(loaded, cases, case, cassette)
        manual = frozenset(action.id for action in loaded.playbook.resolution if action.manual is not None)
        cast = CaseCast(case, cases.replies, cassette, start.mode == "plan", manual, loaded.digest)
        rehearse(_told(interpret(start, loaded.playbook, loaded.needs, executors), cast, events), cast, start.wall)
    except StoryError as broken:
        return Result(case, (_placed(loaded, broken),), {}), events
    except RunbookError as broken:
        return Result(case, (str(broken),), {}), events
    except (AssertionError, AttributeError, LookupError, TypeError, ValueError) as broken:
        # What a cassette or a reply says may be anything: the other tests must be told all the same.
        return Result(case, (f"the story cannot be told: {type(broken).__name__}: {broken}",), {}), events
    asked = asked_steps(events)
    document = fold([(kind_of(event), encode(event)) for event in events])
    notes = tuple(no_longer_asked(loaded, cassette, case, asked)) if cassette is not None else ()
    found = came_out(document, asked)
    return Result(case, tuple(differences(case.expect, found)), document, found, notes), events


def _told(run: Run[RunFinished], cast: CaseCast, events: list[Event]) -> Run[RunFinished]:
    """The same run; what happens in it is kept, also of one that breaks off."""
    reply: Reply | None = None
    while True:
        try:
            event = run.send(reply)
        except StopIteration as end:
            finished: RunFinished = end.value
            return finished
        events.append(event)
        cast.heard(event)
        reply = yield event
        if reply is not None:
            events.append(reply)


def _placed(loaded: LoadedPlaybook, broken: StoryError) -> str:
    place = place_of(loaded, broken.step, broken.part, broken.call)
    return f"{':'.join(map(str, place))}: {broken}" if place else str(broken)


def asked_steps(events: Iterable[Event]) -> frozenset[str]:
    """Every step that a target or a person was asked."""
    calls = {event.step for event in events if isinstance(event, CallRequested) and event.request is not None}
    return frozenset(calls | {event.id for event in events if isinstance(event, QuestionRequested)})


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
    recorded = {name: value for name, value in kept.get("inputs", {}).items() if name not in case.inputs}
    open_ones = {name: each for name, each in playbook.inputs.items() if name not in recorded}
    rest = playbook.model_copy(update={"inputs": open_ones})
    inputs = {**resolve_inputs(rest, dict(case.inputs), kept.get("pace", 1.0)), **recorded}
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
