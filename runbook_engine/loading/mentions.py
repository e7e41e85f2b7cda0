"""Which names a playbook reads, and where from. For rules about things that nobody uses; it judges nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from ..expressions import ExpressionError, compile_expression, template_expressions, template_names
from ..model import Expression, Playbook
from .positions import Loc

Json = Any


def mentioned_names(playbook: Playbook) -> frozenset[str]:
    """Every root name that any expression or template reads."""
    return frozenset().union(*_of_model(playbook))


def placed_expressions(model: BaseModel, loc: Loc = ()) -> Iterator[tuple[Loc, int, str]]:
    """Every expression, and every one inside of a template: where its text stands, how far into it, and it."""
    for name, expression in _fields(type(model)):
        alias = type(model).model_fields[name].alias or name
        if name != "executor":
            yield from _placed(getattr(model, name), expression, (*loc, alias))


def _placed(value: Json, expression: bool, loc: Loc) -> Iterator[tuple[Loc, int, str]]:
    if isinstance(value, BaseModel):
        yield from placed_expressions(value, loc)
    elif isinstance(value, str) and expression and "${{" not in value:
        yield loc, 0, value
    elif isinstance(value, str):
        for start, text in template_expressions(value):
            yield loc, start, text
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _placed(item, expression, (*loc, key))
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _placed(item, expression, (*loc, index))


def _of_model(model: BaseModel) -> Iterator[frozenset[str]]:
    for name, expression in _fields(type(model)):
        yield from _of_value(getattr(model, name), expression)


@cache
def _fields(model: type[BaseModel]) -> tuple[tuple[str, bool], ...]:
    """Its fields, and whether each holds expressions: the same for every playbook."""
    return tuple((name, _is_expression(field.annotation, field.metadata)) for name, field in model.model_fields.items())


def _of_value(value: Json, expression: bool) -> Iterator[frozenset[str]]:
    if isinstance(value, BaseModel):
        yield from _of_model(value)
    elif isinstance(value, str):
        yield _names(value, expression)
    elif isinstance(value, Mapping | tuple | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _of_value(item, expression)


def _names(text: str, expression: bool) -> frozenset[str]:
    """Of prose too (`about`, `notes`), where what looks like a template is only text."""
    try:
        return compile_expression(text).names if expression and "${{" not in text else template_names(text)
    except ExpressionError:
        return frozenset()


def _is_expression(annotation: Any, metadata: list[Any]) -> bool:
    """Whether a field holds expressions: its annotation is `Expression`, or a container of them."""
    validator = get_args(Expression)[1]
    return validator in metadata or any(
        item is Expression or validator in getattr(item, "__metadata__", ()) or _is_expression(item, [])
        for item in get_args(annotation)
    )
