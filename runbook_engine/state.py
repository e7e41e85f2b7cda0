"""What a run knows so far, and the scopes its expressions see. Pure: it changes only by replies."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from .events import CallFinished, Event, Reply, RunStarted
from .executor import Call, Effect, Executor
from .expressions import Unknown, compile_expression, compile_template, render_json
from .model import Act, Playbook, Probe
from .policy import Policy

Json = Any
T = TypeVar("T")
Run = Generator[Event, Reply | None, T]
Scope = dict[str, Json]

PROBE_DEADLINE = 10.0
ACTION_DEADLINE = 60.0


@dataclass(slots=True)
class State:
    """One run. `facts` holds values and Unknowns alike; `now` is the newest time any reply told."""

    start: RunStarted
    playbook: Playbook
    needs: Mapping[str, frozenset[str]]  # probe -> probes it waits for
    executors: Mapping[str, Executor]
    policy: Policy
    facts: dict[str, Json] = field(default_factory=dict)
    identities: dict[str, Mapping[str, Json]] = field(default_factory=dict)
    confirmed: dict[str, Mapping[str, Json]] = field(default_factory=dict)  # who answered when the gate was drawn
    attempts: dict[str, int] = field(default_factory=dict)
    calls: dict[str, str] = field(default_factory=dict)  # call id -> target
    unchecked: list[str] = field(default_factory=list)
    answered: bool = False  # any target has answered anything
    unasked: bool = False  # a question found nobody
    acted: bool = False  # an intent was written down: what follows is no longer only looking
    was_broken: bool = False  # a symptom was seen before anything was done
    now: float = 0.0
    budget_end: float = 0.0
    level: int = 0  # how often Ctrl-C was pressed
    signal: str = "SIGINT"
    fixed: Scope = field(default_factory=dict)

    def heard(self, reply: Reply | None) -> None:
        """The clock is what replies say it is."""
        at = getattr(reply, "at", None)
        if isinstance(at, float):
            self.now = max(self.now, at)
        if isinstance(reply, CallFinished) and reply.identity is not None:
            self.identities[self.calls[reply.id]] = reply.identity

    def attempt(self, step: str) -> int:
        self.attempts[step] = self.attempts.get(step, 0) + 1
        return self.attempts[step]

    def scope(self, **more: Json) -> Scope:
        """Names in scope everywhere: inputs, facts, targets, run. Facts that nobody delivered are unknown."""
        if not self.fixed:
            self.fixed = self._fixed()
        return {**self.fixed, **self.facts, **more}

    def _fixed(self) -> Scope:
        """What does not change in a run; a fact takes the place of its own absence."""
        unasked = Unknown("its step was not asked")
        places = self.start.places
        return {
            **{name: unasked for probe in self.playbook.probes() for name in fact_names(probe)},
            **self.start.inputs,
            "targets": {name: {"kind": kind, **places.get(name, {})} for name, kind in self.start.targets.items()},
            "run": {"id": self.start.run, "pace": self.start.pace},
            "__baselines__": self.start.baselines,
        }

    def owners(self, names: frozenset[str]) -> tuple[Probe, ...]:
        """The probes that establish these facts."""
        probes = self.playbook.probes() if names else ()
        return tuple(probe for probe in probes if not names.isdisjoint(fact_names(probe)))

    def target_of(self, act: Act) -> str:
        """The target an act uses: the one it names, or the only one of a kind its executor serves."""
        if act.target is not None:
            return act.target
        assert act.executor is not None
        kinds = self.executors[act.executor].KINDS
        fitting = [name for name in self.playbook.targets if self.kind_of(name) in kinds]
        return fitting[0] if fitting else next(iter(sorted(kinds)))

    def kind_of(self, target: str) -> str:
        use = self.playbook.targets[target]
        return use.kind if use.kind is not None else self.kind_of(use.derived_from or "")

    def overrides_of(self, target: str, scope: Scope) -> dict[str, Json] | Unknown:
        """Settings that a derived target changes, and which target it comes from."""
        use = self.playbook.targets.get(target)
        if use is None or use.derived_from is None:
            return {}
        changed = {"host": use.host, "port": use.port, "database": use.database}
        return render_json({"from": use.derived_from, **{k: v for k, v in changed.items() if v is not None}}, scope)


@dataclass(frozen=True, slots=True)
class Rendered:
    """An act with every value filled in: what will be sent, to whom."""

    executor: str
    target: str
    overrides: Mapping[str, Json]
    request: Json
    bindings: Mapping[str, Json]
    idents: Mapping[str, str]
    autocommit: bool
    deadline: float

    def as_call(self, call_id: str, effect: Effect, affected: int | None = None) -> Call:
        return Call(
            id=call_id,
            request=self.request,
            bindings=self.bindings,
            idents=self.idents,
            autocommit=self.autocommit,
            effect=effect,
            deadline=self.deadline,
            affected=affected,
        )

    def as_json(self) -> dict[str, Json]:
        return {
            "executor": self.executor,
            "target": self.target,
            "overrides": dict(self.overrides),
            "request": self.request,
            "bindings": dict(self.bindings),
            "idents": dict(self.idents),
            "autocommit": self.autocommit,
            "deadline": self.deadline,
        }


def fact_names(probe: Probe) -> tuple[str, ...]:
    return (*probe.facts, probe.ask.fact) if probe.ask else tuple(probe.facts)


def render(state: State, act: Act, scope: Scope, deadline: float) -> Rendered | Unknown:
    """Fill in an act. Unknown when a value it needs is unknown: then it cannot be sent."""
    assert act.executor is not None
    target = state.target_of(act)
    overrides = state.overrides_of(target, scope)
    request = _shaped(state.executors[act.executor], act.request)
    filled = render_json({"request": request, "bindings": act.bindings, "idents": act.idents}, scope)
    if isinstance(overrides, Unknown):
        return overrides
    if isinstance(filled, Unknown):
        return filled
    unfit = _unfit(state.executors[act.executor], request, filled["request"])
    if unfit:
        return Unknown(unfit)
    return Rendered(
        executor=act.executor,
        target=target,
        overrides=overrides,
        request=filled["request"],
        bindings=filled["bindings"],
        idents={name: str(value) for name, value in filled["idents"].items()},
        autocommit=act.autocommit,
        deadline=act.timeout if act.timeout is not None else deadline,
    )


def _unfit(executor: Executor, written: Json, filled: Json) -> str:
    """Why a request with its values filled in cannot be sent: what a target answered may be of any type."""
    misread = getattr(executor.Params, "misread", None)
    if misread is not None and (reason := misread(written, filled)):
        return str(reason)
    try:
        executor.Params.model_validate(filled)
    except ValidationError as error:
        first = error.errors()[0]
        return f"with its values it is no request any more: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    return ""


def _shaped(executor: Executor, request: Json) -> Json:
    """A request whose shape keeps values apart is rendered in that shape: the segments of a URL's path."""
    shaped = getattr(executor.Params, "shaped", None)
    return request if shaped is None else shaped(executor.Params.model_validate(request))


