"""Mends a cause: offer, gate, second look, act, verification, undo. Pure.

What was confirmed is what runs, or nothing runs: the requests are rendered before the gate, rendered again after the
second look, and must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from .acting import Acted, perform
from .events import ActionFinished, GateAnswered, GuardChecked
from .executor import Effect
from .gating import Resolved, ask_consent, meet
from .model import Action, Undo
from .planning import Plan, Refusal, plan_action, plan_undo, raised_effect, undos_of
from .policy import covered_in_advance, forbidden, looping, outgrown
from .probing import ask
from .ranking import RankedCause
from .state import Run, State, holds, names_of, text, unique
from .verifying import Verified, verify, verify_undo

Json = Any
ROUNDS = 3  # gates of one action in one run; a world that changes faster than a person reads needs another way


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one action ended, and whether another fix may be tried after it.

    `again`: the world changed while a person was thinking; they are shown what it is now, and asked again.
    """

    resolved: Resolved
    go_on: bool
    again: bool = False


def resolve(state: State, cause: RankedCause) -> Run[Resolved | None]:
    """Offer the fixes of a cause in their order. None when none of them fits."""
    last: Resolved | None = None
    for action in (state.playbook.action(action_id) for action_id in cause.fix):
        unfit = _unfit(state, action, cause)
        if unfit:
            yield _finished(state, action, "skipped", unfit)
            continue
        for _ in range(ROUNDS):
            attempt = yield from _attempt(state, action, cause)
            if not attempt.again:
                break
        last = _of_both(last, attempt.resolved)
        if not attempt.go_on or state.level:
            break
    return last


def _of_both(earlier: Resolved | None, later: Resolved) -> Resolved:
    """What was changed without helping is not made unsaid by a later fix that was not applied, nor is its way back."""
    if earlier is None or earlier.outcome not in ("not_fixed", "relapsed"):
        return later
    return earlier if later.outcome == "refused" else replace(later, next=tuple(unique([*later.next, *earlier.next])))


def _unfit(state: State, action: Action, cause: RankedCause) -> str:
    """Why an action is not even offered."""
    if cause.verdict != "confirmed" and raised_effect(state, action)[0] > Effect.reversible:
        return "the cause is only suspected: nothing beyond reversible is offered"
    fits, because = holds(action.guard, state.scope())
    if fits is None:
        return f"its guard could not be established: {because}"
    return "" if fits else f"it does not apply: {because}"


def _attempt(state: State, action: Action, cause: RankedCause) -> Run[Attempt]:
    """One action from its gate to its verification."""
    effect, declared = raised_effect(state, action)
    refusal = forbidden(state.playbook.name, action.id, effect, state.policy) or _loops(state, action)
    if refusal:
        yield _finished(state, action, "refused", refusal)
        return Attempt(Resolved("refused", refusal), go_on=True)
    planned = plan_action(state, action, state.scope())
    if isinstance(planned, Refusal):
        yield _finished(state, action, "refused", planned.reason)
        return Attempt(Resolved("refused", planned.reason), go_on=True)
    absent = yield from meet(state, planned)
    if state.level:
        yield _finished(state, action, "skipped", "interrupted before its gate", plan=planned)
        return Attempt(Resolved("interrupted", "interrupted before the gate; nothing was changed"), go_on=False)
    if absent:
        yield _finished(state, action, "refused", absent, plan=planned)
        return Attempt(Resolved("refused", f"{action.id}: {absent}"), go_on=True)
    answer = yield from ask_consent(state, action, planned, effect, declared, cause.title)
    decision = {"verdict": "yes" if answer.verdict == "yes" else "no" if answer.verdict == "no" else "none"}
    decision |= {"by": answer.by, "how": answer.how}
    if answer.verdict != "yes":
        return (yield from _not_consented(state, action, planned, answer, decision))
    return (yield from _consented(state, action, planned, effect, decision))


def _consented(
    state: State, action: Action, planned: Plan, effect: Effect, decision: Mapping[str, Json]
) -> Run[Attempt]:
    ready = yield from _second_look(state, action, planned)
    if state.level:
        yield _finished(state, action, "skipped", "interrupted before it was sent", decision, planned)
        return Attempt(Resolved("interrupted", f"{action.id} was not sent; nothing was changed"), go_on=False)
    if isinstance(ready, Refusal):
        yield _finished(state, action, "refused", ready.reason, decision, planned)
        again = ready.changed and decision["how"] == "typed"
        return Attempt(Resolved("refused", f"{action.id}: {ready.reason}"), go_on=False, again=again)
    return (yield from _carry_out(state, action, ready, effect, decision))


def _loops(state: State, action: Action) -> str:
    target = state.target_of(action) if action.executor else ""
    return looping(state.start.history, state.playbook.name, action.id, target, state.policy)


