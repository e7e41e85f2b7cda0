"""The open connections of one run: a few per target for reads, one for writes, each used by one thread at a time.

It must never let a write leave when somebody else answers than the one the gate showed.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Refused, TargetError, UsageError
from .events import CallFinished, CallRequested
from .executor import Call, Effect, Executor, Identity, Session, Target

Json = Any
Key = tuple[str, str, str, str]  # executor, target, overrides, mode
DEEPEST = 64  # levels of an answer; JSON that people mean has a handful
READERS = 4  # per target: a diagnosis asks several things at once, but must not become the load itself


@dataclass(slots=True)
class Sessions:
    """`find` gives a target's settings; a session is opened when it is first needed and kept for the run."""

    find: Callable[[str, Mapping[str, Json]], Target]
    executors: Mapping[str, Executor]
    mask: Callable[[Json], Json] = lambda value: value  # what the journal sees of an identity is what gates compare
    run: str = ""  # goes before a call's id: what leaves this machine must differ from one run to the next
    idle: dict[Key, list[tuple[Session, Identity]]] = field(default_factory=dict)
    open: dict[Key, int] = field(default_factory=dict)
    busy: dict[str, Session] = field(default_factory=dict)  # call id -> its session
    dropped: set[str] = field(default_factory=set)  # calls that were cancelled, perhaps before they had a session
    changed: threading.Condition = field(default_factory=threading.Condition)

    def perform(self, request: CallRequested) -> CallFinished:
        """One call from beginning to end; never raises."""
        try:
            return self._perform(request)
        except (TargetError, Refused) as error:
            return _failed(request, error)
        except UsageError as error:  # a setting of the target that its executor cannot use: nothing was sent
            return _failed(request, TargetError("unconfigured", str(error), "no"))
        except Exception as error:  # an executor may raise anything: here is the edge
            return _failed(request, TargetError("error", f"{type(error).__name__}: {error}"))

    def _perform(self, request: CallRequested) -> CallFinished:
        key = _key(request)
        session, identity = self._ready(key, request)
        keep = False
        try:
            self._check(request, identity)
            self._not_dropped(request)
            answer = None if request.request is None else session.call(_call(request, self.run))
            keep = True
        except (Refused, TargetError) as error:
            keep = isinstance(error, Refused) or error.code not in _BROKEN
            raise
        finally:
            self._give_back(key, request.id, session, identity, keep=keep)
        shown = {"name": identity.name, "facts": dict(identity.facts)}
        odd = oddity(answer)
        if odd and request.mode == "read":
            raise TargetError("data", odd, "no")
        return CallFinished(request.id, 0.0, 0.0, answer={"dropped": odd} if odd else answer, identity=shown)

    def _ready(self, key: Key, request: CallRequested) -> tuple[Session, Identity]:
        """A session for this call. Whatever goes wrong here, nothing of the request was sent."""
        try:
            return self._take(key, request)
        except TargetError as error:
            raise TargetError(error.code, error.message, "no") from error
        except (Refused, UsageError):
            raise
        except Exception as error:
            raise TargetError("error", f"{type(error).__name__}: {error}", "no") from error

    def _not_dropped(self, request: CallRequested) -> None:
        with self.changed:
            if request.id in self.dropped:
                raise TargetError("cancelled", "cancelled before it was sent", "no")

    def _free(self, key: Key, request: CallRequested, most: int) -> bool:
        return bool(self.idle.get(key)) or self.open.get(key, 0) < most or request.id in self.dropped

    def _take(self, key: Key, request: CallRequested) -> tuple[Session, Identity]:
        most = READERS if request.mode == "read" else 1
        with self.changed:
            free = self.changed.wait_for(lambda: self._free(key, request, most), request.deadline)
            if request.id in self.dropped:
                raise TargetError("cancelled", "cancelled before it was sent", "no")
            if not free:
                raise TargetError("timeout", f"all {most} sessions to {request.target} were busy", "no")
            if self.idle.get(key):
                session, identity = self.idle[key].pop()
                self.busy[request.id] = session
                return session, identity
            self.open[key] = self.open.get(key, 0) + 1
        try:
            return self._connect(request)
        except BaseException:
            with self.changed:
                self.open[key] -= 1
                self.changed.notify_all()
            raise

    def _connect(self, request: CallRequested) -> tuple[Session, Identity]:
        target = self.find(request.target, request.overrides)
        session = self.executors[request.executor].connect(target, request.mode)
        with self.changed:
            self.busy[request.id] = session
        try:
            return session, session.identity()
        except BaseException:
            with self.changed:
                self.busy.pop(request.id, None)
            session.close()
            raise

    def _check(self, request: CallRequested, identity: Identity) -> None:
        """What answers now must be what the gate showed."""
        facts = self.mask(dict(identity.facts)) if request.expect else {}
        differing = [
            f"{name} was {value!r}, is {facts.get(name)!r}"
            for name, value in (request.expect or {}).items()
            if facts.get(name) != value
        ]
        if differing:
            raise Refused(f"somebody else answers at {request.target} than the gate showed: {'; '.join(differing)}")

    def _give_back(self, key: Key, call_id: str, session: Session, identity: Identity, *, keep: bool) -> None:
        with self.changed:
            mine = self.busy.pop(call_id, None) is not None
            if keep and mine and call_id not in self.dropped:
                self.idle.setdefault(key, []).append((session, identity))
            else:
                self.open[key] -= 1
            self.changed.notify_all()
        if not (keep and mine) or call_id in self.dropped:
            session.close()

    def cancel(self, call_id: str) -> None:
        """End a call from outside. Its session is not used again: what it would answer next is not known."""
        with self.changed:
            self.dropped.add(call_id)
            session = self.busy.get(call_id)
            self.changed.notify_all()
        if session is not None:
            session.cancel()

    def abandon(self, call_id: str) -> None:
        """Forget a session whose thread still hangs; the process ends without waiting for it."""
        with self.changed:
            self.dropped.add(call_id)
            self.busy.pop(call_id, None)

    def close(self) -> None:
        with self.changed:
            sessions = [session for pool in self.idle.values() for session, _ in pool]
            self.idle.clear()
        for session in sessions:
            session.close()


