"""Everything that can happen in a run, as data. Pure.

Naming law: `…Requested` waits for a reply; every other event is a fact in the past tense, and the fact that follows a
request contains the reply. The journal holds nothing but these, so resuming is replaying. Event kinds and their fields
are public: additions only.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

Json = Any
Outcome = Literal[
    "healthy",
    "fixed",
    "diagnosed",
    "inconclusive",
    "not_fixed",
    "relapsed",
    "undone",
    "refused",
    "unknown",
    "interrupted",
    "error",
]


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first record: all that a replay needs beside the replies."""

    run: str
    playbook: str
    digest: str
    text: str
    path: str
    libraries: Mapping[str, str]  # path -> text
    inputs: Mapping[str, Json]
    environment: str
    targets: Mapping[str, str]  # name -> kind, of the environment, no settings
    policy: Mapping[str, Json]
    baselines: Mapping[str, Json]
    history: tuple[Mapping[str, Json], ...]
    pace: float
    budget: float
    mode: Literal["run", "plan", "diagnose", "symptoms", "undo"]
    engine: str
    at: float = 0.0
    wall: float = 0.0
    by: str = ""
    follows: str = ""  # the run this one continues or undoes
    undo: tuple[Mapping[str, Json], ...] = ()  # rendered acts of `follows`, last first
    repeat: str = ""  # the words that would run it again: `queue-backlog -i queue=email --env staging`
    where: str = ""  # the part of them that says where: ` --env staging`
    places: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)  # of a target: host, port, url


@dataclass(frozen=True, slots=True)
class RunResumed:
    """Another process goes on. Records after number `kept` are void: a consent that was not acted on, for instance."""

    kept: int
    at: float
    wall: float
    by: str = ""


@dataclass(frozen=True, slots=True)
class CallRequested:
    """One request to one target. For a write this is the intent: it is durable before the first byte leaves."""

    id: str  # step/attempt/sample
    step: str
    title: str
    executor: str
    target: str
    overrides: Mapping[str, Json]  # settings of a derived target
    mode: Literal["read", "write"]
    effect: str
    request: Json
    bindings: Mapping[str, Json] = field(default_factory=dict)
    idents: Mapping[str, str] = field(default_factory=dict)
    autocommit: bool = False
    deadline: float = 10.0
    affected: int | None = None
    expect: Mapping[str, Json] | None = None  # identity that the gate showed
    undo: Mapping[str, Json] | None = None  # the rendered way back, stored with the intent
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class CallStarted:
    """Reply to CallRequested, at once."""

    id: str
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class WaitRequested:
    """Wait for one of these calls, or for `seconds`, or for the end of the budget, whichever is first."""

    ids: tuple[str, ...]
    seconds: float | None = None
    budget: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class CallFinished:
    """`error` is set when the target, its connection or the engine failed.

    `happened` says whether a write took place, as far as that is known. `dropped`: the step is sensitive and its answer
    was not written down; where such a record is read again, `answer` holds the `facts` and `unknown` taken from it.
    """

    id: str
    at: float
    wall: float
    answer: Json = None
    error: Mapping[str, Json] | None = None  # code, message
    made_by: Literal["target", "engine"] = "target"  # who made the error
    happened: Literal["yes", "no", "unknown"] = "yes"
    identity: Mapping[str, Json] | None = None  # name, facts
    seconds: float = 0.0
    dropped: bool = False


