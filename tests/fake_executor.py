"""A make-believe store, as an executor: `fake: [GET, key]`, `[SET, key, value]`, `[DEL, key]`, `[WIPE, key]`.

As a module it is an executor for the driver, in this process or (over files) in another one. `play` performs a run
without driver, thread or clock: time passes only by what is scripted, so the same script gives the same events.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import RootModel

from runbook_engine.errors import Refused, TargetError
from runbook_engine.events import (
    BudgetSpent,
    CallAbandoned,
    CallFinished,
    CallRequested,
    CallStarted,
    CancelRequested,
    Event,
    GateAnswered,
    GateRequested,
    Interrupted,
    QuestionAnswered,
    QuestionRequested,
    RunFinished,
    RunStarted,
    WaitElapsed,
    WaitRequested,
)
from runbook_engine.executor import Call, Effect, Identity, Target
from runbook_engine.interpreter import interpret
from runbook_engine.loader import LoadedPlaybook, load_playbook

Json = Any
KINDS = frozenset({"redis"})
ANSWERS: Mapping[str, str] = {"result": "the value", "affected": "keys that a write touched"}
EFFECTS = {
    "GET": Effect.read,
    "HANG": Effect.read,
    "TOUCH": Effect.touch,
    "SET": Effect.reversible,
    "DEL": Effect.reversible,
}


class Params(RootModel[list[Any]]):
    """A word and its arguments."""


def least_effect(params: Params) -> tuple[Effect, str]:
    word = str(params.root[0])
    return EFFECTS.get(word, Effect.destructive), f"{word} is what it is"


def bound_names(params: Params) -> frozenset[str]:
    return frozenset()


def show(call: Call) -> str:
    return " ".join(map(str, call.request))


@dataclass
class World:
    """What the store holds: values, or functions of the time. `faults` are raised, once for each time listed."""

    values: dict[str, Json]
    faults: dict[str, list[Exception]] = field(default_factory=dict)
    takes: dict[str, float] = field(default_factory=dict)  # seconds, by key
    identity: dict[str, Json] = field(default_factory=lambda: {"run_id": "one"})
    sent: list[list[Json]] = field(default_factory=list)
    now: float = 0.0

    def answer(self, request: list[Json], mode: str = "read") -> dict[str, Json]:
        word, key = request[0], str(request[1])
        fault = self.faults.get(f"{word} {key}")
        if fault:
            raise fault.pop(0)
        if mode == "write":
            self.sent.append(request)
        if word in ("SET", "DEL", "WIPE"):
            self.values[key] = request[2] if word == "SET" else None
            return {"result": "OK", "affected": 1}
        value = self.values.get(key)
        return {"result": value(self.now) if callable(value) else value}


class FileWorld(World):
    """The same over files, so that effects outlive the process: `values.json`, and each write a line of `ledger`.

    A file `die` holding `before` or `after` kills the process at its next write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__({})

    def answer(self, request: list[Json], mode: str = "read") -> dict[str, Json]:
        if mode == "write" and (self.folder / "fail").exists():
            raise TargetError("reset", "the connection was cut", "unknown")
        self._die(mode, "before")
        self.values = json.loads((self.folder / "values.json").read_text())
        found = super().answer(request, mode)
        if mode == "write":
            with (self.folder / "ledger").open("a") as ledger:
                ledger.write(json.dumps(request) + "\n")
            (self.folder / "values.json").write_text(json.dumps(self.values))
        self._die(mode, "after")
        return found

    def _die(self, mode: str, when: str) -> None:
        order = self.folder / "die"
        if mode == "write" and order.exists() and order.read_text() == when:
            order.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


class Session:
    """One connection to a world. A request `[HANG, key]` ends only by `cancel`, or never when it is stubborn."""

    def __init__(self, world: World, mode: str, settings: Mapping[str, Json]) -> None:
        self.world, self.mode, self.settings = world, mode, settings
        self.cancelled = threading.Event()
        self.closed = False

    def identity(self) -> Identity:
        return Identity("store", dict(self.world.identity))

    def call(self, call: Call) -> Json:
        if call.request[0] == "HANG":
            self.cancelled.wait()
            raise TargetError("cancelled", "cancelled", "unknown")
        return self.world.answer(call.request, self.mode)

    def cancel(self) -> None:
        if not self.settings.get("stubborn"):
            self.cancelled.set()

    def close(self) -> None:
        self.closed = True


def connect(target: Target, mode: str) -> Session:
    world = target.settings["world"]
    if isinstance(world, str):
        return Session(FileWorld(Path(world)), mode, target.settings)
    connecting: Callable[[str], None] = target.settings.get("connecting", lambda mode: None)
    connecting(mode)
    session = Session(world, mode, target.settings)
    target.settings.get("opened", []).append(session)
    return session


def this_module() -> ModuleType:
    import fake_executor

    return fake_executor


def load(text: str) -> LoadedPlaybook:
    return load_playbook(text, "test.yaml", executors={"fake": this_module()})


