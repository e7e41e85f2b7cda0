"""Checks that every name in every expression and template exists where it stands, and wires data to code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...expressions import (
    Expression,
    ExpressionError,
    Template,
    compile_expression,
    compile_template,
    has_template,
)
from ...model import Action, Cause, Probe
from ..positions import Loc
from ..suggestions import suggest
from .checking import Checking, Placed, fact_names

Json = Any

MOST_SUGGESTIONS = 100  # a file with more complaints was not mistyped
GLOBAL = frozenset({"targets", "run"})
SAMPLING = frozenset({"rate", "delta", "rises", "changes", "diff"})
ANSWERED = frozenset({"error", "samples", "sampled", "answered"})
RESERVED = (
    GLOBAL
    | ANSWERED
    | {"call", "before", "item", "true", "false", "none", "and", "or", "not", "in", "is", "if", "else"}
)

_TEMPLATE = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)
_ELSEWHERE = {
    "before": "'before' exists only in the undo and the verification of an action that has a snapshot",
    "item": "'item' exists only in the requests and undo of an action that has `each`",
    "call": "'call' exists only in what a step of symptoms or diagnosis asks",
    "samples": "'samples' exists only inside facts",
    "sampled": "'sampled' exists only inside facts",
    "answered": "'answered' exists only inside facts",
    "error": "'error' exists only inside facts",
}

_NEEDING = {"before": "snapshot", "item": "each"}  # a name that another key brings about


@dataclass(frozen=True, slots=True)
class Scope:
    """What may be named somewhere. `later` are facts that exist, but only further down."""

    names: frozenset[str]
    facts: frozenset[str]
    sampling: bool = False
    later: frozenset[str] = field(default=frozenset())

    def also(self, *names: str) -> Scope:
        return replace(self, names=self.names | set(names))


def check_names(checking: Checking) -> None:
    playbook = checking.playbook
    facts = frozenset(name for probe in playbook.probes() for name in fact_names(probe))
    scope = Scope(GLOBAL | facts | playbook.inputs.keys(), facts)
    _check_declared(checking)
    for probe, loc in checking.placed_probes():
        _check_probe(checking, probe, loc, scope)
    for index, cause in enumerate(playbook.causes):
        _check_cause(checking, cause, ("causes", index), scope)
    for action, loc in checking.placed_actions():
        _check_action(checking, action, loc, scope)
    for placed in checking.acts():
        _check_act(checking, placed, _scope_of(placed, scope))
    for name, use in playbook.targets.items():
        for key in ("host", "port", "database"):
            _data(checking, ("targets", name, key), getattr(use, key), scope)


def _check_declared(checking: Checking) -> None:
    """A fact has one name in the whole playbook, and it hides nothing."""
    owners: dict[str, str] = {}
    for probe, loc in checking.placed_probes():
        for name in fact_names(probe):
            place: Loc = (*loc, "facts", name) if name in probe.facts else (*loc, "ask", "fact")
            if name in RESERVED:
                checking.complain(place, "RB206", f"a fact cannot be called {name!r}: the language uses it", key=True)
            elif name in checking.playbook.inputs:
                checking.complain(
                    place, "RB206", f"the fact {name!r} would hide the input of that name. rename one", key=True
                )
            elif name in owners:
                message = f"the fact {name!r} is already established by step {owners[name]!r}. rename one"
                checking.complain(place, "RB206", message, key=True)
            owners.setdefault(name, probe.id)
    for name in checking.playbook.inputs:
        if name in RESERVED:
            checking.complain(
                ("inputs", name), "RB206", f"an input cannot be called {name!r}: the language uses it", key=True
            )


def _check_probe(checking: Checking, probe: Probe, loc: Loc, scope: Scope) -> None:
    _expression(checking, (*loc, "when"), probe.when, _asking(scope, probe))
    for key in ("present", "recovering"):
        _expression(checking, (*loc, key), getattr(probe, key), scope)
    _data(checking, (*loc, "title"), probe.title, scope)
    if probe.ask is not None:
        _data(checking, (*loc, "ask", "question"), probe.ask.question, scope)
    executor = checking.executor_of(probe)
    answers = frozenset(executor.ANSWERS) if executor is not None else frozenset()
    inside = replace(scope, sampling=probe.sample is not None, names=scope.names | answers | ANSWERED)
    written = list(probe.facts)
    for index, (name, text) in enumerate(probe.facts.items()):
        later = frozenset(written[index:]) - answers
        _expression(checking, (*loc, "facts", name), text, replace(inside, later=later))


def _asking(scope: Scope, probe: Probe) -> Scope:
    """A step cannot use what it is about to establish."""
    return replace(scope.also("call"), later=frozenset(fact_names(probe)))


def _check_cause(checking: Checking, cause: Cause, loc: Loc, scope: Scope) -> None:
    _expression(checking, (*loc, "needs"), cause.needs, scope)
    for key in ("title", "advice"):
        _data(checking, (*loc, key), getattr(cause, key), scope)
    for key, evidence in (("for", cause.supports), ("against", cause.against)):
        for index, item in enumerate(evidence):
            _expression(checking, (*loc, key, index, "when"), item.when, scope)
            _data(checking, (*loc, key, index, "says"), item.says, scope)
    if cause.see is not None:
        _data(checking, (*loc, "see", "inputs"), cause.see.inputs, scope)


def _check_action(checking: Checking, action: Action, loc: Loc, scope: Scope) -> None:
    before = scope.also("before") if action.snapshot else scope
    item = scope.also(action.item) if action.each is not None else scope
    for key in ("guard", "each", "names"):
        _expression(checking, (*loc, key), getattr(action, key), scope)
    for key in ("title", "about", "manual"):
        _data(checking, (*loc, key), getattr(action, key), scope)
    if action.impact is not None:
        _expression(checking, (*loc, "impact", "count"), action.impact.count, scope)
        _expression(checking, (*loc, "impact", "items"), action.impact.items, scope)
        _data(checking, (*loc, "impact", "of"), action.impact.of, scope)
    for key in ("impact", "affected"):
        _expression(checking, (*loc, "limit", key), getattr(action.limit, key), scope)
    if action.batch is not None:
        _expression(checking, (*loc, "batch", "proceed"), action.batch.proceed, item)
    if action.verify is not None:
        _expression(checking, (*loc, "verify", "until"), action.verify.until, before)
    for index, part in enumerate(action.steps):
        _data(checking, (*loc, "steps", index, "title"), part.title, item)
    if action.progress is not None:
        executor = checking.executor_of(action.progress)
        _data(
            checking,
            (*loc, "progress", "says"),
            action.progress.says,
            scope.also(*(executor.ANSWERS if executor else ())),
        )
    for undo, place in [(action.undo, (*loc, "undo"))] + [
        (part.undo, (*loc, "steps", index, "undo")) for index, part in enumerate(action.steps)
    ]:
        if undo is not None:
            _expression(checking, (*place, "guard"), undo.guard, before)
            if undo.verify is not None:
                _expression(checking, (*place, "verify", "until"), undo.verify.until, before)
    if action.each is not None and action.item in scope.names:
        checking.complain(
            (*loc, "as"), "RB206", f"{action.item!r} is already a name. choose another in `as:`", key=True
        )


def _scope_of(placed: Placed, scope: Scope) -> Scope:
    """What the request of an act may name."""
    owner = placed.owner
    if isinstance(owner, Probe):
        return _asking(scope, owner)
    if placed.role in ("snapshot", "progress"):
        return scope
    names = {owner.item} if owner.each is not None else set()
    names |= {"before"} if placed.role == "undo" and owner.snapshot else set()
    return scope.also(*names)


def _check_act(checking: Checking, placed: Placed, scope: Scope) -> None:
    act, loc = placed.act, placed.loc
    code = (act.executor == "sql" and not isinstance(act.request, dict)) or (
        act.executor == "shell" and isinstance(act.request, str)
    )
    if not code:
        _data(checking, (*loc, "request"), act.request, scope)
    _data(checking, (*loc, "with"), dict(act.bindings), scope)
    _data(checking, (*loc, "idents"), dict(act.idents), scope)
    executor, params = checking.executor_of(act), checking.params.get(loc)
    if executor is None or params is None:
        return
    bound = executor.bound_names(params)
    filled = {}
    for name in sorted(bound - act.bindings.keys()):
        if name in scope.names and name not in scope.later:
            filled[name] = "${{ " + name + " }}"
        elif not checking.may_be_lost(name) and not checking.maimed(loc):
            offset = _offset(act.request, f"%({name})s") if isinstance(act.request, str) else None
            near = suggest(name, scope.names | act.bindings.keys())
            message = f"{placed.what}: %({name})s has no value. name it in with:{near}"
            checking.complain((*loc, "request"), "RB303", message, offset=offset)
    for name in sorted(act.bindings.keys() - bound) if act.executor == "sql" else ():
        message = f"{placed.what}: {name!r} of 'with' is not used: there is no %({name})s{suggest(name, bound)}"
        checking.complain((*loc, "with", name), "RB303", message, key=True)
    if filled:
        checking.fills.append((loc, "with", {**act.bindings, **filled}))


def _offset(text: str, part: str) -> int | None:
    return text.find(part) if part in text else None


def _expression(checking: Checking, loc: Loc, text: str | None, scope: Scope) -> None:
    if text is None:
        return
    try:
        compiled = compile_expression(text)
    except ExpressionError as error:
        checking.complain(loc, "RB201", f"{checking.place(loc)}: {error.message}", offset=error.offset)
        return
    _check_mentions(checking, loc, text, compiled, scope)


def _data(checking: Checking, loc: Loc, value: Json, scope: Scope) -> None:
    """Every template in JSON data, each at its own place."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            _data(checking, (*loc, key), item, scope)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _data(checking, (*loc, index), item, scope)
    elif isinstance(value, str) and has_template(value):
        try:
            compiled = compile_template(value)
        except ExpressionError as error:
            checking.complain(loc, "RB201", f"{checking.place(loc)}: {error.message}", offset=error.offset)
            return
        _check_mentions(checking, loc, value, compiled, scope)


