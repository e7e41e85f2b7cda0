"""Proves that a fix worked, and that it stayed: it was broken before, is not broken now, and remained so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .events import Interrupted, SymptomsJudged, VerificationProgressed, WaitRequested
from .model import Action, Probe, Undo, Verify
from .probing import ask, replied
from .state import Run, State, holds, names_of, text

Json = Any
LOOK_EVERY = 2.0  # seconds between two looks, scaled by pace
DEFAULT_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Verified:
    """`verified` says that all of it came true; `held` is None when there was nothing to hold for."""

    outcome: Literal["fixed", "contained", "unproven", "not_fixed", "relapsed", "interrupted"]
    reason: str
    verified: bool
    held: bool | None


def verify(state: State, action: Action, before: Mapping[str, Json]) -> Run[Verified]:
    """Wait until it is true, watch that it stays, then ask the symptoms again."""
    wanted = action.verify
    end = state.now + (wanted.within if wanted else DEFAULT_WITHIN)
    if wanted is not None:
        came, because = yield from _until(state, action.id, wanted, end, before)
        if interrupted(state):
            return Verified("interrupted", because, False, None)
        if not came:
            return Verified("not_fixed", f"not within {wanted.within:g}s: {because}", False, None)
        stayed, because = yield from _hold(state, action.id, wanted, before)
        if interrupted(state):
            return Verified("interrupted", because, False, None)
        if not stayed:
            return Verified("relapsed", f"it did not stay: {because}", True, False)
    if action.stopgap:
        held = True if wanted is not None and wanted.hold else None
        return Verified("contained", "it is contained; the cause remains", True, held)
    held = True if wanted is not None and wanted.hold else None
    return (yield from _symptoms_gone(state, end, held))


def verify_undo(state: State, name: str, undos: tuple[Undo, ...], before: Mapping[str, Json]) -> Run[tuple[bool, str]]:
    """Whether what an undo promises has come true, and stays."""
    for wanted in (undo.verify for undo in undos):
        if wanted is None:
            continue
        came, because = yield from _until(state, name, wanted, state.now + wanted.within, before)
        if came:
            came, because = yield from _hold(state, name, wanted, before)
        if not came:
            return False, because
    return True, ""


def interrupted(state: State) -> bool:
    """Whether a person wants it to stop. A call, as the level changes with every reply."""
    return state.level > 0


def _until(state: State, action: str, wanted: Verify, end: float, before: Mapping[str, Json]) -> Run[tuple[bool, str]]:
    while True:
        true, because = yield from _look(state, wanted, before)
        yield VerificationProgressed(action, "until", true, because, max(0.0, end - state.now))
        if true or state.level or state.now >= end:
            return bool(true), because
        yield from _pause(state, min(LOOK_EVERY * state.start.pace, max(0.0, end - state.now)), action)


def _hold(state: State, action: str, wanted: Verify, before: Mapping[str, Json]) -> Run[tuple[bool, str]]:
    """A look that cannot tell is no relapse, but the last look must be true."""
    end = state.now + wanted.hold * state.start.pace
    true: bool | None = True
    because = ""
    while state.now < end or not true:
        if state.now >= end + wanted.within:
            return False, because
        yield from _pause(state, LOOK_EVERY * state.start.pace, action)
        if state.level:
            return False, because
        true, because = yield from _look(state, wanted, before)
        yield VerificationProgressed(action, "hold", true, because, max(0.0, end - state.now))
        if true is False:
            return False, because
    return True, because


def _look(state: State, wanted: Verify, before: Mapping[str, Json]) -> Run[tuple[bool | None, str]]:
    yield from ask(state, _askable(state.owners(names_of(wanted.until))), again=True)
    return holds(wanted.until, state.scope(before=dict(before)))


def _askable(probes: tuple[Probe, ...]) -> list[Probe]:
    return [probe for probe in probes if probe.ask is None]


def _pause(state: State, seconds: float, action: str) -> Run[None]:
    reply = replied(state, (yield WaitRequested(ids=(), seconds=seconds, why=action)))
    if isinstance(reply, Interrupted):
        state.level, state.signal = reply.level, reply.signal


def _symptoms_gone(state: State, end: float, held: bool | None) -> Run[Verified]:
    """Each symptom must be gone, or still there and provably going; it has until the end of `within` for that."""
    while True:
        judged = yield from _symptoms_again(state)
        if state.level:
            return Verified("interrupted", "interrupted while the symptoms were asked again", False, held)
        if all(symptom["present"] is False or symptom["recovering"] for symptom in judged):
            yield SymptomsJudged(judged, after="fix")
            if not state.was_broken:
                return Verified("unproven", "no symptom is present, but none was established before either", True, held)
            return Verified("fixed", _fixed_reason(judged), True, held)
        if state.now >= end:
            yield SymptomsJudged(judged, after="fix")
            still = "; ".join(
                f"{symptom['title']}: {symptom['because']}" for symptom in judged if symptom["present"] is not False
            )
            return Verified("not_fixed", f"still present: {still}", False, None)
        yield from _pause(state, LOOK_EVERY * state.start.pace, "symptoms")


def _fixed_reason(judged: tuple[Mapping[str, Json], ...]) -> str:
    going = [symptom["title"] for symptom in judged if symptom["present"]]
    return f"still there, and going: {', '.join(going)}" if going else "no symptom is present any more"


def _symptoms_again(state: State) -> Run[tuple[Mapping[str, Json], ...]]:
    probes = state.playbook.symptoms
    recovering = names_of(*(probe.recovering for probe in probes))
    asked = {probe.id for probe in probes}
    also = [probe for probe in state.owners(recovering) if probe.id not in asked]
    yield from ask(state, _askable((*probes, *also)), again=True)
    return judge(state)


def judge(state: State) -> tuple[Mapping[str, Json], ...]:
    """Each symptom: present, recovering, and the numbers that say so."""
    scope = state.scope()

    def judged(symptom: Probe) -> Mapping[str, Json]:
        present, because = holds(symptom.present, scope)
        going = holds(symptom.recovering, scope)[0] if symptom.recovering and present else None
        return {
            "id": symptom.id,
            "present": present,
            "recovering": going,
            "title": text(symptom.title or symptom.id, scope),
            "because": because,
        }

    return tuple(judged(symptom) for symptom in state.playbook.symptoms)