def started(loaded: LoadedPlaybook, **more: Json) -> RunStarted:
    given: dict[str, Json] = {
        "run": "R-TEST1",
        "playbook": loaded.playbook.name,
        "digest": loaded.digest,
        "text": loaded.text,
        "path": loaded.path,
        "libraries": {},
        "inputs": {name: item.default for name, item in loaded.playbook.inputs.items()},
        "environment": "test",
        "targets": {"store": "redis"},
        "policy": {},
        "baselines": {},
        "history": (),
        "pace": 1.0,
        "budget": 60.0,
        "mode": "run",
        "engine": "0",
    }
    return RunStarted(**{**given, **more})


Say = Callable[[GateRequested], str]


@dataclass
class Play:
    """A run that was performed: every event and reply in order."""

    world: World
    consent: Say = lambda gate: "yes"
    answers: Mapping[str, Json] = field(default_factory=dict)
    interrupts: list[tuple[float, int]] = field(default_factory=list)  # when, level
    events: list[Event] = field(default_factory=list)
    busy: dict[str, tuple[float, CallRequested]] = field(default_factory=dict)
    most_busy: int = 0

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def end(self) -> RunFinished:
        finished = self.events[-1]
        assert isinstance(finished, RunFinished)
        return finished

    def run(self, run: Any) -> Play:
        reply: Any = None
        while True:
            try:
                event = run.send(reply)
            except StopIteration:
                return self
            self.events.append(event)
            reply = self.reply_to(event)
            if reply is not None:
                self.events.append(reply)

    def reply_to(self, event: Event) -> Any:
        now = self.world.now
        match event:
            case CallRequested():
                return self._begin(event)
            case WaitRequested():
                return self._wait(event)
            case CancelRequested():
                self.busy.pop(event.id, None)
                error = {"code": "cancelled", "message": "cancelled"}
                return CallFinished(event.id, now, now, error=error, happened="no", made_by="engine")
            case CallAbandoned():
                self.busy.pop(event.id, None)
            case GateRequested():
                verdict, _, digest = self.consent(event).partition(" ")
                how = "SIGINT" if verdict == "interrupted" else "typed"
                return GateAnswered(event.id, digest or event.digest, verdict, "anna", how, now, now)  # type: ignore[arg-type]
            case QuestionRequested():
                value = self.answers.get(event.id)
                how = "nobody" if value is None else "interrupted" if value == "^C" else "typed"
                return QuestionAnswered(event.id, None if value == "^C" else value, how, "anna", now, now)  # type: ignore[arg-type]
        return None

    def _begin(self, request: CallRequested) -> CallStarted:
        key = str(request.request[1]) if request.request else "identity"
        self.busy[request.id] = (self.world.now + self.world.takes.get(key, 0.1), request)
        self.most_busy = max(self.most_busy, len(self.busy))
        return CallStarted(request.id, self.world.now, self.world.now)

    def _wait(self, wait: WaitRequested) -> Any:
        """Whatever comes first: the end of a call, an interrupt, the time, the budget."""
        now = self.world.now
        ends = [(self.busy[each][0], 0, each) for each in wait.ids if each in self.busy]
        ends += [(max(at, now), 1, str(level)) for at, level in self.interrupts[:1]]
        ends += [(now + wait.seconds, 2, "")] if wait.seconds is not None else []
        ends += [(now + wait.budget, 3, "")] if wait.budget is not None else []
        at, which, what = min(ends)
        self.world.now = max(now, at)
        if which == 0:
            return self._finished(self.busy.pop(what)[1])
        if which == 1:
            return Interrupted(self.interrupts.pop(0)[1], self.world.now, self.world.now)
        return (WaitElapsed if which == 2 else BudgetSpent)(self.world.now, self.world.now)

    def _finished(self, request: CallRequested) -> CallFinished:
        now = self.world.now
        identity = {"name": "store", "facts": dict(self.world.identity)}
        base = CallFinished(request.id, now, now, identity=identity)
        try:
            if request.expect is not None and request.expect != self.world.identity:
                raise Refused("somebody else answers")
            return replace(base, answer=request.request and self.world.answer(request.request, request.mode))
        except Refused as error:
            shown = {"code": "refused_by_engine", "message": str(error)}
            return replace(base, error=shown, made_by="engine", happened="no", identity=None)
        except TargetError as error:
            happened = error.happened if request.mode == "write" else "no"
            shown = {"code": error.code, "message": error.message}
            return replace(base, error=shown, happened=happened, identity=None)


def play(
    text: str,
    world: World,
    *,
    consent: Say | str = "yes",
    answers: Mapping[str, Json] | None = None,
    interrupts: Iterable[tuple[float, int]] = (),
    **start: Json,
) -> Play:
    """Perform a playbook to its end in this world."""
    loaded = load(text)
    says: Say = (lambda gate: consent) if isinstance(consent, str) else consent
    performed = Play(world, says, answers or {}, list(interrupts))
    return performed.run(interpreted(loaded, started(loaded, **start)))


def interpreted(loaded: LoadedPlaybook, start: RunStarted) -> Any:
    return interpret(start, loaded.playbook, loaded.needs, {"fake": this_module()})
