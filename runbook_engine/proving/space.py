"""All the states of the world that could make a difference to one playbook. Pure.

An input, the place of a target, a snapshot and a fact that comes from an answer may have any value of their shape; a
fact that is made of other facts has the value that its expression gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ..events import RunStarted
from ..executor import Executor
from ..expressions import (
    BASELINES,
    Expression,
    Unknown,
    compile_expression,
    render_json,
    template_names,
    templates,
)
from ..loading.inputs import typed_value
from ..model import Act, Action, Input, Playbook, Probe
from ..probing import OF_SEVERAL
from ..state import fact_names, names_of
from .examples import example_of
from .shapes import SIZES, Shape, results_of, shapes_of

Json = Any
Path = tuple[str, ...]
Assignment = Mapping[Path, int]  # a variable and the place of its value among those it may have
NOT_ASKED = Unknown("its step was not asked")
FAILED = Unknown("its step failed")  # the place after the last value of a fact
CODES = ("refused", "timeout", "auth", "unreachable")  # what `error.code` may say
ABSENT = "absent"


@dataclass(slots=True)
class Space:
    """The variables of a playbook and how facts follow from them."""

    playbook: Playbook
    start: RunStarted
    executors: Mapping[str, Executor]
    shapes: dict[str, Shape] = field(default_factory=dict)
    variables: dict[Path, tuple[Json, ...]] = field(default_factory=dict)
    definitions: dict[str, Expression] = field(default_factory=dict)  # of facts that are made of others
    order: list[str] = field(default_factory=list)  # of facts: each after those it is made of
    owner: dict[str, Probe] = field(default_factory=dict)
    fitting: dict[str, bool] = field(default_factory=dict)  # rendered requests: whether an executor takes them

    def values(self, *, failing: bool) -> Mapping[Path, Sequence[Json]]:
        """What each variable may be; `failing`: a fact also unknown, because its step failed."""
        if not failing:
            return self.variables
        return {path: (*each, FAILED) if self._is_fact(path) else each for path, each in self.variables.items()}

    def _is_fact(self, path: Path) -> bool:
        return len(path) == 1 and path[0] in self.owner

    def closure(self, names: Iterable[str]) -> frozenset[str]:
        """These names and all that they are made of."""
        found: set[str] = set()
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += self._behind(name)
        return frozenset(found)

    def _behind(self, name: str) -> frozenset[str]:
        if name not in self.owner:
            return frozenset()
        made_of = self.definitions[name].names if name in self.definitions else frozenset()
        return made_of | asked_by(self.playbook, self.owner[name])

    def variables_of(self, names: Iterable[str]) -> list[Path]:
        wanted = set(names)
        return [path for path in self.variables if path[0] in wanted or path[0] == "targets"]

    def scope(
        self, chosen: Assignment, names: frozenset[str] | None = None, fixed: Mapping[str, Json] | None = None
    ) -> dict[str, Json]:
        """Every name that is wanted, with its value in this state. `fixed` values stand as they are."""
        run = {"id": self.start.run, "pace": self.start.pace}
        scope: dict[str, Json] = {"run": run, "call": {"id": f"{self.start.run}-call"}, BASELINES: {}}
        given = fixed or {}
        kinds = {name: {"kind": kind} for name, kind in self.start.targets.items()}
        for name, shape in self.shapes.items():
            if name not in self.owner and (names is None or name in names or name == "targets"):
                scope[name] = self._built((name,), shape, chosen)
        places = scope.get("targets")
        scope["targets"] = {name: {**((places or {}).get(name) or {}), **kind} for name, kind in kinds.items()}
        scope.update(given)
        asked: dict[str, bool] = {}
        for name in self.order:
            if name not in given and (names is None or name in names):
                scope[name] = self._fact(name, chosen, scope, asked)
        return scope

    def _fact(self, name: str, chosen: Assignment, scope: dict[str, Json], asked: dict[str, bool]) -> Json:
        probe = self.owner[name]
        if probe.id not in asked:
            asked[probe.id] = self._is_asked(probe, scope)
        if not asked[probe.id]:
            return NOT_ASKED
        if name in self.definitions:
            return self.definitions[name].evaluate(scope)
        return self._built((name,), self.shapes[name], chosen)

    def _is_asked(self, probe: Probe, scope: Mapping[str, Json]) -> bool:
        if probe.when is not None:
            wanted = compile_expression(probe.when).evaluate(scope)
            if wanted is None or isinstance(wanted, Unknown) or not wanted:
                return False
        use = self.playbook.targets.get(probe.target or "")
        places = [use.host, use.port, use.database] if use is not None else []
        return rendered(scope, places) and self.sendable(probe, scope)

    def sendable(self, act: Act, scope: Mapping[str, Json]) -> bool:
        """Whether all its values are known, and an executor takes the request that they make."""
        if not has_any_template(act) or act.executor is None:
            return True
        filled = render_json({"request": act.request, "bindings": act.bindings, "idents": act.idents}, scope)
        if isinstance(filled, Unknown):
            return False
        key = f"{act.executor} {filled['request']!r}"
        if key not in self.fitting:
            self.fitting[key] = _is_taken(self.executors[act.executor], filled["request"])
        return self.fitting[key]

    def _built(self, path: Path, shape: Shape, chosen: Assignment) -> Json:
        if chosen.get(path, 0) == len(self.variables[path]):
            return FAILED
        if shape.is_list:
            size = self.variables[path][chosen.get(path, 0)]
            return None if size == ABSENT else [self._built((*path, "[]"), shape.element(), chosen)] * size
        if shape.keys:
            if self.variables[path][chosen.get(path, 0)] == ABSENT:
                return None
            return {name: self._built((*path, name), inner, chosen) for name, inner in shape.keys.items()}
        return self.variables[path][chosen.get(path, 0)]


def space_of(playbook: Playbook, start: RunStarted, executors: Mapping[str, Executor]) -> Space:
    """The space of a sound playbook; `start` tells the kinds of its targets."""
    space = Space(playbook, start, executors)
    space.owner = {name: probe for probe in playbook.probes() for name in fact_names(probe)}
    for probe in playbook.probes():
        answers = set(executors[probe.executor].ANSWERS) if probe.executor else set()
        space.definitions.update(_made_of_others(probe, answers, {*space.owner, *playbook.inputs, "targets", "run"}))
    made_of = {name: expression.text for name, expression in space.definitions.items()}
    found = shapes_of(_expressions(playbook, space.definitions), made_of, _items(playbook), _written_out(playbook))
    roots = (*playbook.inputs, *space.owner, *({"targets", "before"} & found.keys()))
    space.shapes = {name: found.get(name) or Shape() for name in roots if name not in space.definitions}
    for probe in playbook.probes():
        for name, text in probe.facts.items():
            if name in space.shapes:
                _learn_from(space.shapes[name], text, compile_expression(text))
    space.order = _ordered(space)
    for name, shape in space.shapes.items():
        if name in playbook.inputs:
            space.variables[(name,)] = _given(playbook.inputs[name], shape, start.pace)
            space.shapes[name] = Shape()
        else:
            space.variables.update(_variables((name,), shape))
    return space


def _made_of_others(probe: Probe, answers: set[str], known: set[str]) -> Iterator[tuple[str, Expression]]:
    """The facts of a probe that need nothing of its answer but through its other facts."""
    earlier: set[str] = set()
    for name, text in probe.facts.items():
        expression = compile_expression(text)
        of_answer = answers | {"error", "samples", "sampled", "answered"}
        if expression.names <= known - (of_answer - earlier) and not expression.functions & OF_SEVERAL:
            yield name, expression
        earlier.add(name)


def asked_by(playbook: Playbook, probe: Probe) -> frozenset[str]:
    """The names that decide whether a probe can be asked."""
    return names_of(probe.when) | template_names([probe.request, probe.bindings]) | _place_names(playbook, probe)


def _place_names(playbook: Playbook, act: Act) -> frozenset[str]:
    use = playbook.targets.get(act.target or "")
    return template_names([use.host, use.port, use.database]) if use is not None else frozenset()


def rendered(scope: Mapping[str, Json], value: Json) -> bool:
    """Whether every template in it can be filled in."""
    return not any(isinstance(template.render(scope), Unknown) for template in templates(value))


def has_any_template(act: Act) -> bool:
    return any(True for _ in templates([act.request, act.bindings, act.idents]))


def _is_taken(executor: Executor, request: Json) -> bool:
    try:
        executor.Params.model_validate(request)
    except ValidationError:
        return False
    return True


def _learn_from(shape: Shape, text: str, expression: Expression) -> None:
    """What a fact's own expression tells of its value."""
    for value in results_of(text):
        shape.meets(value)
    if "error.code" in text:
        for code in CODES:
            shape.meets(code)
    if expression._part.kind in ("and", "or", "not", "compare", "test"):
        shape.is_flag = True
    if expression.functions & {"rate", "delta", "rises", "changes"}:
        shape.is_number = True


