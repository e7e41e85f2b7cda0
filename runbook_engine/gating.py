"""Draws a gate and takes the answer to it: who answers, what exactly would be sent, how much it touches. Pure."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from .calling import read
from .events import GateAnswered, GateRequested
from .executor import Effect
from .model import Action, Undo
from .planning import Plan
from .policy import consent_for, needs_second_person
from .probing import replied
from .state import PROBE_DEADLINE, Run, State, text

Json = Any
SHOWN_ITEMS = 10


@dataclass(frozen=True, slots=True)
class Resolved:
    """How a run ends, before it is said."""

    outcome: str
    reason: str
    exit_code: int | None = None
    next: tuple[str, ...] = ()


def ask_consent(
    state: State, action: Action | Undo, plan: Plan, effect: Effect, declared: bool, because: str
) -> Run[GateAnswered]:
    """Ask for consent to exactly this plan, on exactly these targets, which `meet` has met."""
    scope = state.scope()
    identity = {target: state.identities[target] for target in plan.targets()}
    state.confirmed = dict(identity)
    word = plan.word() if consent_for(effect, state.policy) == "type" else ""
    shown: dict[str, Json] = {"requests": plan.requests(state), "identity": identity, "items": list(plan.items)}
    digest = "sha256:" + hashlib.sha256(json.dumps(shown, sort_keys=True, default=str).encode()).hexdigest()
    reply = yield GateRequested(
        id=f"{plan.id}/{state.attempt('gate:' + plan.id)}",
        action=plan.id,
        title=plan.title,
        about=text(action.about, scope) if isinstance(action, Action) and action.about else "",
        effect=effect.name,
        declared=declared,
        cause=because,
        identity=identity,
        requests=tuple(plan.requests(state)),
        impact=plan.impact,
        count=plan.count,
        items=tuple(str(item) for item in plan.items[:SHOWN_ITEMS]),
        total=len(plan.items) if plan.items else None,
        undo=plan.undo_text(state, action.snapshot if isinstance(action, Action) else ()),
        word=word,
        second_person=needs_second_person(effect, state.policy),
        digest=digest,
    )
    answer = replied(state, reply)
    assert isinstance(answer, GateAnswered)
    return answer if answer.digest == digest else replace(answer, verdict="none", how="it was given for something else")


def meet(state: State, plan: Plan) -> Run[str]:
    """Ask each target that no probe has spoken to who it is. Why that failed, or nothing when all have answered.

    Nobody can consent to acting on somebody who was not seen.
    """
    for target in plan.targets():
        if target in state.identities:
            continue
        first = next(act.rendered for act in plan.acts if act.rendered.target == target)
        asked = replace(first, request=None, bindings={}, idents={}, deadline=PROBE_DEADLINE)
        number = state.attempt(f"who:{plan.id}/{target}")
        call_id = f"{plan.id}/who-{target}/{number}"
        finished = yield from read(state, call_id, plan.id, f"who answers at {target}", asked)
        if target not in state.identities:
            said = finished.error["message"] if finished.error else "it does not say who it is"
            return f"{target} cannot be acted on: {said}"
    return ""
