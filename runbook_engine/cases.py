"""Tests of a playbook, written beside it: who answers what, and what must come of it. Pure: touches no target.

A `cases:` file names its playbook, gives replies by step, and a list of tests. `cast.py` answers as they say, and
`playing.py` plays one and compares.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from .errors import RunbookError
from .events import Outcome
from .model import Authored, Identifier, Text

Json = Any
Verdict = Literal["confirmed", "suspected", "possible", "refuted", "explained"]
Replies = dict[str, Json]


class Expectation(Authored):
    """What must come of it; what is not named may be anything."""

    outcome: Outcome | None = None
    exit_code: int | None = None
    top: str | None = Field(default=None, description="The best cause that is confirmed or suspected")
    causes: dict[str, Verdict] = Field(default_factory=dict)
    scores: dict[str, int] = Field(default_factory=dict, description="What causes score, evidence counted")
    impacts: dict[str, str] = Field(default_factory=dict, description="Of actions, as their gates say it")
    present: dict[str, bool | None] = Field(default_factory=dict, description="Symptoms; null: unknown")
    facts: dict[str, Json] = Field(default_factory=dict)
    offered: tuple[str, ...] | None = Field(
        default=None, description="Actions that were looked at, in order, also skipped ones"
    )
    drawn: tuple[str, ...] | None = Field(default=None, description="Actions whose gate was drawn, in order")
    skipped: tuple[str, ...] | None = Field(default=None, description="Actions that were looked at, and got no gate")
    done: tuple[str, ...] | None = None
    asked: tuple[str, ...] | None = Field(default=None, description="Steps that must be asked, among others")
    not_asked: tuple[str, ...] | None = Field(default=None, description="Steps that must not be asked")
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

    def __init__(self, step: str, message: str, part: str = "request", call: str = "") -> None:
        super().__init__(message)
        self.step = step
        self.part = part  # of the question: where the playbook says it
        self.call = call