def _ordered(space: Space) -> list[str]:
    """Facts after what they are made of. The loader has proved that there is no circle."""
    order: dict[str, None] = {}

    def put(name: str, above: frozenset[str]) -> None:
        if name in space.owner and name not in order and name not in above:
            for behind in sorted(space._behind(name)):
                put(behind, above | {name})
            order[name] = None

    for name in space.owner:
        put(name, frozenset())
    return list(order)


def _variables(path: Path, shape: Shape) -> Iterator[tuple[Path, tuple[Json, ...]]]:
    """A variable for each part of a value; nobody answers a list with holes."""
    of_list = path[-1] == "[]"
    if shape.is_list:
        sizes = dict.fromkeys((*SIZES, *(size for size in sorted(shape.sizes) if 0 <= size <= 50)))
        yield path, (*sizes, ABSENT)
        yield from _variables((*path, "[]"), shape.element())
    elif shape.keys:
        yield path, ("there",) if of_list else ("there", ABSENT)
        for name, inner in shape.keys.items():
            yield from _variables((*path, name), inner)
    else:
        yield path, tuple(value for value in shape.scalars() if value is not None or not of_list)


def _given(wanted: Input, shape: Shape, pace: float) -> tuple[Json, ...]:
    """Values that a person could give, the default first."""
    shape.is_number = wanted.type in ("integer", "number", "duration", "size")
    tried = [wanted.default, *(wanted.enum or ()), *shape.scalars(), example_of(wanted.pattern or "")]
    found: dict[str, Json] = {"None": None} if wanted.optional and wanted.default is None else {}
    for value in tried:
        if value is None:
            continue
        try:
            typed = typed_value(wanted, value)
        except (ValueError, TypeError, OverflowError):
            continue
        typed = typed * pace if wanted.type == "duration" else typed
        found.setdefault(repr(typed), typed)
    return tuple(found.values()) or (None,)


