"""The run of a playbook, as a generator that does no I/O: it yields events and is sent replies.

Read it top-down: symptoms and diagnosis, causes, resolution, the end. The same replies give the same events.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from .events import CausesRanked, RunFinished, RunStarted, SymptomsJudged
from .executor import Executor
from .expressions import Unknown
from .gating import Resolved
from .model import Playbook, Probe
from .policy import Policy
from .probing import ask
from .ranking import RankedCause, rank
from .resolving import resolve
from .state import Run, State, absent, fact_names, names_of
from .undoing import undo_again
from .verifying import judge

Json = Any

EXIT_CODES: Mapping[str, int] = {
    "healthy": 0,
    "fixed": 0,
    "diagnosed": 1,
    "inconclusive": 3,
    "not_fixed": 4,
    "relapsed": 4,
    "refused": 5,
    "unknown": 6,
    "error": 69,
    "interrupted": 130,
}
DECLINED = 1
NEEDS_PERSON = 75
TERMINATED = 143


def interpret(
    start: RunStarted, playbook: Playbook, needs: Mapping[str, frozenset[str]], executors: Mapping[str, Executor]
) -> Run[RunFinished]:
    """Run `playbook`. Yields `start` first and RunFinished last; each `…Requested` in between expects its reply."""
    state = State(start, playbook, needs, executors, Policy.model_validate(start.policy), now=start.at)
    state.budget_end = start.at + start.budget
    yield start
    if start.mode == "undo":
        undone = yield from undo_again(state)
        return (yield from _end(state, undone.outcome, undone.reason, undone.exit_code))
    symptoms = yield from _diagnose(state)
    state.was_broken = any(symptom["present"] is True for symptom in symptoms)
    if state.level:
        return (yield from _end(state, "interrupted", "interrupted before anything was changed"))
    if all(symptom["present"] is False for symptom in symptoms):
        return (yield from _end(state, "healthy", "no symptom is present"))
    if start.mode == "symptoms":
        return (yield from _end(state, "inconclusive", "only the symptoms were asked for"))
    causes = rank(playbook.causes, state.scope())
    yield CausesRanked(tuple(cause.as_json() for cause in causes), tuple(state.unchecked))
    resolved = yield from _settle(state, causes)
    return (yield from _end(state, resolved.outcome, resolved.reason, resolved.exit_code, resolved.next))


def _diagnose(state: State) -> Run[tuple[Mapping[str, Json], ...]]:
    """Ask everything that is ready at once; no symptom at all ends it early."""

    own = {name for probe in state.playbook.probes() for name in fact_names(probe)}
    mentioned = {symptom.id: names_of(symptom.present) & own for symptom in state.playbook.symptoms}

    def healthy() -> bool:
        """Only when everything they mention has been asked: what is still open is not yet absent."""
        return all(
            mentioned[symptom.id] <= state.facts.keys() and absent(symptom.present, state.scope())
            for symptom in state.playbook.symptoms
        )

    yield from ask(state, _asked(state), enough=healthy, bounded=True)
    judged = judge(state)
    yield SymptomsJudged(judged)
    return judged


def _asked(state: State) -> tuple[Probe, ...]:
    """Every probe; for the symptoms alone these and what they need."""
    if state.start.mode != "symptoms":
        return state.playbook.probes()
    wanted = {probe.id for probe in state.playbook.symptoms}
    ahead = set(wanted)
    while ahead:
        ahead = {need for step in ahead for need in state.needs.get(step, frozenset())} - wanted
        wanted |= ahead
    return tuple(probe for probe in state.playbook.probes() if probe.id in wanted)


def _settle(state: State, causes: tuple[RankedCause, ...]) -> Run[Resolved]:
    """From the ranking to an outcome: nothing to do, nothing we may do, or a resolution."""
    confirmed = [cause for cause in causes if cause.verdict == "confirmed"]
    if confirmed and all(cause.benign for cause in confirmed):
        return Resolved("healthy", f"{confirmed[0].title}: nothing has to be done")
    best = _best(causes)
    if best is not None and best.fix and state.start.mode != "diagnose":
        resolved = yield from resolve(state, best)
        if resolved is not None:
            return resolved
    if confirmed:
        see = (_see(confirmed[0], state.start.where),) if confirmed[0].see else ()
        return Resolved("diagnosed", confirmed[0].title, next=see)
    if not state.answered:
        return Resolved("error", "no target answered, and no cause could be confirmed")
    more = tuple(_see(cause, state.start.where) for cause in causes if cause.verdict == "suspected" and cause.see)
    if state.unasked:
        return Resolved("inconclusive", "a question needs a person", exit_code=NEEDS_PERSON)
    return Resolved("inconclusive", _why_inconclusive(causes, state), next=more)


def _best(causes: tuple[RankedCause, ...]) -> RankedCause | None:
    """The cause whose fixes may be offered: the best confirmed one, or the only suspected one."""
    confirmed = [cause for cause in causes if cause.verdict == "confirmed" and not cause.benign]
    suspected = [cause for cause in causes if cause.verdict == "suspected" and not cause.benign]
    if confirmed:
        return confirmed[0]
    return suspected[0] if len(suspected) == 1 else None


def _why_inconclusive(causes: tuple[RankedCause, ...], state: State) -> str:
    suspected = [cause.title for cause in causes if cause.verdict == "suspected"]
    unknown = sum(isinstance(value, Unknown) for value in state.facts.values())
    if state.unchecked:
        return f"the budget of {state.start.budget:g}s ended before this was checked: {', '.join(state.unchecked[:3])}"
    if suspected:
        return f"suspected, not confirmed: {'; '.join(suspected[:3])}"
    return f"no cause fits what was found{f'; facts that could not be established: {unknown}' if unknown else ''}"


def _see(cause: RankedCause, where: str) -> str:
    """The command that goes on with another playbook."""
    assert cause.see is not None
    # Values come from targets, and the line is meant to be pasted into a shell.
    given = "".join(f" -i {shlex.quote(f'{name}={value}')}" for name, value in cause.see["inputs"].items())
    return f"runbook run {cause.see['playbook']}{given}{where}"


def _end(
    state: State, outcome: str, reason: str, exit_code: int | None = None, more: tuple[str, ...] = ()
) -> Run[RunFinished]:
    code = exit_code if exit_code is not None else EXIT_CODES[outcome]
    if outcome == "interrupted" and state.signal == "SIGTERM":
        code = TERMINATED
    finished = RunFinished(
        outcome=outcome,  # type: ignore[arg-type]  # the keys of EXIT_CODES are the outcomes
        exit_code=code,
        reason=reason,
        next=(*_resume(state, outcome), *more, f"runbook report {state.start.run}"),
        at=state.now,
    )
    yield finished
    return finished


def _resume(state: State, outcome: str) -> tuple[str, ...]:
    return (f"runbook resume {state.start.run}",) if outcome == "interrupted" and not state.acted else ()
