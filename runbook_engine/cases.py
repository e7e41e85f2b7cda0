"""Tests of a playbook, written beside it: who answers what, and what must come of it. Pure: touches no target.

A `cases:` file names its playbook, gives replies by step, and a list of tests. A step that a test asks and nobody
answers fails it: nothing passes in silence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from . import __version__
from .cassette import Cassette, changed_since, question_of, ranking_of
from .coverage import targets_of
from .errors import RunbookError
from .events import CallRequested, Event, GateRequested, QuestionRequested, RunStarted, encode, kind_of
from .executor import Executor
from .interpreter import interpret
from .loader import LoadedPlaybook
from .loading.inputs import resolve_inputs
from .model import Authored, Identifier, Text
from .policy import Policy
from .rehearsal import Line, rehearse
from .report import fold

Json = Any
WALL = 1_800_000_000.0  # 2027-01-15 08:00 UTC: the moment of every rehearsal that has no recorded one
REFUSED = {"code": "refused", "message": "connection refused"}
LINE_KEYS = frozenset({"answer", "error", "seconds", "happened", "made_by", "identity"})
Verdict = Literal["confirmed", "suspected", "possible", "refuted", "explained"]
Replies = dict[str, Json]


class Expectation(Authored):
    """What must come of it; what is not named may be anything."""

    outcome: str | None = None
    exit_code: int | None = None
    top: str | None = Field(default=None, description="The best cause that is confirmed or suspected")
    causes: dict[str, Verdict] = Field(default_factory=dict)
    present: dict[str, bool | None] = Field(default_factory=dict, description="Symptoms; null: unknown")
    facts: dict[str, Json] = Field(default_factory=dict)
    offered: tuple[str, ...] | None = Field(default=None, description="Actions whose gate was drawn, in order")
    done: tuple[str, ...] | None = None
    unknown: tuple[str, ...] | None = Field(default=None, description="Facts that must be unknown, among others")
    says: tuple[str, ...] = Field(default=(), description="Texts that the reason of the end must contain")

    @model_validator(mode="after")
    def _says_something(self) -> Expectation:
        if not self.model_fields_set:
            raise ValueError("an expectation that expects nothing passes whatever happens. Name the outcome at least")
        return self


class Case(Authored):
    """One test: changes to the shared replies, the person's answers, the expectation."""

    name: Text
    cassette: str | None = Field(default=None, description="A recorded run, beside this file")
    inputs: dict[str, Json] = Field(default_factory=dict)
    mode: Literal["run", "plan", "diagnose"] | None = Field(default=None, description="Default: as recorded, else run")
    replies: Replies = Field(default_factory=dict)
    unreachable: tuple[str, ...] = Field(default=(), description="Targets that refuse every connection")
    after: dict[str, Replies] = Field(default_factory=dict, description="Replies from the moment an action was done")
    places: dict[str, dict[str, Json]] = Field(default_factory=dict, description="host, port or url of targets")
    gates: dict[str, Literal["yes", "no"]] = Field(default_factory=dict)
    answers: dict[str, Json] = Field(default_factory=dict)
    expect: Expectation


class Cases(Authored):
    """A whole `<name>.test.yaml`."""

    cases: Identifier
    replies: Replies = Field(default_factory=dict, description="What each step is answered unless a test changes it")
    targets: dict[str, str] = Field(default_factory=dict, description="Name to kind; default: those of the playbook")
    baselines: dict[str, float] = Field(default_factory=dict)
    tests: tuple[Case, ...] = Field(min_length=1)


