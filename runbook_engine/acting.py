"""Carries out a plan that was confirmed: snapshot, intent, act, and the way back when a later act fails. Pure.

A CallRequested in write mode is the intent; the driver makes it durable before the first byte leaves. A consent reaches
no further than the process it was given to: after a resume the rest of a plan is asked for anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .calling import expected, read, request, wait_for
from .events import CallFinished, GuardChecked
from .executor import Effect
from .expressions import Unknown
from .gating import ask_consent, meet
from .model import Act, Action, Undo
from .planning import Plan, PlannedAct, raised_effect, render_undo
from .policy import forbidden
from .probing import ask, replied
from .state import PROBE_DEADLINE, Run, State, holds, names_of, render

Json = Any
Status = Literal["done", "failed", "refused", "unknown", "interrupted", "not_happened"]
SETTLED = "settled"  # the code of a result that a person gave for a write whose own result was lost
RESUMED = "resumed"  # the code of a write that was not sent: nobody has confirmed it since the run was resumed


@dataclass(frozen=True, slots=True)
class Acted:
    """What became of a plan."""

    status: Status
    reason: str = ""
    affected: float | None = None
    before: Mapping[str, Json] = field(default_factory=dict)
    undos: tuple[PlannedAct, ...] = ()


def perform(state: State, action: Action | Undo, plan: Plan, effect: Effect) -> Run[Acted]:
    """Take the snapshot, then every act in order. The first that does not succeed ends it."""
    if plan.manual:
        return Acted("done", "done by hand")
    before = yield from _snapshot(state, action)
    if isinstance(before, Unknown):
        return Acted("refused", f"the snapshot for its undo could not be taken: {before.reason}")
    undos = [render_undo(state, act, before) for act in plan.acts]
    for undo in undos:
        if isinstance(undo, Unknown):
            return Acted("refused", f"its undo could not be prepared: {undo.reason}")
    return (yield from _each_act(state, action, plan, effect, undos, Acted("done", before=before)))


def _each_act(
    state: State,
    action: Action | Undo,
    plan: Plan,
    effect: Effect,
    undos: list[PlannedAct | Unknown | None],
    so_far: Acted,
) -> Run[Acted]:
    for number, (act, undo) in enumerate(zip(plan.acts, undos, strict=True)):
        if state.level:
            return replace(so_far, status="interrupted", reason=f"interrupted after {number} of {len(plan.acts)}")
        stop = yield from _may_not_proceed(state, action, act)
        if stop:
            return replace(so_far, status="interrupted" if state.level else "failed", reason=stop)
        way_back = undo if isinstance(undo, PlannedAct) else None
        finished = yield from _act(state, action, plan, act, way_back, effect, so_far.before)
        while _consent_is_used_up(finished, number) and not state.level:
            stop = yield from _rest_not_confirmed(state, action, plan, number, effect)
            if stop:
                return replace(so_far, status="interrupted", reason=stop)
            finished = yield from _act(state, action, plan, act, way_back, effect, so_far.before)
        if finished.error is not None:
            return (yield from _stopped(state, plan, finished, so_far, first=number == 0))
        done = (*so_far.undos, way_back) if way_back is not None else so_far.undos
        so_far = replace(so_far, affected=_sum(so_far.affected, finished.answer), undos=done)
    return so_far


def _consent_is_used_up(finished: CallFinished, number: int) -> bool:
    """What a person settles as not happened is asked for anew; its first act is, with all of its plan."""
    code = finished.error["code"] if finished.error else ""
    return code == RESUMED or (code == SETTLED and number > 0)


def _rest_not_confirmed(state: State, action: Action | Undo, plan: Plan, number: int, effect: Effect) -> Run[str]:
    """A gate of its own for the acts that are left, and a second look. Why they may not be sent, or nothing."""
    rest = _rest(plan, number)
    stopped = f"stopped after {number} of {len(plan.acts)}"
    absent = yield from meet(state, rest)
    if absent or state.level:
        return f"{stopped}: {absent or 'interrupted'}"
    declared = raised_effect(state, action)[1]
    answer = yield from ask_consent(state, action, rest, effect, declared, f"{stopped}; the rest is asked for anew")
    if answer.verdict == "interrupted":
        state.level, state.signal = max(state.level, 1), answer.how
    if answer.verdict != "yes":
        return f"{stopped}: the rest was not confirmed"
    fits, because = yield from _still_fits(state, action)
    refused = "" if fits else f"the guard of the rest does not hold: {because}"
    yield GuardChecked(plan.id, fits, because, None, refused)
    refused = refused or (yield from _may_not_proceed(state, action, rest.acts[0]))
    return f"{stopped}: {refused or 'interrupted'}" if refused or state.level else ""


def _rest(plan: Plan, number: int) -> Plan:
    left = len(plan.acts) - number
    items = plan.items[number:] if len(plan.items) == len(plan.acts) else ()
    impact = f"{left} of {len(plan.acts)} requests are left" + (f" of: {plan.impact}" if plan.impact else "")
    return replace(plan, acts=plan.acts[number:], items=items, impact=impact, count=float(left), frozen=None)


def _still_fits(state: State, action: Action | Undo) -> Run[tuple[bool | None, str]]:
    """The guard once more. Of an action of several steps it speaks of the time before the first of them."""
    guard = None if isinstance(action, Action) and action.steps else action.guard
    probes = [probe for probe in state.owners(names_of(guard)) if probe.ask is None]
    yield from ask(state, probes, again=True, single=True)
    return holds(guard, state.scope())


def _snapshot(state: State, action: Act) -> Run[dict[str, Json] | Unknown]:
    """Read what an undo will need. Without it nothing is changed."""
    before: dict[str, Json] = {}
    for name, act in action.snapshot.items() if isinstance(action, Action) else ():
        rendered = render(state, act, state.scope(), PROBE_DEADLINE)
        if isinstance(rendered, Unknown):
            return rendered
        number = state.attempt(f"snapshot:{name}")
        finished = yield from read(state, f"{name}/snapshot/{number}", name, f"before: {name}", rendered)
        if finished.error is not None:
            return Unknown(str(finished.error["message"]))
        if isinstance(finished.answer, dict) and finished.answer.get("truncated"):
            return Unknown(f"the answer of {name} is longer than what is kept, and a part must not be put back")
        before[name] = _reply_alone(finished.answer)
    return before


def _reply_alone(answer: Json) -> Json:
    """The reply itself where an executor gives one (`result`), else the whole answer with its names."""
    return answer["result"] if isinstance(answer, dict) and "result" in answer else answer


def _may_not_proceed(state: State, action: Act, act: PlannedAct) -> Run[str]:
    """Between two batches its probes are asked again: what was true before the first says nothing about the next."""
    if not act.proceed or not isinstance(action, Action) or action.batch is None:
        return ""
    probes = [probe for probe in state.owners(names_of(action.batch.proceed)) if probe.ask is None]
    yield from ask(state, probes, again=True)
    goes_on, because = holds(action.batch.proceed, state.scope(**act.item))
    return "" if goes_on else f"stopped between batches: {because}"


def _act(
    state: State,
    action: Action | Undo,
    plan: Plan,
    act: PlannedAct,
    undo: PlannedAct | None,
    effect: Effect,
    before: Mapping[str, Json],
) -> Run[CallFinished]:
    number = state.attempt(act.id)
    call_id = f"{act.id}/{number}"
    state.calls[call_id] = act.rendered.target
    asked = request(
        call_id,
        plan.id,
        act.title,
        act.rendered,
        "write",
        effect,
        affected=plan.affected,
        expect=expected(state, act.rendered.target),
        undo=_stored(state, act, undo, before) if undo else None,
    )
    state.acted = True
    replied(state, (yield asked))
    progress = action.progress if isinstance(action, Action) else None
    return (yield from wait_for(state, call_id, act.rendered.deadline, progress, plan.id))


def _stored(state: State, act: PlannedAct, undo: PlannedAct, before: Mapping[str, Json]) -> dict[str, Json]:
    """The way back as `runbook undo` finds it, and who answers where it goes to.

    What its guard and its proof mention of the time before goes along.
    """
    assert act.undo is not None
    mentioned = names_of(act.undo.guard, act.undo.verify.until if act.undo.verify else None)
    kept = {"before": dict(before)} if "before" in mentioned else {}
    item = {name: value for name, value in act.item.items() if name in mentioned}
    known = state.confirmed.get(undo.rendered.target) or state.identities.get(undo.rendered.target) or {}
    changed = dict(known.get("facts", {}))
    return {**undo.rendered.as_json(), "act": act.id, "item": item, "changed": changed, **kept}


def _stopped(state: State, plan: Plan, finished: CallFinished, so_far: Acted, *, first: bool) -> Run[Acted]:
    """An act did not succeed. Known not to have happened: the acts before it are undone. Else it is unknown."""
    assert finished.error is not None
    if first and finished.error["code"] == SETTLED and not state.level:
        return replace(so_far, status="not_happened", reason=str(finished.error["message"]))
    reason = f"{finished.error['message']}"
    if finished.happened == "unknown":
        return replace(so_far, status="unknown", reason=reason)
    if finished.error["code"] in (SETTLED, RESUMED):  # nothing is sent on evidence that is old, also no way back
        return replace(so_far, status="interrupted", reason=reason)
    for number, undo in reversed(list(enumerate(so_far.undos))):
        undone = yield from _take_back(state, plan, undo, so_far.before)
        left = replace(so_far, undos=so_far.undos[: number + 1])
        if isinstance(undone, str):
            return replace(left, status="unknown", reason=f"{reason}; and its undo was not sent: {undone}")
        if undone.error is not None and undone.error["code"] in (SETTLED, RESUMED):
            return replace(left, status="interrupted", reason=f"{reason}; {number + 1} earlier acts are not undone")
        if undone.error is not None:
            return replace(so_far, status="unknown", reason=f"{reason}; and its undo failed: {undone.error['message']}")
    undone_too = f"; {len(so_far.undos)} earlier acts were undone" if so_far.undos else ""
    status: Status = "refused" if finished.made_by == "engine" else "failed"
    return replace(so_far, status="interrupted" if state.level else status, reason=reason + undone_too, undos=())


def _take_back(state: State, plan: Plan, undo: PlannedAct, before: Mapping[str, Json]) -> Run[CallFinished | str]:
    """Undo one act that came before the one that failed, as its gate has announced. Why it was not sent, as text."""
    written = next(act.undo for act in plan.acts if f"{act.id}:undo" == undo.id)
    assert written is not None
    effect = raised_effect(state, written)[0]
    refused = forbidden(state.playbook.name, f"{plan.id}:undo", effect, state.policy)
    refused = refused or (yield from _undo_does_not_fit(state, written, undo, before))
    if refused:
        return refused
    call_id = f"{undo.id}/{state.attempt(undo.id)}"
    target = undo.rendered.target
    state.calls[call_id] = target
    expect = expected(state, target)
    asked = request(call_id, f"{plan.id}:undo", undo.title, undo.rendered, "write", effect, expect=expect)
    replied(state, (yield asked))
    return (yield from wait_for(state, call_id, undo.rendered.deadline, None, None))


def _undo_does_not_fit(state: State, written: Undo, undo: PlannedAct, before: Mapping[str, Json]) -> Run[str]:
    if written.guard is None:
        return ""
    probes = [probe for probe in state.owners(names_of(written.guard)) if probe.ask is None]
    yield from ask(state, probes, again=True, single=True)
    fits, because = holds(written.guard, state.scope(before=dict(before), **undo.item))
    return (
        ""
        if fits and not state.level
        else f"its guard {'could not be asked' if state.level else 'does not hold'}: {because}"
    )


def _sum(affected: float | None, answer: Json) -> float | None:
    touched = answer.get("affected") if isinstance(answer, dict) else None
    return affected if touched is None else (affected or 0) + float(touched)
