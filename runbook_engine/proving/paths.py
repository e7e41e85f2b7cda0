"""Every way a run can go, by the real interpreter and without any target: what is decided, and what then happens. Pure.

At each point where the world or a person decides, all answers are tried. A path is told by its decisions, the usual
answer left out.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..cast import REFUSED
from ..events import (
    CallRequested,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    Interrupted,
    QuestionRequested,
    Reply,
    RunFinished,
    RunStarted,
    VerificationProgressed,
    WaitRequested,
)
from ..executor import Executor
from ..loader import LoadedPlaybook
from ..rehearsal import Line, Stage
from ..state import Run, fact_names, split

Json = Any
Interpret = Callable[..., Run[RunFinished]]
MOST_EVENTS = 100_000
LOOKS = 6  # at a verification, until its time is over
Worlds = Mapping[str, Mapping[str, Json]]  # by name: all facts, known and unknown
LOST = Line(seconds=math.inf)
REFUSED_BY_SERVER = Line(error={"code": "42501", "message": "permission denied"}, happened="no")
TOO_MANY = Line(error={"code": "limit", "message": "more than its limit"}, made_by="engine", happened="no")


@dataclass(frozen=True, slots=True)
class Decision:
    """One point of a path: what was asked, what was chosen, and out of what."""

    point: str
    chosen: str
    options: tuple[str, ...]

    @property
    def usual(self) -> bool:
        return self.chosen == self.options[0]


@dataclass(slots=True)
class Decisions:
    """Goes a given way as far as that is told, and the usual one from there on."""

    told: tuple[int, ...]
    taken: list[Decision] = field(default_factory=list)

    def choose(self, point: str, *options: str) -> str:
        place = self.told[len(self.taken)] if len(self.taken) < len(self.told) else 0
        self.taken.append(Decision(point, options[place], options))
        return options[place]


@dataclass(frozen=True, slots=True)
class Path:
    """One whole run."""

    decisions: tuple[Decision, ...]
    events: tuple[Event, ...]


@dataclass(slots=True)
class Fate:
    """Answers in place of targets and person, as the decisions say."""

    loaded: LoadedPlaybook
    decisions: Decisions
    worlds: Worlds  # `before`, and by action what may have become of it
    snapshots: Mapping[str, Json]
    declined: frozenset[str] = frozenset()  # actions that are usually declined: the fix under proof comes after them
    now: str = "before"
    acting: str = ""
    done: set[str] = field(default_factory=set)

    def call(self, request: CallRequested) -> Line:
        if request.mode == "write":
            return self._write(request)
        if request.request is None:
            answers = self.decisions.choose(f"who answers at {request.target}", "it", "nobody") == "it"
            return Line() if answers else Line(error=REFUSED, happened="no")
        if "/snapshot/" in request.id:
            return self._snapshot(request)
        if "/progress/" in request.id:
            return Line(answer={})
        return self._probe(request)

    def _probe(self, request: CallRequested) -> Line:
        probe = next(probe for probe in self.loaded.playbook.probes() if probe.id == request.step)
        world = self.worlds[self.now]
        known, reasons = split({name: world[name] for name in fact_names(probe)})
        return Line(answer={"facts": known, "unknown": reasons}, dropped=True, seconds=self._seconds())

    def _seconds(self) -> float:
        """Answers come slowly once something was done: a few looks are as good as the hundreds of half an hour."""
        if not self.done:
            return 0.05
        verify = self.loaded.playbook.action(self.acting).verify if self.acting else None
        return max(0.05, (verify.within if verify else 60.0) / LOOKS)

    def _snapshot(self, request: CallRequested) -> Line:
        if self.decisions.choose(f"snapshot {request.step}", "taken", "refused") == "refused":
            return REFUSED_BY_SERVER
        value = self.snapshots.get(request.step)
        return Line(answer=value if isinstance(value, dict) and "result" not in value else {"result": value})

    def _write(self, request: CallRequested) -> Line:
        """A request that changes something: done, refused in three ways, or lost without an answer."""
        ends = ("done", "refused", "beyond its limit", "lost")
        match self.decisions.choose(f"request {request.id}", *ends):
            case "refused":
                return REFUSED_BY_SERVER
            case "beyond its limit":
                return TOO_MANY
            case "lost":
                return LOST
        self._becomes(request.step)
        return Line(answer={})

    def _becomes(self, step: str) -> None:
        """What an act made of the world, chosen once for each action and once for its way back."""
        if step in self.done:
            return
        self.done.add(step)
        options = [name for name in ("worked", "failed", "stayed", "relapsed", "nobody knows") if self._has(step, name)]
        if step.endswith(":undo"):
            options = [name for name in ("undone", "nobody knows") if self._has(step.removesuffix(":undo"), name)]
        if options:
            self.acting = step.removesuffix(":undo")
            self.now = self._world(self.acting, self.decisions.choose(f"after {step}", *options))

    def _has(self, action: str, name: str) -> bool:
        needed = {"relapsed": ("worked", "failed")}.get(name, (name,))
        return all(f"{action} {each}" in self.worlds or each == "nobody knows" for each in needed)

    def _world(self, action: str, name: str) -> str:
        return name if name == "nobody knows" else f"{action} {'worked' if name == 'relapsed' else name}"

    def gate(self, gate: GateRequested) -> Literal["yes", "no", "none", "plan"]:
        usual, other = ("no", "yes") if gate.action in self.declined else ("yes", "no")
        verdict = self.decisions.choose(f"gate {gate.action}", usual, other, "nobody answers")
        if verdict == "yes" and not gate.action.endswith(":undo"):
            self._looked_at_again(gate.action)
        return {"yes": "yes", "no": "no"}.get(verdict, "none")  # type: ignore[return-value]  # of these three

    def _looked_at_again(self, action: str) -> None:
        """Between the consent and the act the world may have changed."""
        options = ["as it was", *(("its guard is false",) if f"{action} unfit" in self.worlds else ()), "nobody knows"]
        match self.decisions.choose(f"second look at {action}", *options):
            case "its guard is false":
                self.now = f"{action} unfit"
            case "nobody knows":
                self.now = "nobody knows"

    def question(self, question: QuestionRequested) -> Json:
        world = self.worlds["before"]
        fact = next(probe.ask.fact for probe in self.loaded.playbook.probes() if probe.ask and probe.id == question.id)
        return split({fact: world[fact]})[0].get(fact)

    def saw(self, event: Event) -> None:
        """What is done by hand is done after the second look; a fix that relapses does so once it was seen to work."""
        if isinstance(event, GuardChecked) and event.holds and not event.refused:
            name = event.action.removesuffix(":undo")
            if self.loaded.playbook.action(name).manual:
                self._becomes(name)
        if isinstance(event, VerificationProgressed) and event.phase == "until" and event.holds:
            last = next(
                (each for each in reversed(self.decisions.taken) if each.point == f"after {event.action}"), None
            )
            if last is not None and last.chosen == "relapsed":
                self.now = f"{event.action} failed"

    def interrupts(self, event: Event) -> int:
        """How often Ctrl-C is pressed here: at a gate, in a wait of an action, the first time only."""
        if isinstance(event, GateRequested):
            point, options = f"Ctrl-C at gate {event.action}", ["no", "once"]
        elif isinstance(event, WaitRequested) and event.why:
            point, options = f"Ctrl-C in {event.why}, {', '.join(event.ids) or 'watching'}", ["no", "once", "twice"]
        else:
            return 0
        if any(taken.point == point for taken in self.decisions.taken):
            return 0
        return options.index(self.decisions.choose(point, *options))


def path(run: Run[RunFinished], fate: Fate, wall: float) -> Path:
    """One run from its first event to its last."""
    stage = Stage(fate, wall)
    events: list[Event] = []
    reply: Reply | None = None
    while len(events) < MOST_EVENTS:
        try:
            event = run.send(reply)
        except StopIteration:
            return Path(tuple(fate.decisions.taken), tuple(events))
        events.append(event)
        fate.saw(event)
        reply = _reply(stage, fate, event)
        if reply is not None:
            events.append(reply)
    told = ", ".join(f"{each.point}: {each.chosen}" for each in fate.decisions.taken if not each.usual)
    raise AssertionError(f"a run did not end within {MOST_EVENTS} events ({told})")


def _reply(stage: Stage, fate: Fate, event: Event) -> Reply | None:
    pressed = fate.interrupts(event)
    if not pressed:
        return stage.perform(event)
    if isinstance(event, GateRequested):
        return GateAnswered(event.id, event.digest, "interrupted", "", "SIGINT", stage.now, stage.wall + stage.now)
    return Interrupted(pressed, stage.now, stage.wall + stage.now)


def paths(
    interpret: Interpret,
    start: RunStarted,
    loaded: LoadedPlaybook,
    executors: Mapping[str, Executor],
    worlds: Worlds,
    snapshots: Mapping[str, Json],
    *,
    declined: frozenset[str] = frozenset(),
    most: int,
    unusual: int,
) -> Iterator[Path]:
    """All paths on which at most `unusual` decisions go another way than usual, the nearest first; at most `most`."""
    waiting: deque[tuple[int, ...]] = deque([()])
    for _ in range(most):
        if not waiting:
            return
        told = waiting.popleft()
        fate = Fate(loaded, Decisions(told), worlds, snapshots, declined)
        found = path(interpret(start, loaded.playbook, loaded.needs, executors), fate, start.wall)
        yield found
        waiting.extend(_further(told, found.decisions, unusual))


def _further(told: tuple[int, ...], taken: tuple[Decision, ...], unusual: int) -> Iterator[tuple[int, ...]]:
    """The paths that leave this one after what it was told."""
    chosen = tuple(each.options.index(each.chosen) for each in taken)
    if sum(place > 0 for place in chosen) >= unusual:
        return
    for place in range(len(told), len(taken)):
        for other in range(1, len(taken[place].options)):
            yield (*chosen[:place], other)