_BROKEN = frozenset({"timeout", "reset", "cancelled", "refused", "unreachable", "error", "57P01", "08006", "08003"})


def _key(request: CallRequested) -> Key:
    overrides = repr(sorted(request.overrides.items()))
    return request.executor, request.target, overrides, request.mode


def _call(request: CallRequested, run: str) -> Call:
    return Call(
        id=f"{run}/{request.id}" if run else request.id,
        request=request.request,
        bindings=request.bindings,
        idents=request.idents,
        autocommit=request.autocommit,
        effect=Effect[request.effect],
        deadline=request.deadline,
        affected=request.affected,
    )


def oddity(answer: Json) -> str:
    """What makes an answer no plain JSON that can be journaled: endless nesting, a number that is none. Or nothing."""
    level: list[Json] = [answer]
    for _ in range(DEEPEST):
        if any(isinstance(value, float) and not math.isfinite(value) for value in level):
            return "the answer holds a number that is infinite or none at all"
        level = [child for value in level for child in _children(value)]
        if not level:
            return ""
    return f"the answer is nested more than {DEEPEST} levels deep"


def _children(value: Json) -> list[Json]:
    if isinstance(value, dict):
        return list(value.values())
    return list(value) if isinstance(value, list | tuple) else []


def _failed(request: CallRequested, error: TargetError | Refused) -> CallFinished:
    """What an error means for its call: who made it, and whether the effect may have happened."""
    if isinstance(error, Refused):
        shown = {"code": "refused_by_engine", "message": str(error)}
        return CallFinished(request.id, 0.0, 0.0, error=shown, made_by="engine", happened="no")
    return CallFinished(
        request.id,
        0.0,
        0.0,
        error={"code": error.code, "message": error.message},
        made_by="engine" if error.code in ("unconfigured", "cancelled") else "target",
        happened=error.happened if request.mode == "write" else "no",
    )
