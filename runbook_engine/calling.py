"""One call outside the diagnosis, from its request to its result, also when a person stops it. Pure.

What is sent and whether it may be is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from .events import (
    ActionProgressed,
    CallFinished,
    CallRequested,
    CancelRequested,
    Interrupted,
    WaitElapsed,
    WaitRequested,
)
from .executor import Effect
from .expressions import Unknown
from .model import Progress
from .probing import replied
from .state import PROBE_DEADLINE, Rendered, Run, State, render, text

Json = Any
CANCEL, LEAVE = 2, 3
GRACE = 5.0  # seconds a call may take beyond its deadline before we stop believing in its session


def read(state: State, call_id: str, step: str, title: str, rendered: Rendered) -> Run[CallFinished]:
    """One read outside the diagnosis."""
    state.calls[call_id] = rendered.target
    asked = request(call_id, step, title, rendered, "read", Effect.read)
    replied(state, (yield asked))
    return (yield from wait_for(state, call_id, rendered.deadline, None, None))


def expected(state: State, target: str) -> Mapping[str, Json] | None:
    """Who must answer: whoever the gate showed, even when a later look met somebody else."""
    identity = state.confirmed.get(target)
    return identity["facts"] if identity else None


def request(
    call_id: str, step: str, title: str, rendered: Rendered, mode: Literal["read", "write"], effect: Effect, **more: Any
) -> CallRequested:
    return CallRequested(
        id=call_id,
        step=step,
        title=title,
        executor=rendered.executor,
        target=rendered.target,
        overrides=rendered.overrides,
        mode=mode,
        effect=effect.name,
        request=rendered.request,
        bindings=rendered.bindings,
        idents=rendered.idents,
        autocommit=rendered.autocommit,
        deadline=rendered.deadline,
        **more,
    )


def wait_for(
    state: State, call_id: str, deadline: float, progress: Progress | None, action: str | None
) -> Run[CallFinished]:
    """Wait for one call. Ctrl-C once lets it finish, twice cancels it, three times leaves it unknown."""
    end = state.now + deadline + GRACE
    while True:
        left = max(0.0, end - state.now)
        step = min(left, progress.every * state.start.pace) if progress else left
        reply = replied(state, (yield WaitRequested(ids=(call_id,), seconds=step, why=action or "")))
        match reply:
            case CallFinished():
                return reply
            case Interrupted(level=level, signal=signal):
                state.level, state.signal = level, signal
                if level >= LEAVE:
                    return _lost(state, call_id, "left while it was running")
                if level >= CANCEL:
                    return (yield from _cancel(state, call_id))
            case WaitElapsed():
                if state.now >= end - 1e-6:
                    return (yield from _cancel(state, call_id))
                if progress is not None and action is not None:
                    yield from _progress(state, progress, action)
            case _:
                raise AssertionError(f"not a reply to a wait: {reply!r}")


def _cancel(state: State, call_id: str) -> Run[CallFinished]:
    reply = replied(state, (yield CancelRequested(call_id)))
    assert isinstance(reply, CallFinished)
    return reply


def _lost(state: State, call_id: str, why: str) -> CallFinished:
    error = {"code": "left", "message": why}
    return CallFinished(call_id, state.now, 0.0, error=error, made_by="engine", happened="unknown")


def _progress(state: State, progress: Progress, action: str) -> Run[None]:
    rendered = render(state, progress, state.scope(), PROBE_DEADLINE)
    if isinstance(rendered, Unknown):
        return
    number = state.attempt(f"progress:{action}")
    finished = yield from read(state, f"{action}/progress/{number}", action, "progress", rendered)
    if finished.error is None and isinstance(finished.answer, dict):
        yield ActionProgressed(action, text(progress.says, state.scope(**finished.answer)))