class StoryError(RunbookError):
    """The story cannot be told: a step without a reply, a question that has changed since it was recorded."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step = step


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


@dataclass(slots=True)
class CaseCast:
    """Answers for one test: its own replies first, then what is shared, then the cassette."""

    case: Case
    shared: Replies
    cassette: Cassette | None
    planned: bool = False
    done: list[str] = field(default_factory=list)  # actions that were carried out, newest first
    writes: Counter[str] = field(default_factory=Counter)  # of each step, for replies that are lists
    turns: dict[int, dict[str, int]] = field(default_factory=dict)  # of each reply in turn: attempts, first to last

    def call(self, request: CallRequested) -> Line:
        if request.request is None:
            return Line()  # only who answers is asked
        line = self._line(request)
        if request.mode == "write" and line.error is None:
            self.done.insert(0, request.step.partition(":")[0])
        return line

    def _line(self, request: CallRequested) -> Line:
        """Newest first: what the test says, who is away, what all tests share, what was recorded."""
        own = [*(self.case.after.get(action, {}) for action in self.done), self.case.replies]
        return self._told(request, own, lambda: self._away(request))

    def _told(self, request: CallRequested, layers: Sequence[Replies], below: Callable[[], Line]) -> Line:
        """The first of these layers that has a reply; one that only changes something changes what lies below it."""
        place = next((n for n, replies in enumerate(layers) if request.step in replies), None)
        if place is None:
            return below()
        reply = self._one_of(request, self._in_turn(request, layers[place][request.step]))
        if not (isinstance(reply, dict) and reply.keys() == {"change"} and isinstance(reply["change"], dict)):
            return line_of(request.step, reply)
        line = self._told(request, layers[place + 1 :], below)
        return replace(line, answer=changed_answer(request.step, line.answer, reply["change"]))

    def _away(self, request: CallRequested) -> Line:
        if request.target in self.case.unreachable:
            return Line(error=REFUSED, happened="no")
        return self._told(request, [self.shared], lambda: self._recorded(request) or self._unanswered(request))

    def _unanswered(self, request: CallRequested) -> Line:
        if request.mode != "write" or self.cassette is not None:
            raise StoryError(request.step, f"nobody answers step {request.step!r}: give it a reply")
        return Line(answer={})

    def _in_turn(self, request: CallRequested, reply: Json) -> Json:
        """`{in_turn: [first, second]}`: another reply each time the step is asked anew, in the end the last."""
        if not (isinstance(reply, dict) and reply.keys() == {"in_turn"} and isinstance(reply["in_turn"], list)):
            return reply
        asked = self.turns.setdefault(id(reply), {})
        turn = asked.setdefault(request.id.rpartition("/")[0], len(asked))
        return reply["in_turn"][min(turn, len(reply["in_turn"]) - 1)] if reply["in_turn"] else {}

    def _one_of(self, request: CallRequested, reply: Json) -> Json:
        """A list: one reply for each sample of a probe or request of an action, the last for all that follow."""
        if not isinstance(reply, list):
            return reply
        place = self.writes[request.step]
        if request.mode == "write":
            self.writes[request.step] += 1
        else:
            number = request.id.rpartition("/")[2]
            place = int(number) - 1 if number.isdecimal() else 0
        return reply[min(place, len(reply) - 1)] if reply else {}

    def _recorded(self, request: CallRequested) -> Line | None:
        if self.cassette is None:
            return None
        recorded = self.cassette.calls.get(request.id)
        if recorded is None and request.mode == "read":  # another look at something: as it was seen last
            step, _, sample = request.id.rpartition("/")
            earlier = [
                each
                for name, each in self.cassette.calls.items()
                if each.step == request.step and name.rpartition("/")[2] == sample and name.rpartition("/")[0] != step
            ]
            recorded = earlier[-1] if earlier else None
        if recorded is None:
            return None
        changed = changed_since(self.cassette, recorded, request)
        if changed:
            was, now = (shown.get(changed) for shown in (recorded.asked, question_of(request)))
            raise StoryError(
                request.step,
                f"step {request.step!r} asks something else than was recorded ({changed} was {_short(was)}, is "
                f"{_short(now)}): record it again with `runbook run --record`, or give the step a reply",
            )
        return recorded.line

    def gate(self, gate: GateRequested) -> Literal["yes", "no", "none", "plan"]:
        if self.planned:
            return "plan"
        if gate.action in self.case.gates:
            return self.case.gates[gate.action]
        return self.cassette.gates.get(gate.action, "none") if self.cassette else "none"

    def question(self, question: QuestionRequested) -> Json:
        if question.id in self.case.answers:
            return self.case.answers[question.id]
        return self.cassette.answers.get(question.id) if self.cassette else None


def changed_answer(step: str, answer: Json, changes: Mapping[str, Json]) -> Json:
    """The answer with other values where paths such as `row.used` or `queues.0.name` lead."""
    changed = json.loads(json.dumps(answer))
    for path, value in changes.items():
        place, *leading = changed, *str(path).split(".")
        last = leading.pop()
        for part in leading:
            place = place[_key(step, path, place, part)]
        if isinstance(place, dict):
            place[last] = value
        else:
            place[_key(step, path, place, last)] = value
    return changed


def _key(step: str, path: str, place: Json, part: str) -> Any:
    if isinstance(place, dict) and part in place:
        return part
    if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
        return int(part)
    raise StoryError(step, f"the answer of step {step!r} has no {path!r} to change: there is no {part!r}")


class Reply(Authored):
    """A reply that says more than the answer."""

    answer: Json = None
    error: dict[str, str] | None = None
    seconds: float = Field(default=0.05, ge=0, le=86400, allow_inf_nan=False)
    happened: Literal["yes", "no", "unknown"] = "yes"
    made_by: Literal["target", "engine"] = "target"
    identity: dict[str, Json] | None = None


def line_of(step: str, reply: Json) -> Line:
    """`{error: …}` and `{answer: …, seconds: …}` say more than an answer; anything else is the answer."""
    if not (isinstance(reply, dict) and reply and reply.keys() <= LINE_KEYS and reply.keys() & {"answer", "error"}):
        return Line(answer=reply)
    try:
        read = Reply.model_validate(reply)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoryError(step, f"the reply of step {step!r} cannot be read: {where}: {first['msg']}") from None
    if read.error is not None and not {"code", "message"} <= read.error.keys():
        raise StoryError(step, f"the error of step {step!r} needs a code and a message")
    return Line(**read.model_dump())


def _short(value: Json) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}…"


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


def unknown_names(loaded: LoadedPlaybook, cases: Cases) -> Iterator[tuple[str, str]]:
    """Steps, actions, questions, causes and symptoms that the tests name and the playbook does not have."""
    playbook = loaded.playbook
    actions = {action.id for action in playbook.resolution}
    steps = {probe.id for probe in playbook.probes()} | actions
    steps |= {
        step for action in playbook.resolution for step in (*action.snapshot, *(each.id for each in action.steps))
    }
    questions = {probe.id for probe in playbook.probes() if probe.ask}
    known = {
        "step": steps | {f"{each}:undo" for each in steps},
        "action": actions,
        "question": questions,
        "cause": {cause.id for cause in playbook.causes},
        "symptom": {probe.id for probe in playbook.symptoms},
        "target": targets_of(playbook),
    }
    for case in cases.tests:
        expect = case.expect
        named = [("step", name) for replies in (case.replies, *case.after.values()) for name in replies]
        named += [
            ("action", name) for name in (*case.after, *case.gates, *(expect.offered or ()), *(expect.done or ()))
        ]
        named += [("question", name) for name in case.answers]
        named += [("cause", name) for name in (*expect.causes, *([expect.top] if expect.top else []))]
        named += [("symptom", name) for name in expect.present]
        named += [("target", name) for name in case.unreachable]
        yield from ((case.name, f"{kind} {name!r}") for kind, name in named if name not in known[kind])
    yield from (("replies", f"step {name!r}") for name in cases.replies if name not in known["step"])


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
