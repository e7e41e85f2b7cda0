"""What must be true of every run, judged by its events alone: nothing of the interpreter is used here. Pure.

The journal of a real run holds the same events, so what is demanded here can be demanded of it, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..events import (
    ActionFinished,
    CallFinished,
    CallRequested,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    Interrupted,
    RunFinished,
    RunStarted,
    StepFinished,
    SymptomsJudged,
    VerificationProgressed,
)
from ..executor import Call, Effect, Executor, least_declarable
from ..model import Action, Playbook
from ..policy import Policy, consent_for, forbidden, needs_second_person

Json = Any
GATED = "nothing is changed without the gate that the environment wants"
GUARDED = "right before a change its guard holds"
VERIFIED = "every change is verified, or the run says that it was not"
UNKNOWN = "after a change whose result nobody knows nothing more is sent, and the run ends unknown"
UNDOABLE = "undo exists where it is promised: a change leaves with its way back"
BOUND = "every name is bound"
READS = "a diagnosis only reads"
ENDS = "every run ends with an outcome that its events bear out"
CLAIMS = (GATED, GUARDED, VERIFIED, UNKNOWN, UNDOABLE, BOUND, READS, ENDS)
_UNBOUND = re.compile(r"'([^']+)' is not known here")
LOOKING = frozenset({"plan", "diagnose", "symptoms"})


@dataclass(frozen=True, slots=True)
class Breach:
    """A claim that a run broke, at which action or step."""

    claim: str
    what: str
    step: str = ""


@dataclass(slots=True)
class Judge:
    """Reads the events of one run in their order."""

    playbook: Playbook
    executors: Mapping[str, Executor]
    policy: Policy
    mode: str = "run"
    gates: dict[str, GateRequested] = field(default_factory=dict)  # by id
    consent: dict[str, GateRequested] = field(default_factory=dict)  # by action: said yes to, and still good
    guarded: set[str] = field(default_factory=set)
    sent: dict[str, CallRequested] = field(default_factory=dict)  # writes by call id
    unverified: dict[str, str] = field(default_factory=dict)  # action, or its undo -> the last request of it
    open_: set[str] = field(default_factory=set)  # writes whose end nobody has seen, or whose end is unknown
    interrupted: bool = False
    finished: dict[str, ActionFinished] = field(default_factory=dict)
    symptoms: SymptomsJudged | None = None

    def breaches(self, events: Sequence[Event]) -> Iterator[Breach]:
        for event in events:
            yield from self._one(event)
            for name in _UNBOUND.findall(str(getattr(event, "unknown", "")) + str(getattr(event, "reason", ""))):
                yield Breach(BOUND, f"{name!r} is not known where it is read", getattr(event, "step", ""))
        if not events or not isinstance(events[-1], RunFinished):
            yield Breach(ENDS, "it has no end")

    def _one(self, event: Event) -> Iterator[Breach]:
        match event:
            case RunStarted():
                self.mode = event.mode
            case GateRequested():
                self.gates[event.id] = event
            case GateAnswered():
                self._answered(event)
            case GuardChecked():
                (self.guarded.add if event.holds and not event.refused else self.guarded.discard)(event.action)
            case CallRequested(mode="write"):
                yield from self._write(event)
            case CallRequested():
                yield from self._read(event)
            case CallFinished():
                self._ended(event)
            case VerificationProgressed():
                self.unverified.pop(event.action, None)
            case SymptomsJudged(after="fix"):
                self.symptoms = event
                self.unverified = {name: left for name, left in self.unverified.items() if name.endswith(":undo")}
            case Interrupted():
                self.interrupted = True
            case ActionFinished():
                yield from self._action(event)
            case RunFinished():
                yield from self._end(event)
            case StepFinished():
                pass

    def _answered(self, answer: GateAnswered) -> None:
        gate = self.gates.get(answer.id)
        self.interrupted = self.interrupted or answer.verdict == "interrupted"
        if gate is None:
            return
        self.consent.pop(gate.action, None)
        if answer.verdict == "yes" and answer.digest == gate.digest:
            self.consent[gate.action] = gate

    def _write(self, request: CallRequested) -> Iterator[Breach]:
        name, _, back = request.step.partition(":")
        if self.open_:
            yield Breach(UNKNOWN, f"{request.id} is sent while nobody knows what became of {min(self.open_)}", name)
        gate = self.consent.get(request.step) or (self._announced(name) if back else None)
        if self.mode in LOOKING:
            yield Breach(GATED, f"{request.id} is sent by a run that only looks ({self.mode})", name)
        if gate is None:
            yield Breach(GATED, f"{request.id} is sent, and nobody said yes to it", name)
        else:
            yield from (Breach(GATED, what, name) for what in self._not_covered(request, gate, bool(back)))
        action = self._action_of(name)
        if action is not None and not back:
            if action.guard is not None and name not in self.guarded:
                yield Breach(
                    GUARDED, f"{request.id} is sent, and its guard was not seen to hold after the consent", name
                )
            if _has_way_back(action, request) and request.undo is None:
                yield Breach(UNDOABLE, f"{request.id} leaves without its way back", name)
        self.sent[request.id] = request
        self.open_.add(request.id)

    def _announced(self, action: str) -> GateRequested | None:
        """The gate of an action has shown its undo: a part that fails takes the parts before it back."""
        gate = self.consent.get(action)
        return gate if gate is not None and gate.undo else None

    def _not_covered(self, request: CallRequested, gate: GateRequested, back: bool) -> Iterator[str]:
        """In what the consent falls short of what is sent."""
        effect = max(Effect[request.effect], self._seen(request))
        known = Effect[gate.effect]
        shown = self._shown(request)
        if known < effect:
            yield f"its gate said {known.name}, and it is {effect.name}"
        if consent_for(effect, self.policy) == "type" and not gate.word:
            yield f"{effect.name} wants a word to be typed, and y was enough"
        if needs_second_person(effect, self.policy) and not gate.second_person:
            yield f"{effect.name} wants a second person here"
        if not (back and gate.action == request.step.partition(":")[0]) and shown not in gate.requests:
            yield f"its gate did not show {shown!r}"
        identity = gate.identity.get(request.target)
        if not back and (identity is None or request.expect != identity["facts"]):
            yield f"it goes to {request.target} without a check that it is whom the gate showed"
        if reason := forbidden(self.playbook.name, request.step, effect, self.policy):
            yield f"it is sent, and {reason}"

    def _seen(self, request: CallRequested) -> Effect:
        """The least effect that the executor sees in what is really sent."""
        executor = self.executors[request.executor]
        return least_declarable(executor, executor.Params.model_validate(request.request))[0]

    def _shown(self, request: CallRequested) -> str:
        call = Call(
            id=request.id.rpartition("/")[0],
            request=request.request,
            bindings=request.bindings,
            idents=request.idents,
            autocommit=request.autocommit,
            deadline=request.deadline,
        )
        return f"{request.target}: {self.executors[request.executor].show(call)}"

    def _read(self, request: CallRequested) -> Iterator[Breach]:
        if request.request is not None and max(Effect[request.effect], self._seen(request)) > Effect.touch:
            yield Breach(READS, f"{request.id} is sent as a read and can change something", request.step)

    def _ended(self, finished: CallFinished) -> None:
        request = self.sent.get(finished.id)
        if request is None:
            return
        if finished.happened != "unknown":
            self.open_.discard(finished.id)
        if finished.happened == "yes" and finished.error is None:
            self.unverified[request.step] = finished.id

    def _action(self, finished: ActionFinished) -> Iterator[Breach]:
        self.finished[finished.id] = finished
        action = self._action_of(finished.id)
        left = self.unverified.pop(finished.id, None)
        back = self.unverified.pop(f"{finished.id}:undo", None)
        if left and finished.status in ("done", "undone") and not self.interrupted:
            yield Breach(VERIFIED, f"{left} changed something, and nobody looked whether it worked", finished.id)
        if back and finished.status == "undone" and action is not None and _proved_back(action):
            yield Breach(VERIFIED, f"{back} was sent, and nobody looked whether it is undone", finished.id)
        if finished.verified and finished.status == "failed":
            yield Breach(VERIFIED, "it failed, and says that it was verified", finished.id)

    def _end(self, end: RunFinished) -> Iterator[Breach]:
        if self.open_ and end.outcome not in ("unknown",):
            yield Breach(UNKNOWN, f"the run ends {end.outcome!r}, and nobody knows what became of {min(self.open_)}")
        if (
            not self.open_
            and end.outcome == "unknown"
            and all(each.status != "unknown" for each in self.finished.values())
        ):
            yield Breach(ENDS, "it ends unknown, and nothing is")
        if end.outcome == "fixed" and not self._gone():
            yield Breach(ENDS, "it says fixed, and its symptoms were not seen to be gone")
        if end.outcome in ("healthy", "fixed") and end.exit_code != 0:
            yield Breach(ENDS, f"{end.outcome} ends with exit code {end.exit_code}")
        if end.outcome not in ("healthy", "fixed", "undone") and end.exit_code == 0:
            yield Breach(ENDS, f"{end.outcome} ends with exit code 0")
        yield from self._hint(end)

    def _gone(self) -> bool:
        judged = self.symptoms.symptoms if self.symptoms is not None else ()
        return bool(judged) and all(each["present"] is False or each["recovering"] for each in judged)

    def _hint(self, end: RunFinished) -> Iterator[Breach]:
        """Who leaves something changed says how it is taken back."""
        stored = [
            request for request in self.sent.values() if request.undo is not None and request.id not in self.open_
        ]
        left = [each.id for each in self.finished.values() if each.status == "done" and each.affected != 0]
        changed = [request.id for request in stored if request.step in left]
        if (
            changed
            and end.outcome in ("not_fixed", "relapsed")
            and not any("runbook undo" in line for line in end.next)
        ):
            yield Breach(UNDOABLE, f"{changed[0]} stays as it is, and the end does not say how to take it back")

    def _action_of(self, name: str) -> Action | None:
        return next((action for action in self.playbook.resolution if action.id == name), None)


def _has_way_back(action: Action, request: CallRequested) -> bool:
    """Whether this request of an action is one whose undo is written down."""
    part = request.id.split("/")[1]
    for place, step in enumerate(action.steps):
        if step.id == part:
            return step.undo is not None or (place == 0 and action.undo is not None)
    return action.undo is not None


def _proved_back(action: Action) -> bool:
    return any(undo is not None and undo.verify is not None for undo in (action.undo, *(s.undo for s in action.steps)))