def text(template: str, scope: Scope) -> str:
    """A title or message with its values; a question mark stands for what is not known."""
    return compile_template(template).explain(scope, unknown="?")


def holds(expression: str | None, scope: Scope) -> tuple[bool | None, str]:
    """True, false or None for unknown, with the explanation. No expression holds; none says neither yes nor no."""
    if expression is None:
        return True, ""
    compiled = compile_expression(expression)
    value = compiled.evaluate(scope)
    return (None if value is None or isinstance(value, Unknown) else bool(value)), compiled.explain(scope)


def absent(expression: str | None, scope: Scope) -> bool:
    """Whether it is known not to hold. It is asked after every answer, so nothing is explained here."""
    if expression is None:
        return False
    value = compile_expression(expression).evaluate(scope)
    return value is not None and not isinstance(value, Unknown) and not value


def split(facts: Mapping[str, Json]) -> tuple[dict[str, Json], dict[str, str]]:
    """Known facts, and the reasons of those that are not."""
    known = {name: value for name, value in facts.items() if not isinstance(value, Unknown)}
    return known, {name: value.reason for name, value in facts.items() if isinstance(value, Unknown)}


def names_of(*expressions: str | None) -> frozenset[str]:
    return frozenset[str]().union(*(compile_expression(item).names for item in expressions if item is not None))


def unique(items: Sequence[T]) -> list[T]:
    seen: list[T] = []
    for item in items:
        if item not in seen:
            seen.append(item)
    return seen
