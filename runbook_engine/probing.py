"""Asks probes: everything that is ready at once, samples spaced out, facts taken from the answers. Pure.

A probe is ready when the probes whose facts it mentions have ended. The same loop serves the diagnosis, the second look
of a guard, and a verification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import CONNECTION_CODES
from .events import (
    BudgetSpent,
    CallAbandoned,
    CallFinished,
    CallRequested,
    Event,
    Interrupted,
    QuestionAnswered,
    QuestionRequested,
    Reply,
    StepFinished,
    WaitElapsed,
    WaitRequested,
)
from .expressions import Unknown, compile_expression
from .model import Probe
from .state import PROBE_DEADLINE, Rendered, Run, Scope, State, fact_names, holds, render, split, text

Json = Any
OF_SEVERAL = frozenset({"rate", "delta", "rises", "changes", "diff"})


@dataclass(slots=True)
class Asking:
    """A probe that has begun: its answers so far, and the call or the time it waits for."""

    probe: Probe
    attempt: int
    times: int
    began: float
    samples: list[dict[str, Json]] = field(default_factory=list)
    answer: dict[str, Json] = field(default_factory=dict)  # the last one, as it came
    call: str | None = None
    due: float | None = None
    single: bool = False


def ask(
    state: State,
    probes: Iterable[Probe],
    *,
    enough: Callable[[], bool] = lambda: False,
    bounded: bool = False,
    again: bool = False,
    single: bool = False,
) -> Run[None]:
    """Ask these probes until all have ended, `enough` says so, the budget is spent, or a person interrupts.

    `bounded` lets the run's budget end it; `again` marks a second look; `single` takes one sample however many are
    written.
    """
    waiting = {probe.id: probe for probe in probes}
    running: dict[str, Asking] = {}
    while (waiting or running) and not enough() and not state.level:
        yield from _begin_ready(state, waiting, running, again=again, single=single)
        if not running:
            continue
        reply = yield _wait(state, running, bounded)
        state.heard(reply)
        match reply:
            case CallFinished():
                yield from _take(state, running, reply, again)
            case WaitElapsed():
                yield from _next_samples(state, running, again)
            case BudgetSpent():
                yield from _give_up(state, waiting, running, "the budget was spent", again=again)
                return
            case Interrupted():
                state.level, state.signal = reply.level, reply.signal
            case _:
                raise AssertionError(f"not a reply to a wait: {reply!r}")
    reason = "the run was interrupted" if state.level else "it was no longer needed"
    yield from _give_up(state, waiting, running, reason, again=again, quietly=not state.level)


def _begin_ready(
    state: State, waiting: dict[str, Probe], running: dict[str, Asking], *, again: bool, single: bool
) -> Run[None]:
    """Begin all that is ready, and what becomes ready by a step that is skipped.

    A person is asked last, one question at a time: the answers of targets may end it before.
    """
    while ready := [probe for probe in _ready(state, waiting, running) if probe.ask is None]:
        for probe in ready:
            yield from _begin(state, waiting, running, probe, again=again, single=single)
    if not running:
        for probe in _ready(state, waiting, running)[:1]:
            yield from _begin(state, waiting, running, probe, again=again, single=single)


def _ready(state: State, waiting: Mapping[str, Probe], running: Mapping[str, Asking]) -> list[Probe]:
    open_ones = waiting.keys() | running.keys()
    return [probe for probe in waiting.values() if not state.needs.get(probe.id, frozenset()) & open_ones]


def _begin(
    state: State, waiting: dict[str, Probe], running: dict[str, Asking], probe: Probe, *, again: bool, single: bool
) -> Run[None]:
    del waiting[probe.id]
    asking = Asking(probe, state.attempt(probe.id), _times(probe, single), state.now, single=single)
    scope = state.scope(call={"id": f"{state.start.run}-{probe.id}-{asking.attempt}"})
    wanted, because = holds(probe.when, scope)
    if not wanted:
        reason = f"not asked: {because}" if wanted is None else f"not asked, as {because}"
        yield _finish(state, asking, {}, unknown=reason, skipped=reason, again=again)
    elif probe.ask is not None:
        yield from _question(state, asking, again)
    else:
        yield from _call(state, asking, running, again)


def _times(probe: Probe, single: bool) -> int:
    return 1 if single or probe.sample is None else probe.sample.times


def _call(state: State, asking: Asking, running: dict[str, Asking], again: bool) -> Run[None]:
    """Send one sample. A value that is unknown ends the probe: it cannot be asked."""
    probe = asking.probe
    number = len(asking.samples) + 1
    scope = state.scope(call={"id": f"{state.start.run}-{probe.id}-{asking.attempt}-{number}"})
    rendered = render(state, probe, scope, PROBE_DEADLINE)
    if isinstance(rendered, Unknown):
        running.pop(probe.id, None)
        yield _finish(state, asking, {}, unknown=rendered.reason, skipped=f"not asked: {rendered.reason}", again=again)
        return
    asking.call, asking.due = f"{probe.id}/{asking.attempt}/{number}", None
    running[probe.id] = asking
    state.calls[asking.call] = rendered.target
    state.heard((yield read_request(asking.call, probe, text(probe.title or probe.id, scope), rendered)))


def read_request(call_id: str, probe: Probe, title: str, rendered: Rendered) -> CallRequested:
    """The request of a probe: it cannot change anything, so it need not be durable before it leaves."""
    return CallRequested(
        id=call_id,
        step=probe.id,
        title=title,
        executor=rendered.executor,
        target=rendered.target,
        overrides=rendered.overrides,
        mode="read",
        effect=probe.effect,
        request=rendered.request,
        bindings=rendered.bindings,
        deadline=rendered.deadline,
        sensitive=probe.sensitive,
    )


def _wait(state: State, running: Mapping[str, Asking], bounded: bool) -> WaitRequested:
    due = [asking.due for asking in running.values() if asking.due is not None]
    return WaitRequested(
        ids=tuple(asking.call for asking in running.values() if asking.call is not None),
        seconds=max(0.0, min(due) - state.now) if due else None,
        budget=max(0.0, state.budget_end - state.now) if bounded else None,
    )


def _next_samples(state: State, running: dict[str, Asking], again: bool) -> Run[None]:
    for asking in list(running.values()):
        if asking.due is not None and asking.due <= state.now + 1e-6:
            yield from _call(state, asking, running, again)


def _take(state: State, running: dict[str, Asking], reply: CallFinished, again: bool) -> Run[None]:
    asking = next((item for item in running.values() if item.call == reply.id), None)
    if asking is None:
        return
    asking.call = None
    state.answered = state.answered or _somebody_answered(reply)
    if reply.error is None:
        answer = reply.answer if isinstance(reply.answer, dict) else {"result": reply.answer}
        answer = {} if reply.dropped else answer
        # The middle of the exchange: what the target's own clock said is compared with it.
        middle = {"at": reply.at - reply.seconds / 2, "answered": reply.wall - reply.seconds / 2}
        asking.samples.append({**answer, **middle})
        asking.answer = {**answer, "answered": middle["answered"]}
        if len(asking.samples) < asking.times:
            every = asking.probe.sample.every if asking.probe.sample else 0.0
            asking.due = state.now + every * state.start.pace
            return
    del running[asking.probe.id]
    facts = _facts(state, asking, reply)
    yield _finish(state, asking, facts, error=reply.error, target=state.calls[reply.id], again=again)


def _somebody_answered(reply: CallFinished) -> bool:
    """Also a server that says no has answered; a connection that failed has not."""
    error = reply.error
    return error is None or (reply.made_by == "target" and error["code"] not in (*CONNECTION_CODES, "error"))


def _facts(state: State, asking: Asking, reply: CallFinished) -> dict[str, Json]:
    """Facts in the order they are written; each may use the ones before it."""
    if reply.error is not None and reply.made_by == "engine":
        reason = str(reply.error["message"])
        return {name: Unknown(reason) for name in asking.probe.facts}
    if reply.dropped and reply.error is None:
        return _taken_before(reply)
    scope = state.scope(**_answer_scope(state, asking, reply))
    kept = _of_several(asking.probe) if asking.single and asking.probe.sample else frozenset()
    facts: dict[str, Json] = {}
    for name, expression in asking.probe.facts.items():
        stays = name in kept and name in state.facts
        value = state.facts[name] if stays else compile_expression(expression).evaluate(scope)
        if asking.probe.sensitive and isinstance(value, Unknown) and reply.error is None:
            value = Unknown("the answer does not tell; it is sensitive and was dropped")  # a reason may quote it
        facts[name] = scope[name] = value
    return facts


def _taken_before(reply: CallFinished) -> dict[str, Json]:
    """The facts of an answer that is not there any more: what was taken from it when it was."""
    taken = reply.answer or {"facts": {}, "unknown": {}}
    return {**taken["facts"], **{name: Unknown(why) for name, why in taken["unknown"].items()}}


def _of_several(probe: Probe) -> frozenset[str]:
    """Facts that need several samples, directly or through others: a single look keeps what they were."""
    several: set[str] = set()
    for name, expression in probe.facts.items():
        compiled = compile_expression(expression)
        if compiled.functions & OF_SEVERAL or compiled.names & {"sampled", *several}:
            several.add(name)
    return frozenset(several)


def _answer_scope(state: State, asking: Asking, reply: CallFinished) -> Scope:
    assert asking.probe.executor is not None
    names = state.executors[asking.probe.executor].ANSWERS
    if reply.error is not None:
        failed = Unknown(f"{state.calls[reply.id]}: {reply.error['message']}")
        return {**dict.fromkeys((*names, "samples", "sampled", "answered"), failed), "error": dict(reply.error)}
    absent = {name: Unknown(f"the answer has no {name}") for name in names}
    first, last = asking.samples[0], asking.samples[-1]
    # A sample's own `at` is for rates, and `sampled` is ours only with samples: executors use these words, too.
    ours = {"sampled": last["at"] - first["at"]} if asking.probe.sample is not None else {}
    return {**absent, **asking.answer, "error": None, "samples": asking.samples, **ours}


def _question(state: State, asking: Asking, again: bool) -> Run[None]:
    """A person's thinking is not charged to the budget."""
    question = asking.probe.ask
    assert question is not None
    asked_at = state.now
    reply = yield QuestionRequested(
        asking.probe.id, text(question.question, state.scope()), question.type, question.enum
    )
    state.heard(reply)
    assert isinstance(reply, QuestionAnswered)
    state.budget_end += state.now - asked_at
    if reply.how == "interrupted":
        state.level = max(state.level, 1)
    state.unasked = state.unasked or reply.value is None
    value = Unknown("nobody was there to answer") if reply.value is None else reply.value
    yield _finish(state, asking, {question.fact: value}, again=again)


