"""Validates a node tree against a model and words what pydantic found in the author's terms, each at its exact place.

It judges shapes only: which keys there are and what they may hold.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from ..errors import Complaint
from ..model import ID, NAME, Act, Probe
from . import yaml_reader
from .bounds import MOST_COMPLAINTS
from .positions import Found, Loc, describe, find_node
from .salvage import Wreck, place_of, salvaged
from .source_text import complaint_at
from .suggestions import nearest, suggest
from .yaml_mistakes import missing_space

Json = Any
M = TypeVar("M", bound=BaseModel)
Lines = Mapping[str, list[str]]  # path -> its lines
MOST_ROUNDS = 12  # of taking out what is at fault and looking again; each reaches one level further

_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "mapping_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
}
_PATTERNS = {
    ID: "an id: lower-case letters, digits and '-', beginning with a letter",
    NAME: "a name: lower-case letters, digits and '_', beginning with a letter",
}
_BOUNDS = {
    "too_short": "needs at least {min_length}",
    "too_long": "may have at most {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "may have at most {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
}
_CODES = {"extra_forbidden": "RB101", "missing": "RB102", "value_error": "RB104", "literal_error": "RB104"}


@dataclass(slots=True)
class Shape(Generic[M]):
    """What became of a tree: the model, what is wrong, and the tree and the data that the model is of.

    Where something is wrong, the tree is what could be salvaged; `wreck` is what it lost on the way.
    """

    model: M | None
    complaints: list[Complaint]
    root: yaml_reader.Node
    data: Json
    wreck: Wreck


def validate_shape(
    model: type[M], root: yaml_reader.Node, lines: Lines, context: Mapping[str, Json], wreck: Wreck | None = None
) -> Shape[M]:
    """Judges every part that can be judged: what is at fault is taken out, to look at the rest."""
    executors: Collection[str] = context.get("executors", ())
    shape: Shape[M] = Shape(None, [], root, yaml_reader.plain(root), wreck or Wreck())
    for _ in range(MOST_ROUNDS):
        try:
            shape.model = model.model_validate(shape.data, context=dict(context))
            break
        except ValidationError as error:
            errors = error.errors(include_url=False)
        misspelt = _misspelt(errors, model, executors)
        for item in _first_causes([each for each in errors if each["loc"] not in misspelt], shape, executors):
            if len(shape.complaints) <= MOST_COMPLAINTS:
                shape.complaints.append(shape_complaint(item, model, shape.root, lines, context))
        if not isinstance(shape.root, yaml_reader.Mapping) or len(shape.complaints) > MOST_COMPLAINTS:
            break
        shape.root = salvaged(shape.root, errors, executors, shape.wreck)
        shape.data = yaml_reader.plain(shape.root)
    shape.complaints = _unique(shape.complaints)
    return shape


def _first_causes(errors: list[Any], shape: Shape[M], executors: Collection[str]) -> list[Any]:
    """Without what only follows: a list too short because its item is wrong, a key missing because we took it out."""

    def maimed(loc: Loc) -> bool:
        return place_of(find_node(shape.root, loc, executors).node) in shape.wreck.maimed

    return [
        item
        for item in errors
        if not (item["type"] == "missing" and maimed(item["loc"][:-1]))
        and not (item["type"] in ("value_error", "too_short") and maimed(item["loc"]))
        and not (item["type"] == "too_short" and any(_is_inside(other["loc"], item["loc"]) for other in errors))
    ]


def _misspelt(errors: list[Any], model: type[BaseModel], executors: Collection[str]) -> set[Loc]:
    """The keys that are only missing because they are spelt otherwise: the key that nobody knows is told."""
    missing = {each["loc"] for each in errors if each["type"] == "missing"}
    strange = [each["loc"] for each in errors if each["type"] == "extra_forbidden"] if missing else []
    meant = ((*loc[:-1], nearest(str(loc[-1]), _known_keys(model, loc[:-1], executors))) for loc in strange)
    return {loc for loc in meant if loc in missing}


def _is_inside(inner: Loc, outer: Loc) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def shape_complaint(
    error: Any,
    model: type[BaseModel],
    root: yaml_reader.Node,
    lines: Lines,
    context: Mapping[str, Json],
    lead: Loc = (),
) -> Complaint:
    """One pydantic error at its place. `lead` is where the validated part stands in the tree."""
    loc: Loc = (*lead, *(part for part in error["loc"] if part != "[key]"))
    executors: Collection[str] = context.get("executors", ())
    found = find_node(root, loc, executors)
    place = _Place(error, loc, found, root, executors)
    message = _message(place, _known_keys(model, error["loc"][:-1], executors))
    at: yaml_reader.Node = found.node
    if found.key is not None and (error["type"] == "extra_forbidden" or error["loc"][-1:] == ("[key]",)):
        at = found.key
    code = _CODES.get(error["type"], "RB103")
    return complaint_at(lines.get(at.path, []), at.path, at.line, at.column, message, code)


@dataclass(frozen=True, slots=True)
class _Place:
    """One pydantic error and what stands where it points."""

    error: Any
    loc: Loc
    found: Found
    root: yaml_reader.Node
    executors: Collection[str]

    def words(self, loc: Loc) -> str:
        return describe(self.root, loc, self.executors)


def _message(place: _Place, known: Iterable[str]) -> str:
    error, loc, found = place.error, place.loc, place.found
    kind, context = error["type"], error.get("ctx", {})
    name, holder, subject = str(loc[-1]) if loc else "", place.words(loc[:-1]), place.words(loc)
    value = found.node.value if isinstance(found.node, yaml_reader.Scalar) else None
    if kind == "extra_forbidden":
        return f"unknown key {name!r} in {holder}{suggest(name, known) if known else ''}"
    if kind == "missing":
        return f"{holder} needs {name!r}"
    if kind == "literal_error":
        return _literal(subject, value, str(context.get("expected", "")))
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern", ""))
        shown = name if error["loc"][-1:] == ("[key]",) else error.get("input")
        return f"{shown!r} is not {_PATTERNS.get(pattern, f'of the form {pattern}')}"
    if kind == "value_error":
        return f"{subject}: {str(error['msg']).removeprefix('Value error, ')}"
    if kind in _EXPECTED:
        return f"{subject} must be {_EXPECTED[kind]}, not {_shown(found.node)}{_hint(kind, found.node, name)}"
    if kind in _BOUNDS:
        return f"{subject} {_BOUNDS[kind].format(**context)}"
    return f"{subject}: {_lowered(str(error['msg']))}"


def _literal(subject: str, value: Json, expected: str) -> str:
    words = re.findall(r"'(.*?)'", expected)
    if words and isinstance(value, str):
        return f"{subject} cannot be {value!r}{suggest(value, words)}"
    return f"{subject} must be {expected}, not {value!r}"


def _shown(node: yaml_reader.Node) -> str:
    if isinstance(node, yaml_reader.Mapping):
        return "a mapping"
    if isinstance(node, yaml_reader.Sequence):
        return "a list"
    return "nothing" if node.value is None else repr(node.text[:60]) if isinstance(node.value, str) else node.text[:60]


def _hint(kind: str, node: yaml_reader.Node, name: str) -> str:
    if not isinstance(node, yaml_reader.Scalar):
        return ""
    mended = missing_space(node.text) if isinstance(node.value, str) else None
    if mended and "mapping" in _EXPECTED[kind]:
        return f". a space is missing after the colon: {mended}"
    if kind == "string_type" and isinstance(node.value, int | float):
        return f'. quote it: "{node.text}"'
    return ""


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _known_keys(model: type[BaseModel], loc: Loc, executors: Collection[str]) -> tuple[str, ...]:
    holder = _model_at(model, loc)
    if holder is None:
        return ()
    keys = [field.alias or name for name, field in holder.model_fields.items()]
    if issubclass(holder, Act):
        keys = [key for key in keys if key not in ("executor", "request")] + list(executors)
    return (*keys, "use") if issubclass(holder, Probe) else tuple(keys)


def _model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    current: Any = model
    for part in loc:
        current = _unwrapped(current)
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = current.model_fields
            current = next((item.annotation for name, item in fields.items() if part in (name, item.alias)), None)
        elif get_origin(current) in (dict, tuple, list):
            current = get_args(current)[1 if get_origin(current) is dict else 0]
        else:
            return None
    current = _unwrapped(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _unwrapped(annotation: Any) -> Any:
    """`Annotated[X, …]` and `X | None` are X to us."""
    while get_origin(annotation) not in (None, dict, tuple, list):
        arguments = [item for item in get_args(annotation) if item is not type(None)]
        if not arguments:
            return None
        annotation = arguments[0]
    return annotation


def _unique(problems: list[Complaint]) -> list[Complaint]:
    return list(dict.fromkeys(problems))
