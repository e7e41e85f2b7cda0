"""Who answers in a test: its own replies first, then who is away, what all tests share, and what was recorded. Pure.

A step that is asked and nobody answers fails the test: nothing passes in silence.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field, ValidationError

from .cases import Case, Replies, StoryError
from .cassette import Cassette
from .events import CallRequested, Event, GateRequested, GuardChecked, QuestionRequested
from .model import Authored
from .recorded import compare, unanswered
from .rehearsal import Line

Json = Any
REFUSED = {"code": "refused", "message": "connection refused"}
LINE_KEYS = frozenset({"answer", "error", "seconds", "happened", "made_by", "identity"})


@dataclass(slots=True)
class CaseCast:
    """Answers for one test: its own replies first, then what is shared, then the cassette."""

    case: Case
    shared: Replies
    cassette: Cassette | None
    planned: bool = False
    manual: frozenset[str] = frozenset()  # actions that a person does: no call tells when they were done
    digest: str = ""  # of the playbook as it is now
    done: list[str] = field(default_factory=list)  # actions that were carried out, newest first
    confirmed: list[str] = field(default_factory=list)  # actions whose gate was answered with yes, newest first
    writes: Counter[str] = field(default_factory=Counter)  # of each step, for replies that are lists
    turns: dict[int, dict[str, int]] = field(default_factory=dict)  # of each reply in turn: attempts, first to last

    def call(self, request: CallRequested) -> Line:
        if request.request is None:
            return Line()  # only who answers is asked
        line = _within_limit(request, self._line(request))
        if request.mode == "write" and line.error is None:
            self.done.insert(0, request.step)
        return line

    def heard(self, event: Event) -> None:
        """Every event of the run passes by: the second look at what a person does is what comes right before it."""
        if isinstance(event, GuardChecked) and not event.refused and event.action in self.manual:
            self.done.insert(0, event.action)

    def _line(self, request: CallRequested) -> Line:
        """Newest first: what the test says, who is away, what all tests share, what was recorded."""
        own = [self.case.after.get(action, {}) for action in self.done]
        own += [self.case.meanwhile.get(action, {}) for action in self.confirmed]
        own.append(self.case.replies)
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
            raise unanswered(self.cassette, request, self.digest)
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
            return self._never_sent(request)
        compare(self.cassette, recorded, request)
        return recorded.line

    def _never_sent(self, request: CallRequested) -> Line | None:
        """A further sample that was due when the recorded run had heard enough: as little is heard of it here."""
        assert self.cassette is not None
        first, _, number = request.id.rpartition("/")
        further = request.mode == "read" and number.isdecimal() and int(number) > 1
        return Line(seconds=math.inf) if further and f"{first}/1" in self.cassette.calls else None

    def gate(self, gate: GateRequested) -> Literal["yes", "no", "none", "plan"]:
        if self.planned:
            return "plan"
        kept = self.cassette.gates.get(gate.action, "none") if self.cassette else "none"
        verdict = self.case.gates.get(gate.action, kept)
        if verdict == "yes":
            self.confirmed.insert(0, gate.action)
        return verdict

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


def _within_limit(request: CallRequested, line: Line) -> Line:
    """What every executor does: more than the limit is not touched, or rolled back."""
    touched = line.answer.get("affected") if isinstance(line.answer, dict) and line.error is None else None
    if request.mode != "write" or request.affected is None or touched is None or touched <= request.affected:
        return line
    said = f"it would have touched {touched:g}, and the limit is {request.affected}"
    return replace(line, answer=None, error={"code": "limit", "message": said}, made_by="engine", happened="no")


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