def _give_up(
    state: State,
    waiting: dict[str, Probe],
    running: dict[str, Asking],
    reason: str,
    *,
    again: bool,
    quietly: bool = False,
) -> Run[None]:
    """End what has not ended. Its facts are unknown; what a diagnosis cut short is listed as unchecked."""
    for asking in running.values():
        if asking.call is not None:
            yield CallAbandoned(asking.call, reason)
    for asking in [*running.values(), *(Asking(probe, 0, 0, state.now) for probe in waiting.values())]:
        if quietly:
            continue
        if not again:
            state.unchecked.append(text(asking.probe.title or asking.probe.id, state.scope()))
        yield _finish(state, asking, {}, unknown=reason, skipped=reason, again=again)
    running.clear()
    waiting.clear()


def _finish(
    state: State,
    asking: Asking,
    facts: Mapping[str, Json],
    *,
    unknown: str = "",
    error: Mapping[str, Json] | None = None,
    skipped: str = "",
    target: str = "",
    again: bool = False,
) -> Event:
    probe = asking.probe
    unknown = unknown or ("its answer was sensitive, and dropped" if probe.sensitive else "")
    taken = {name: facts.get(name, Unknown(unknown)) for name in fact_names(probe)}
    state.facts.update(taken)
    known, reasons = split(taken)
    return StepFinished(
        step=probe.id,
        section="symptoms" if any(probe is each for each in state.playbook.symptoms) else "diagnosis",
        title=text(probe.title or probe.id, state.scope()),
        target=target,
        facts=known,
        unknown=reasons,
        error=error,
        skipped=skipped,
        seconds=round(state.now - asking.began, 3),
        again=again,
    )


def replied(state: State, reply: Reply | None) -> Reply:
    """A reply that was due; the clock hears it."""
    assert reply is not None
    state.heard(reply)
    return reply