def _check_mentions(checking: Checking, loc: Loc, text: str, compiled: Expression | Template, scope: Scope) -> None:
    place = checking.place(loc)
    sampled = compiled.functions & SAMPLING
    for name in sorted(sampled if not scope.sampling and not checking.may_be_lost("sample") else ()):
        message = (
            f"{place}: {name}() needs several answers. it stands in the facts of a step with `sample: {{times, every}}`"
        )
        checking.complain(loc, "RB204", message, offset=_found(text, name))
    for name in sorted(compiled.names - ({"samples"} if sampled else set())):
        if checking.may_be_lost(_NEEDING.get(name, name)) and name not in scope.names:
            continue
        if name in scope.later:
            message = f"{place}: the fact {name!r} is not there yet: this step establishes it only afterwards"
            checking.complain(loc, "RB208", message, offset=_found(text, name))
        elif name not in scope.names:
            _complain_of_name(checking, loc, name, scope, _found(text, name))
    for name in sorted(compiled.baselines - scope.facts):
        if checking.may_be_lost(name):
            continue
        message = f"{place}: baseline of {name!r}, which is no fact{suggest(name, scope.facts)}"
        checking.complain(loc, "RB205", message, offset=_found(text, name))


def _complain_of_name(checking: Checking, loc: Loc, name: str, scope: Scope, offset: int | None) -> None:
    if name in _ELSEWHERE:
        checking.complain(loc, "RB203", f"{checking.place(loc)}: {_ELSEWHERE[name]}", offset=offset)
        return
    answering = sorted(key for key, executor in checking.executors.items() if name in executor.ANSWERS)
    if answering:
        message = (
            f"{checking.place(loc)}: {name!r} exists only inside the facts of a step with {' or '.join(answering)}"
        )
        checking.complain(loc, "RB203", message, offset=offset)
        return
    near = suggest(name, scope.names) if len(checking.complaints) < MOST_SUGGESTIONS else ""
    message = f"unknown name {name!r} in {checking.place(loc)}{near}"
    checking.complain(loc, "RB202", message, offset=offset)


def _found(text: str, name: str) -> int | None:
    """Where a name first stands in an expression, or in the expressions of a template."""
    for template in _TEMPLATE.finditer(text):
        inner = _found(template[1], name)
        if inner is not None:
            return template.start(1) + inner
    match = re.search(rf"(?<![\w.'\"]){re.escape(name)}(?!\w)", text) or re.search(rf"\b{re.escape(name)}\b", text)
    return match.start() if match else None
