"""Turns an action into exactly what would be sent, with its measured impact. Pure: nothing is sent here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .executor import Effect, least_declarable
from .expressions import Unknown, compile_expression
from .model import Act, Action, SubAct, Undo
from .state import ACTION_DEADLINE, Rendered, Scope, State, render, text, unique

Json = Any
MASK = re.compile(r"\*\*\*|\[secret [^\]]+\]")  # what a secret became before it could be read here


@dataclass(frozen=True, slots=True)
class PlannedAct:
    """One request of an action, the scope it was rendered in, and the way back that belongs to it."""

    id: str
    title: str
    rendered: Rendered
    undo: Undo | None
    item: Mapping[str, Json]
    proceed: bool = False  # ask `batch.proceed` before this one


@dataclass(frozen=True, slots=True)
class Plan:
    """All that an action would do. `count` is its measured impact, None where it has none."""

    id: str
    title: str
    acts: tuple[PlannedAct, ...]
    impact: str
    count: float | None
    items: tuple[Json, ...]
    affected: int | None
    manual: str = ""
    frozen: tuple[Json, ...] | None = None  # the list of `each`, as it was when the gate was drawn
    named: str = ""  # what a gate that wants a word asks for: the value of `names`

    def targets(self) -> list[str]:
        return unique([act.rendered.target for act in self.acts])

    def requests(self, state: State) -> list[str]:
        """The exact requests, as their executors show them."""
        if self.manual:
            return [f"by hand: {self.manual}"]
        return [f"{act.rendered.target}: {_shown(state, act)}" for act in self.acts]

    def undo_text(self, state: State, snapshot: Iterable[str] = ()) -> str:
        """What an undo would send. Its snapshot is not taken yet: values of `before` are named."""
        before = {name: f"<{name} as it was>" for name in snapshot}
        undos = [(act, act.undo) for act in self.acts if act.undo is not None]
        return "; ".join(unique([_undo_line(state, act, undo, before) for act, undo in undos]))

    def signature(self) -> str:
        """What consent is bound to: every request that would be sent, those for the frozen list among them."""
        sent = [act.rendered.as_json() for act in self.acts]
        return hashlib.sha256(json.dumps([sent, self.manual], sort_keys=True, default=str).encode()).hexdigest()

    def word(self) -> str:
        """What a destructive gate asks to be typed: what `names` says, else the count, else the action's name."""
        return self.named or (f"{self.count:g}" if self.count is not None else self.id)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a plan is not carried out. `changed`: it is no longer what was shown, and may be shown again."""

    reason: str
    changed: bool = False

    def __str__(self) -> str:
        return self.reason


def raised_effect(state: State, action: Act) -> tuple[Effect, bool]:
    """The effect an action is treated as, and whether that is only its author's word."""
    declared = Effect[str(getattr(action, "effect", "read"))]
    least, only_word = declared, False
    for act in _acts(action):
        if act.executor is None:
            continue
        executor = state.executors[act.executor]
        seen = least_declarable(executor, executor.Params.model_validate(act.request))[0]
        only_word = only_word or (bool(getattr(executor, "DECLARED", False)) and seen <= declared <= Effect.reversible)
        least = max(least, seen)
    # A later step that fails takes the earlier ones back behind the same gate.
    backs = undos_of(action) if isinstance(action, Action) and action.steps else ()
    return max([least, *(raised_effect(state, undo)[0] for undo in backs)]), only_word


def _acts(action: Act) -> tuple[Act, ...]:
    return action.steps if isinstance(action, Action) and action.steps else (action,)


def plan_action(state: State, action: Action, scope: Scope, frozen: tuple[Json, ...] | None = None) -> Plan | Refusal:
    """Render every request of an action and measure its impact; refuse what is unknown or beyond its limit.

    `frozen` is the list of `each` that a gate has shown: the second look acts on no other.
    """
    items = list(frozen) if frozen is not None else _list(action.each, scope)
    if isinstance(items, Refusal):
        return items
    acts: list[PlannedAct] = []
    for act in _render_all(state, action, items, scope):
        if isinstance(act, Refusal):
            return act
        acts.append(act)
    impact = _impact(action, scope)
    if isinstance(impact, Refusal):
        return impact
    named = _named(action.names, scope)
    if isinstance(named, Refusal):
        return named
    phrase, count, listed = impact
    affected = _number(action.limit.affected, scope)
    if action.limit.affected is not None and affected is None:
        return Refusal(f"its limit could not be established: {_explained(action.limit.affected, scope)}")
    return Plan(
        id=action.id,
        title=text(action.title or action.id, scope),
        acts=tuple(acts),
        impact=phrase,
        count=count,
        items=tuple(listed or items or ()),
        affected=None if affected is None else int(affected),
        manual=text(action.manual, scope) if action.manual else "",
        frozen=None if items is None else tuple(items),
        named=named,
    )


def undos_of(action: Action) -> tuple[Undo, ...]:
    """Every way back that an action has, of the whole and of its parts."""
    return tuple(undo for undo in (action.undo, *(part.undo for part in action.steps)) if undo is not None)


def plan_undo(state: State, action: Action, undos: tuple[PlannedAct, ...]) -> Plan:
    """The way back, last act first."""
    title = f"undo: {text(action.title or action.id, state.scope())}"
    return Plan(f"{action.id}:undo", title, tuple(reversed(undos)), "", None, (), None)