def _items(playbook: Playbook) -> dict[str, str]:
    """`each … as NAME`: what the name stands for."""
    return {action.item: action.each for action in playbook.resolution if action.each and action.batch is None}


def _written_out(playbook: Playbook) -> Iterator[str]:
    """What stands in a request as it is: a list of values is bound, what stands alone is text or a number."""
    acts: list[Act] = [
        *playbook.probes(),
        *(part for action in playbook.resolution for part in (action, *action.steps)),
    ]
    for act in acts:
        yield from _in_templates([act.request])


def _expressions(playbook: Playbook, definitions: Mapping[str, Expression]) -> Iterator[str]:
    """Everything that reads a value, as the text of an expression."""
    yield from (expression.text for expression in definitions.values())
    for probe in playbook.probes():
        yield from (each for each in (probe.when, probe.present, probe.recovering) if each is not None)
        yield from _in_act(probe)
    for cause in playbook.causes:
        yield cause.needs
        yield from (evidence.when for evidence in (*cause.supports, *cause.against))
        yield from _in_templates([cause.see.inputs if cause.see else {}])
    for use in playbook.targets.values():
        yield from _in_templates([use.host, use.port, use.database])
    for action in playbook.resolution:
        yield from _in_action(action)


def _in_action(action: Action) -> Iterator[str]:
    impact, verify, batch = action.impact, action.verify, action.batch
    plain = [action.guard, action.names]
    plain += [f"({each}) | first" for each in (action.each, impact.items if impact else None) if each is not None]
    counted = [action.limit.impact, action.limit.affected, impact.count if impact else None]
    plain += [f"({each}) + 0" for each in counted if each is not None]
    plain += [verify.until] if verify else []
    plain += [batch.proceed] if batch else []
    undos = [undo for undo in (action.undo, *(part.undo for part in action.steps)) if undo is not None]
    for act in (action, *action.steps, *action.snapshot.values(), *undos):
        yield from _in_act(act)
    plain += [text for undo in undos for text in (undo.guard, undo.verify.until if undo.verify else None)]
    yield from (each for each in plain if each is not None)


def _in_act(act: Act) -> Iterator[str]:
    yield from _in_templates([act.request, act.bindings, act.idents])


def _in_templates(values: Sequence[Json]) -> Iterator[str]:
    for template in templates(list(values)):
        yield from (expression.text for expression in template.expressions)
