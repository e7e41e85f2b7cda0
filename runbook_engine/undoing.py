"""Undoes what an earlier run changed, from the way back it stored: no request is rendered again. Pure.

It never sends a mask instead of a secret, and calls nothing fixed that was not measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .acting import perform
from .events import ActionFinished
from .executor import Effect
from .gating import Resolved, ask_consent, meet
from .model import Undo
from .planning import MASK, Plan, PlannedAct, raised_effect, undos_of
from .probing import ask
from .resolving import forbidden_undo
from .state import Rendered, Run, State, holds, names_of, unique
from .verifying import verify_undo

Json = Any
# What a restart, an upgrade or a failover changes of a system that is still the same one.
VOLATILE = frozenset({"started", "process_id", "run_id", "redis_version", "version", "role", "standby", "superuser"})
NOT_ASKED: Mapping[str, Json] = {"verdict": "none", "by": "", "how": "not asked"}


@dataclass(frozen=True, slots=True)
class Way:
    """An undo as it stands in the playbook, and what its guard and proof see of the time before."""

    undo: Undo
    before: Mapping[str, Json]
    item: Mapping[str, Json]


def undo_again(state: State) -> Run[Resolved]:
    """One gate for all that is undone, then each act in order, last first; then its proof."""
    acts = tuple(_act(number, stored) for number, stored in enumerate(state.start.undo, 1))
    effect = max(_effect(state, stored) for stored in state.start.undo)
    names = ", ".join(dict.fromkeys(str(stored["action"]) for stored in state.start.undo))
    plan = Plan(
        f"{state.start.undo[0]['action']}:undo", f"undo {names} of {state.start.follows}", acts, "", None, (), None
    )
    ways = [way for stored in state.start.undo for way in _ways(state, stored)]
    refused = _refused(state, effect) or (yield from _not_ready(state, plan, ways))
    if refused or state.level:
        yield _finished(plan, effect, NOT_ASKED, "refused", refused or "interrupted")
        return Resolved("interrupted" if state.level else "refused", refused or "interrupted; nothing was changed")
    return (yield from _confirmed(state, plan, effect, ways, names))


def _confirmed(state: State, plan: Plan, effect: Effect, ways: list[Way], names: str) -> Run[Resolved]:
    bare = Undo(executor=plan.acts[0].rendered.executor, request=plan.acts[0].rendered.request, effect=effect.name)
    answer = yield from ask_consent(state, bare, plan, effect, False, f"undo of {state.start.follows}")
    said = answer.verdict if answer.verdict in ("yes", "no") else "none"
    decision = {"verdict": said, "by": answer.by, "how": answer.how}
    if answer.verdict != "yes":
        yield _finished(plan, effect, decision, "refused", answer.how)
        if answer.verdict == "interrupted":
            state.signal = answer.how
            return Resolved("interrupted", "interrupted at the gate; nothing was changed")
        declined = answer.verdict == "no"
        return Resolved("refused", "the undo was not confirmed; nothing was changed", 1 if declined else None)
    refused = yield from _does_not_fit(state, ways)
    if refused or state.level:
        yield _finished(plan, effect, decision, "refused", refused or "interrupted")
        return Resolved("interrupted" if state.level else "refused", refused or "interrupted; nothing was changed")
    return (yield from _carried_out(state, bare, plan, effect, ways, names, decision))


def _carried_out(
    state: State,
    bare: Undo,
    plan: Plan,
    effect: Effect,
    ways: list[Way],
    names: str,
    decision: Mapping[str, Json],
) -> Run[Resolved]:
    acted = yield from perform(state, bare, plan, effect)
    if acted.status == "not_happened":  # a person says so: its consent was used up
        return (yield from undo_again(state))
    if acted.status != "done":
        status = "failed" if acted.status == "interrupted" else acted.status
        yield _finished(plan, effect, decision, status, acted.reason)
        return Resolved("not_fixed" if acted.status == "failed" else acted.status, acted.reason)
    proofs = [way for way in ways if way.undo.verify is not None]
    if not proofs or state.level:
        reason = f"{names} was undone; nothing was measured" + ("" if proofs else ", as its undo has no `verify`")
        yield _finished(plan, effect, decision, "done", reason)
        return Resolved("interrupted", reason) if state.level else Resolved("undone", reason, 0)
    proved, because = yield from _proved(state, plan.id, proofs)
    reason = f"{names} was undone" if proved else f"the undo of {names} was sent, but not proved: {because}"
    yield _finished(plan, effect, decision, "done", reason, proved)
    return Resolved("interrupted" if state.level else "fixed" if proved else "not_fixed", reason)


def _refused(state: State, effect: Effect) -> str:
    """Why these undos may not be sent at all."""
    for stored in state.start.undo:
        sent = json.dumps([stored[part] for part in ("request", "bindings", "idents", "overrides")], default=str)
        if MASK.search(sent):
            return "its stored undo holds a masked value: undo it by hand"
    actions = dict.fromkeys(str(stored["action"]) for stored in state.start.undo)
    return next((why for action in actions if (why := forbidden_undo(state, action, effect))), "")


def _not_ready(state: State, plan: Plan, ways: list[Way]) -> Run[str]:
    """Meet the targets and ask what guards and proofs mention, with all that their probes wait for."""
    absent = (yield from meet(state, plan)) or _elsewhere(state)
    if absent or state.level:
        return absent
    untils = (way.undo.verify.until for way in ways if way.undo.verify)
    wanted = {probe.id for probe in state.owners(names_of(*(way.undo.guard for way in ways), *untils))}
    while more := {need for probe in wanted for need in state.needs.get(probe, frozenset())} - wanted:
        wanted |= more
    yield from ask(state, [probe for probe in state.playbook.probes() if probe.id in wanted])
    return "" if state.level else _unfit(state, ways)


def _elsewhere(state: State) -> str:
    """Two systems may bear the same name: what was changed is undone where it was changed, or not at all."""
    for stored in state.start.undo:
        now = state.identities[stored["target"]]["facts"]
        for name, value in (stored.get("changed") or {}).items():
            if name not in VOLATILE and now.get(name) != value:
                was = f"{name} was {value!r}, is {now.get(name)!r}"
                return f"{stored['target']} is not what {state.start.follows} changed: {was}; nothing was changed"
    return ""


def _does_not_fit(state: State, ways: list[Way]) -> Run[str]:
    """The second look, right before the act."""
    guards = state.owners(names_of(*(way.undo.guard for way in ways)))
    yield from ask(state, [probe for probe in guards if probe.ask is None], again=True, single=True)
    return "" if state.level else _unfit(state, ways)


def _unfit(state: State, ways: list[Way]) -> str:
    for way in ways:
        fits, because = holds(way.undo.guard, state.scope(before=dict(way.before), **way.item))
        if not fits:
            said = "does not hold" if fits is False else "could not be established"
            return f"the guard of the undo {said}: {because}; nothing was changed"
    return ""


def _proved(state: State, name: str, proofs: list[Way]) -> Run[tuple[bool, str]]:
    for way in unique(proofs):
        proved, because = yield from verify_undo(state, name, (way.undo,), way.before)
        if not proved:
            return False, because
    return True, ""


def _ways(state: State, stored: Mapping[str, Json]) -> list[Way]:
    """The undo of a stored act as the playbook has it; every one of its action where the act is not told."""
    action = next((action for action in state.playbook.resolution if action.id == stored["action"]), None)
    if action is None:
        return []
    part = next((part for part in action.steps if stored.get("act", "").split("/")[1:2] == [part.id]), None)
    own = part.undo or action.undo if part is not None else None
    undos = (own,) if own is not None else undos_of(action)
    return [Way(undo, stored.get("before", {}), stored.get("item", {})) for undo in undos]


def _act(number: int, stored: Mapping[str, Json]) -> PlannedAct:
    rendered = Rendered(**{key: stored[key] for key in Rendered.__slots__})
    return PlannedAct(f"{stored['action']}:undo/{number}", f"undo {stored['title']}", rendered, None, {})


def _effect(state: State, stored: Mapping[str, Json]) -> Effect:
    """The undo's own effect, at least as written; an act whose undo is not found any more counts as disruptive."""
    for action in state.playbook.resolution:
        if action.id == stored["action"]:
            return max((raised_effect(state, undo)[0] for undo in undos_of(action)), default=Effect.disruptive)
    return Effect.disruptive


def _finished(
    plan: Plan, effect: Effect, decision: Mapping[str, Json], status: Any, reason: str, verified: bool | None = None
) -> ActionFinished:
    return ActionFinished(
        id=plan.id,
        title=plan.title,
        effect=effect.name,
        decision=decision,
        status=status,
        reason=reason,
        impact="",
        items=(),
        verified=verified,
        held=None,
        target=plan.targets()[0],
    )