def _not_consented(
    state: State, action: Action, plan: Plan, answer: GateAnswered, decision: Mapping[str, Json]
) -> Run[Attempt]:
    approve = _approve_hint(state, action)
    if answer.verdict == "interrupted":
        state.level, state.signal = max(state.level, 1), answer.how
        yield _finished(state, action, "skipped", "interrupted at the gate", decision, plan)
        return Attempt(Resolved("interrupted", "interrupted at the gate; nothing was changed"), go_on=False)
    if answer.verdict == "plan":
        yield _finished(state, action, "skipped", "would run", decision, plan)
        on = f" on {plan.impact}" if plan.impact else ""
        return Attempt(Resolved("diagnosed", f"planned: {action.id} would run{on}", next=approve), go_on=False)
    if answer.verdict == "no":
        yield _finished(state, action, "refused", "declined", decision, plan)
        return Attempt(Resolved("refused", f"{action.id} was declined; nothing was changed", exit_code=1), go_on=True)
    yield _finished(state, action, "refused", answer.how, decision, plan)
    return Attempt(Resolved("refused", f"{action.id} was not confirmed: {answer.how}", next=approve), go_on=False)


def _approve_hint(state: State, action: Action) -> tuple[str, ...]:
    """The command that would approve it, where an approval in advance is any use; else it takes a terminal."""
    again = f"runbook run {state.start.repeat or state.playbook.name}"
    in_advance = covered_in_advance(raised_effect(state, action)[0], True, False, state.policy)
    return (f"{again} --approve {action.id}",) if in_advance else (again,)


def _second_look(state: State, action: Action, shown: Plan) -> Run[Plan | Refusal]:
    """Right before the act: does the guard still hold, has the impact grown, would the same requests be sent?"""
    mentioned = names_of(action.guard, action.impact.count if action.impact else None)
    probes = [probe for probe in state.owners(mentioned) if probe.ask is None]
    yield from ask(state, probes, again=True, single=True)
    scope = state.scope()
    fits, because = holds(action.guard, scope)
    again = plan_action(state, action, scope, frozen=shown.frozen)
    refused = _changed(action, shown, again, fits, because)
    count = again.count if isinstance(again, Plan) else None
    yield GuardChecked(shown.id, fits, because, count, refused)
    if refused or isinstance(again, Refusal):
        return Refusal(refused or str(again), changed=bool(fits) and isinstance(again, Plan))
    return again


def _changed(action: Action, shown: Plan, again: Plan | Refusal, fits: bool | None, because: str) -> str:
    if not fits:
        return (
            f"the guard no longer holds: {because}" if fits is False else f"the guard could not be checked: {because}"
        )
    if isinstance(again, Refusal):
        return again.reason
    if again.count is not None and shown.count is not None and outgrown(shown.count, again.count, action.limit.grow):
        return f"the impact has grown from {shown.count:g} to {again.count:g} since it was confirmed"
    if again.signature() != shown.signature():
        return "what would be sent is no longer what was confirmed"
    return ""


def _carry_out(state: State, action: Action, plan: Plan, effect: Effect, decision: Mapping[str, Json]) -> Run[Attempt]:
    acted = yield from perform(state, action, plan, effect)
    if acted.status == "not_happened":  # a person says so; the consent was used up, so it is asked for anew
        return Attempt(Resolved("refused", f"{action.id}: {acted.reason}"), go_on=True, again=True)
    if acted.status == "unknown":
        yield _finished(state, action, "unknown", acted.reason, decision, plan, acted)
        return Attempt(Resolved("unknown", f"{action.id}: {acted.reason}", next=_resume_hint(state)), go_on=False)
    if acted.status == "interrupted":
        status = "failed" if acted.undos or acted.affected else "skipped"
        yield _finished(state, action, status, acted.reason, decision, plan, acted)
        more = _undo_hint(state, acted) if acted.undos else ()
        return Attempt(Resolved("interrupted", f"{action.id}: {acted.reason}", next=more), go_on=False)
    if acted.status == "refused":
        yield _finished(state, action, "refused", acted.reason, decision, plan, acted)
        return Attempt(Resolved("refused", f"{action.id}: {acted.reason}"), go_on=False)
    if acted.status == "failed":
        yield _finished(state, action, "failed", acted.reason, decision, plan, acted)
        return Attempt(Resolved("not_fixed", f"{action.id} failed: {acted.reason}"), go_on=True)
    if state.level:
        return (yield from _not_verified(state, action, plan, decision, acted, None))
    verified = yield from verify(state, action, acted.before)
    return (yield from _judge(state, action, plan, decision, acted, verified))


