"""The person of a run: the terminal, and what was approved or answered on this very command line.

No terminal and no approval is no consent. What the policy does not let anybody approve in advance stays unapproved.
"""

from __future__ import annotations

import getpass
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Literal

from .errors import UsageError
from .events import GateRequested, QuestionRequested
from .executor import Effect
from .policy import Policy, covered_in_advance
from .prompt import Terminal, ask_gate, ask_question, open_tty
from .units import parse_duration

Json = Any
Verdict = Literal["yes", "no", "none", "plan", "interrupted"]
NO_SECOND_PERSON = "a second person has to approve this in production, and this version cannot ask one"


@dataclass(slots=True)
class CommandLine:
    """Answers gates and questions for `run`, `resume` and `undo`.

    `exclusive` is entered before a yes, for the targets of its gate: two people do not act on one target at once.

    `seen` makes sure that the gate stands on the terminal that is asked, wherever the screen itself goes.
    """

    policy: Policy
    approved: frozenset[str] = frozenset()
    yes: bool = False
    planned: bool = False
    answers: Mapping[str, str] = field(default_factory=dict)
    exclusive: Callable[[ExitStack, frozenset[str]], None] = lambda stack, targets: None
    stack: ExitStack = field(default_factory=ExitStack)
    terminal: Callable[[], Terminal | None] = open_tty
    seen: Callable[[GateRequested, Terminal], None] = lambda gate, terminal: None  # draws a gate nobody could see
    locked: set[str] = field(default_factory=set)  # targets that are ours until the run ends

    def consent(self, gate: GateRequested) -> tuple[Verdict, str, str]:
        if self.planned:
            return "plan", user(), "--plan"
        if gate.second_person:
            return "none", user(), NO_SECOND_PERSON
        verdict, by, how = self._in_advance(gate) or self._typed(gate)
        targets = frozenset(gate.identity) - self.locked
        if verdict == "yes" and targets:
            try:
                self.exclusive(self.stack, targets)
            except UsageError as error:
                return "none", by, str(error)
            self.locked |= targets
        return verdict, by, how

    def _in_advance(self, gate: GateRequested) -> tuple[Verdict, str, str] | None:
        named = gate.action in self.approved
        if not covered_in_advance(Effect[gate.effect], named, self.yes, self.policy):
            return None
        return "yes", user(), f"--approve {gate.action}" if named else "--yes"

    def _typed(self, gate: GateRequested) -> tuple[Verdict, str, str]:
        terminal = self.terminal()
        if terminal is None:
            return "none", user(), self._nobody(gate)
        with terminal:
            self.seen(gate, terminal)
            verdict, how = ask_gate(gate, terminal)
        return verdict, user(), how

    def _nobody(self, gate: GateRequested) -> str:
        if gate.action in self.approved or not covered_in_advance(Effect[gate.effect], True, False, self.policy):
            return f"no terminal, and a {gate.effect} action cannot be approved in advance here"
        return f"no terminal to confirm on; `--approve {gate.action}` would approve it where that is allowed"

    def answer(
        self, question: QuestionRequested
    ) -> tuple[Json, Literal["typed", "given", "nobody", "interrupted"], str]:
        if question.id in self.answers:
            return typed_answer(question, self.answers[question.id]), "given", user()
        terminal = self.terminal()
        if terminal is None:
            return None, "nobody", ""
        with terminal:
            value = ask_question(question.question, question.type, question.enum, terminal)
            if value is None:
                return None, "interrupted" if terminal.interrupted else "nobody", user()
        return value, "typed", user()


def typed_answer(question: QuestionRequested, text: str) -> Json:
    """The value of `--answer id=value`, by the question's type."""
    try:
        match question.type:
            case "integer":
                return int(text)
            case "number":
                return float(text)
            case "duration":
                return parse_duration(text)
            case "boolean":
                return {"yes": True, "true": True, "no": False, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise UsageError(f"--answer {question.id}={text!r} is not a {question.type}") from None
    if question.enum and text not in question.enum:
        raise UsageError(f"--answer {question.id}={text!r} is not one of {', '.join(question.enum)}")
    return text


def user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