@dataclass(frozen=True, slots=True)
class WaitElapsed:
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class BudgetSpent:
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class Interrupted:
    """A person pressed Ctrl-C (once 1, twice 2, three times 3) or the system asked us to end (SIGTERM counts as 2)."""

    level: int
    at: float
    wall: float
    signal: str = "SIGINT"


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Cancel a call in flight; answered by its CallFinished within two seconds, whatever the target does."""

    id: str


@dataclass(frozen=True, slots=True)
class CallAbandoned:
    """Nobody waits for this read any more. The driver cancels it and drops its late result."""

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class StepFinished:
    """A probe delivered its facts, or says why it could not."""

    step: str
    section: Literal["symptoms", "diagnosis"]
    title: str
    target: str
    facts: Mapping[str, Json]
    unknown: Mapping[str, str]
    error: Mapping[str, Json] | None
    skipped: str = ""  # why it did not run: when, budget
    seconds: float = 0.0
    again: bool = False  # asked again for a guard or a verification


@dataclass(frozen=True, slots=True)
class SymptomsJudged:
    """`present` and `recovering` are true, false or None for unknown."""

    symptoms: tuple[Mapping[str, Json], ...]  # id, title, present, recovering, because
    after: Literal["symptoms", "fix"] = "symptoms"


@dataclass(frozen=True, slots=True)
class CausesRanked:
    """Best first, each with verdict, score, evidence for and against, explained_by, fix."""

    causes: tuple[Mapping[str, Json], ...]
    unchecked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuestionRequested:
    id: str
    question: str
    type: str
    enum: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class QuestionAnswered:
    """`value` is None when nobody could answer; `how` says whether it was typed or given on the command line."""

    id: str
    value: Json
    how: Literal["typed", "given", "nobody", "interrupted"]
    by: str
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class GateRequested:
    """Consent is asked for exactly this. `digest` binds the answer to what was shown."""

    id: str
    action: str
    title: str
    about: str
    effect: str
    declared: bool  # the effect is the author's word, the engine cannot see it
    cause: str
    identity: Mapping[str, Json]
    requests: tuple[str, ...]
    impact: str
    count: float | None
    items: tuple[str, ...]
    total: int | None
    undo: str
    word: str  # what must be typed; empty for y/N
    second_person: bool
    digest: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """`plan` is the answer to every gate of a planned run: it would run."""

    id: str
    digest: str
    verdict: Literal["yes", "no", "none", "plan", "interrupted"]
    by: str
    how: str
    at: float
    wall: float


@dataclass(frozen=True, slots=True)
class GuardChecked:
    """What was shown is asked again, right before the act."""

    action: str
    holds: bool | None
    because: str
    count: float | None
    refused: str = ""


@dataclass(frozen=True, slots=True)
class VerificationProgressed:
    """One look at `until`; `phase` says whether we wait for it or watch whether it stays."""

    action: str
    phase: Literal["until", "hold"]
    holds: bool | None
    because: str
    remaining: float


@dataclass(frozen=True, slots=True)
class ActionProgressed:
    action: str
    says: str


@dataclass(frozen=True, slots=True)
class ActionFinished:
    """The end of one action, as the JSON contract has it."""

    id: str
    title: str
    effect: str
    decision: Mapping[str, Json]
    status: Literal["done", "failed", "skipped", "refused", "unknown", "undone"]
    reason: str
    impact: str
    items: tuple[Json, ...]
    verified: bool | None
    held: bool | None
    affected: float | None = None
    target: str = ""


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The last record. `next` are commands worth typing now."""

    outcome: Outcome
    exit_code: int
    reason: str
    next: tuple[str, ...] = ()
    at: float = 0.0


Request = CallRequested | WaitRequested | CancelRequested | QuestionRequested | GateRequested
WaitReply = CallFinished | WaitElapsed | BudgetSpent | Interrupted
Reply = CallStarted | CallFinished | WaitElapsed | BudgetSpent | Interrupted | QuestionAnswered | GateAnswered
Fact = (
    RunStarted
    | RunResumed
    | CallAbandoned
    | StepFinished
    | SymptomsJudged
    | CausesRanked
    | GuardChecked
    | VerificationProgressed
    | ActionProgressed
    | ActionFinished
    | RunFinished
)
Event = Request | Reply | Fact

KINDS: Mapping[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        *Request.__args__,
        *Reply.__args__,
        *Fact.__args__,
    )
}
_FIELDS: Mapping[type[Any], tuple[str, ...]] = {
    kind: tuple(item.name for item in fields(kind)) for kind in KINDS.values()
}


def kind_of(event: Event) -> str:
    """The name under which an event stands in the journal."""
    return type(event).__name__


def without_own_ids(run: str, text: str) -> str:
    """Ids that a run makes for its calls, a canary's key for instance, do not make a request another question."""
    return re.sub(rf"{re.escape(run)}-[A-Za-z0-9_-]+", "call", text)


def with_taken_facts(events: Sequence[Event]) -> list[Event]:
    """Recorded events, each answer that was dropped replaced by the facts that were taken from it right after."""
    filled = list(events)
    for place, (event, following) in enumerate(itertools.pairwise(events)):
        if isinstance(event, CallFinished) and event.dropped and isinstance(following, StepFinished):
            taken = {"facts": dict(following.facts), "unknown": dict(following.unknown)}
            filled[place] = replace(event, answer=taken)
    return filled


def encode(event: Event) -> dict[str, Json]:
    """Plain JSON of an event, without its kind. Its parts are shared with the event: nobody may change them."""
    return {name: getattr(event, name) for name in _FIELDS[type(event)]}


def decode(kind: str, data: Mapping[str, Json]) -> Event:
    """The event that `encode` gave. Fields of a newer engine are left out."""
    shape = KINDS[kind]
    known = {item.name: item for item in fields(shape)}
    event: Event = shape(
        **{name: _restore(str(known[name].type), value) for name, value in data.items() if name in known}
    )
    return event


def _restore(annotation: str, value: Json) -> Json:
    return tuple(value) if annotation.startswith("tuple") and isinstance(value, list) else value
