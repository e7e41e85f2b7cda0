"""Tests of a playbook, written beside it: who answers what, and what must come of it. Pure: touches no target.

A `cases:` file names its playbook, gives replies by step, and a list of tests. `cast.py` answers as they say, and
`playing.py` plays one and compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from .coverage import targets_of
from .errors import RunbookError
from .loader import LoadedPlaybook
from .model import Authored, Identifier, Text

Json = Any
Verdict = Literal["confirmed", "suspected", "possible", "refuted", "explained"]
Replies = dict[str, Json]


class Expectation(Authored):
    """What must come of it; what is not named may be anything."""

    outcome: str | None = None
    exit_code: int | None = None
    top: str | None = Field(default=None, description="The best cause that is confirmed or suspected")
    causes: dict[str, Verdict] = Field(default_factory=dict)
    scores: dict[str, int] = Field(default_factory=dict, description="What causes score, evidence counted")
    impacts: dict[str, str] = Field(default_factory=dict, description="Of actions, as their gates say it")
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
    meanwhile: dict[str, Replies] = Field(
        default_factory=dict, description="Replies from the moment the gate of an action was answered with yes"
    )
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
        "gate": actions | {f"{each}:undo" for each in actions},
        "question": questions,
        "cause": {cause.id for cause in playbook.causes},
        "symptom": {probe.id for probe in playbook.symptoms},
        "target": targets_of(playbook),
    }
    for case in cases.tests:
        expect = case.expect
        told = (case.replies, *case.after.values(), *case.meanwhile.values())
        named = [("step", name) for replies in told for name in replies]
        named += [
            ("action", name) for name in (*case.after, *case.meanwhile, *(expect.offered or ()), *(expect.done or ()))
        ]
        named += [("gate", name) for name in case.gates]
        named += [("question", name) for name in case.answers]
        named += [("cause", name) for name in (*expect.causes, *expect.scores, *([expect.top] if expect.top else []))]
        named += [("action", name) for name in expect.impacts]
        named += [("symptom", name) for name in expect.present]
        named += [("target", name) for name in case.unreachable]
        yield from ((case.name, f"{kind} {name!r}") for kind, name in named if name not in known[kind])
    yield from (("replies", f"step {name!r}") for name in cases.replies if name not in known["step"])