def render_undo(state: State, act: PlannedAct, before: Mapping[str, Json]) -> PlannedAct | Unknown | None:
    """The undo of one act with the snapshot's values filled in; None where it has none."""
    if act.undo is None:
        return None
    rendered = render(state, act.undo, state.scope(before=dict(before), **act.item), ACTION_DEADLINE)
    if isinstance(rendered, Unknown):
        return rendered
    if _masked(act.undo, rendered):
        return Unknown("a value in it is masked as a secret, and the mask must not be written back")
    return PlannedAct(f"{act.id}:undo", f"undo {act.title}", rendered, None, act.item)


def _render_all(state: State, action: Action, items: list[Json] | None, scope: Scope) -> Iterator[PlannedAct | Refusal]:
    if action.manual:
        return
    for number, (item, proceed) in enumerate(_parts(action, items), 1):
        for act in _acts(action):
            name = act.id if isinstance(act, SubAct) else action.id
            call_id = f"{action.id}/{name}/{number}"
            rendered = render(
                state, act, {**scope, **item, "call": {"id": f"{state.start.run}-{call_id}"}}, ACTION_DEADLINE
            )
            if isinstance(rendered, Unknown):
                yield Refusal(f"it cannot be rendered: {rendered.reason}")
                return
            if _masked(act, rendered):
                yield Refusal("a value in it is masked as a secret, and the mask must not be sent instead")
                return
            title = text(str(getattr(act, "title", "")) or name, {**scope, **item})
            yield PlannedAct(call_id, title, rendered, _undo_of(action, act), item, proceed)


def _undo_of(action: Action, act: Act) -> Undo | None:
    """The undo of an act; one of the whole action belongs to its first act, so that it runs last."""
    own = act.undo if isinstance(act, Action | SubAct) else None
    return own or (action.undo if action.steps and act is action.steps[0] else None)


def _masked(act: Act, rendered: Rendered) -> bool:
    """Whether a secret was masked in what would be sent. Facts and snapshots hold the mask, never the secret."""
    written = json.dumps([act.request, act.bindings, act.idents], default=str)
    sent = json.dumps([rendered.request, rendered.bindings, rendered.idents], default=str)
    return MASK.search(sent) is not None and MASK.search(written) is None


def _parts(action: Action, items: list[Json] | None) -> list[tuple[dict[str, Json], bool]]:
    """What one round of acts works on: nothing, one item, or one batch of items (then the name holds the list)."""
    if items is None:
        return [({}, False)]
    if action.batch is None:
        return [({action.item: item}, False) for item in items]
    first = action.batch.canary or action.batch.size
    cuts = [0, *range(first, len(items), action.batch.size), len(items)]
    return [({action.item: items[a:b]}, a > 0) for a, b in pairwise(cuts) if a < b]


def _list(expression: str | None, scope: Scope) -> list[Json] | Refusal | None:
    if expression is None:
        return None
    value = compile_expression(expression).evaluate(scope)
    if isinstance(value, Unknown):
        return Refusal(f"its list could not be established: {value.reason}")
    return list(value) if isinstance(value, list) and value else Refusal(f"its list is empty: {expression}")


def _impact(action: Action, scope: Scope) -> tuple[str, float | None, list[Json] | None] | Refusal:
    if action.impact is None:
        return "", None, None
    count = _number(action.impact.count, scope)
    if count is None:
        return Refusal(f"its impact could not be measured: {_explained(action.impact.count, scope)}")
    most = _number(action.limit.impact, scope)
    phrase = f"{count:g} {text(action.impact.of, scope)}"
    if action.limit.impact is not None and (most is None or count > most):
        return Refusal(
            f"its impact is beyond the limit: {phrase}, at most {'unknown' if most is None else f'{most:g}'}"
        )
    listed = _list(action.impact.items, scope)
    return phrase, count, None if isinstance(listed, Refusal) else listed


def _explained(expression: str, scope: Scope) -> str:
    return compile_expression(expression).explain(scope)


def _named(expression: str | None, scope: Scope) -> str | Refusal:
    """A word that a person can type. Without one there is no consent: an empty word would be given by Enter."""
    if expression is None:
        return ""
    value = compile_expression(expression).evaluate(scope)
    word = "" if isinstance(value, Unknown) or value is None else str(value)
    if word != word.strip() or not word.isprintable() or not word:
        return Refusal(f"what its gate would ask to be typed is not known: {_explained(expression, scope)}")
    return word


def _number(expression: str | None, scope: Scope) -> float | None:
    if expression is None:
        return None
    value = compile_expression(expression).evaluate(scope)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:  # a number of hundreds of digits from outside
        return None


def _shown(state: State, act: PlannedAct) -> str:
    return state.executors[act.rendered.executor].show(act.rendered.as_call(act.id, Effect.read))


def _undo_line(state: State, act: PlannedAct, undo: Undo, before: Mapping[str, Json]) -> str:
    rendered = render(state, undo, state.scope(before=dict(before), **act.item), ACTION_DEADLINE)
    if isinstance(rendered, Unknown):
        return f"{undo.executor}, once its values are known ({rendered.reason})"
    shown = state.executors[rendered.executor].show(rendered.as_call(act.id, Effect.read))
    return f"{rendered.target}: {shown}"