def _judge(
    state: State, action: Action, plan: Plan, decision: Mapping[str, Json], acted: Acted, verified: Verified
) -> Run[Attempt]:
    if verified.outcome == "fixed":
        yield _finished(state, action, "done", verified.reason, decision, plan, acted, verified)
        return Attempt(Resolved("fixed", verified.reason, next=_undo_hint(state, acted)), go_on=False)
    if verified.outcome == "unproven":
        yield _finished(state, action, "done", verified.reason, decision, plan, acted, verified)
        return Attempt(
            Resolved("inconclusive", f"{action.id}: {verified.reason}", next=_undo_hint(state, acted)), go_on=False
        )
    if verified.outcome == "contained":
        yield _finished(state, action, "done", verified.reason, decision, plan, acted, verified)
        return Attempt(
            Resolved("diagnosed", f"{action.id}: {verified.reason}", next=_undo_hint(state, acted)), go_on=False
        )
    if verified.outcome == "interrupted":
        return (yield from _not_verified(state, action, plan, decision, acted, verified))
    back = yield from _offer_undo(state, action, acted, verified.reason)
    undone = back is not None and back.status == "done"
    reason = verified.reason + ("" if back is None else "; it was undone" if undone else f"; its undo: {back.reason}")
    if back is not None and back.status == "unknown":
        yield _finished(state, action, "unknown", reason, decision, plan, acted, verified)
        return Attempt(Resolved("unknown", f"{action.id}: {reason}", next=_resume_hint(state)), go_on=False)
    yield _finished(state, action, "undone" if undone else "done", reason, decision, plan, acted, verified)
    more = () if undone else _undo_hint(state, acted)
    return Attempt(Resolved(verified.outcome, f"{action.id}: {reason}", next=more), go_on=back is None or undone)


def _not_verified(
    state: State, action: Action, plan: Plan, decision: Mapping[str, Json], acted: Acted, verified: Verified | None
) -> Run[Attempt]:
    yield _finished(state, action, "done", "interrupted before it was verified", decision, plan, acted, verified)
    more = _undo_hint(state, acted)
    return Attempt(Resolved("interrupted", f"{action.id} was done, but not verified", next=more), go_on=False)


def _resume_hint(state: State) -> tuple[str, ...]:
    return (f"runbook resume {state.start.run}",)


def _undo_hint(state: State, acted: Acted) -> tuple[str, ...]:
    """The ways back that were rendered when it was done: what they were made of may be gone by now."""
    return (f"runbook undo {state.start.run}",) if acted.undos else ()


def _offer_undo(state: State, action: Action, acted: Acted, because: str) -> Run[Acted | None]:
    """An undo is an action of its own: its guard, its gate, its call, its proof. None when it is not carried out."""
    undos = undos_of(action)
    if not undos or not acted.undos or not _undo_fits(state, undos, acted):
        return None
    plan = plan_undo(state, action, acted.undos)
    effect = max(raised_effect(state, undo)[0] for undo in undos)
    refused = forbidden_undo(state, action.id, effect)
    if refused:
        return Acted("refused", refused)
    if (yield from meet(state, plan)) or state.level:
        return None
    answer = yield from ask_consent(state, undos[0], plan, effect, False, f"undo, as {because}")
    if answer.verdict == "interrupted":
        state.level, state.signal = max(state.level, 1), answer.how
    if answer.verdict != "yes":
        return None
    guards = state.owners(names_of(*(undo.guard for undo in undos)))
    yield from ask(state, [probe for probe in guards if probe.ask is None], again=True, single=True)
    if state.level or not _undo_fits(state, undos, acted):
        return Acted("refused", "the guard of the undo no longer holds")
    done = yield from perform(state, undos[0], plan, effect)
    if done.status != "done":
        return done
    proved, because = yield from verify_undo(state, plan.id, undos, acted.before)
    return done if proved else Acted("failed", f"it was sent, but not proved: {because}")


def forbidden_undo(state: State, action: str, effect: Effect) -> str:
    """Why the environment does not allow an undo. Who forbids the action has not allowed its way back either."""
    name = state.playbook.name
    return forbidden(name, f"{action}:undo", effect, state.policy) or forbidden(name, action, effect, state.policy)


def _undo_fits(state: State, undos: tuple[Undo, ...], acted: Acted) -> bool:
    scopes = [state.scope(before=dict(acted.before), **act.item) for act in acted.undos]
    return all(holds(undo.guard, scope)[0] for undo in undos for scope in scopes)


def _finished(
    state: State,
    action: Action,
    status: Any,
    reason: str,
    decision: Mapping[str, Json] | None = None,
    plan: Plan | None = None,
    acted: Acted | None = None,
    verified: Verified | None = None,
) -> ActionFinished:
    return ActionFinished(
        id=action.id,
        title=text(action.title or action.id, state.scope()),
        effect=raised_effect(state, action)[0].name,
        decision=decision or {"verdict": "none", "by": "", "how": "not asked"},
        status=status,
        reason=reason,
        impact=plan.impact if plan else "",
        items=plan.items if plan else (),
        verified=verified.verified if verified else None,
        held=verified.held if verified else None,
        affected=acted.affected if acted else None,
        target=state.target_of(action) if action.executor else "",
    )
