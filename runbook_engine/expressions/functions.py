"""Calls in an expression: a closed list of functions, their literal arguments checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import nodes

from runbook_engine.units import parse_duration, parse_size

from .operators import Run, strict
from .reading import Part, Reading, always, given_arguments, literal_path, literal_text
from .sampling import SAMPLED, diff
from .values import Frame, Json, NotKnownError, Unknown

BASELINES = "__baselines__"  # in the scope, but out of reach of any name in an expression
FUNCTIONS = ("duration", "size", *SAMPLED, "diff", "baseline")


def translate_call(reading: Reading, node: nodes.Call) -> Part:
    if not isinstance(node.node, nodes.Name):
        reading.fail(node, f"only the functions {', '.join(FUNCTIONS)} can be called, nothing that data holds")
    name = node.node.name
    if name not in FUNCTIONS:
        reading.unknown_word(node.node, "function", name, FUNCTIONS)
    reading.functions.add(name)
    given = given_arguments(reading, node, name, _PARAMETERS.get(name, ("path",)))
    return reading.value(node, _FUNCTIONS[name](reading, node, given))


def _converted(convert: Callable[[Any], Json]) -> Callable[[Reading, nodes.Call, dict[str, nodes.Expr]], Run]:
    def translation(reading: Reading, node: nodes.Call, given: dict[str, nodes.Expr]) -> Run:
        argument = _needed(reading, node, given, "text")
        if isinstance(argument, nodes.Const):
            try:
                value = convert(argument.value)
            except ValueError as error:
                reading.fail(argument, str(error))
            return always(value)
        return strict(lambda frame, value: _convert(convert, value), (reading.part(argument).run,))

    return translation


def _convert(convert: Callable[[Any], Json], value: Json) -> Json:
    try:
        return convert(value)
    except ValueError as error:
        raise NotKnownError(str(error)) from error


def _sampled(reading: Reading, node: nodes.Call, given: dict[str, nodes.Expr]) -> Run:
    assert isinstance(node.node, nodes.Name)
    function = SAMPLED[node.node.name]
    path = literal_path(reading, _needed(reading, node, given, "path"))
    reading.names.add("samples")
    return strict(lambda frame: function(frame, path), ())


def _diff(reading: Reading, node: nodes.Call, given: dict[str, nodes.Expr]) -> Run:
    path = literal_path(reading, _needed(reading, node, given, "path"))
    key = literal_path(reading, _needed(reading, node, given, "key"))
    reading.names.add("samples")
    return strict(lambda frame: diff(frame, path, key), ())


def _baseline(reading: Reading, node: nodes.Call, given: dict[str, nodes.Expr]) -> Run:
    fact = literal_text(reading, _needed(reading, node, given, "fact"), "the fact of a baseline")
    fallback = reading.part(_needed(reading, node, given, "fallback")).run
    reading.baselines.add(fact)

    def run(frame: Frame) -> Json | Unknown:
        recorded = frame.scope.get(BASELINES)
        value = recorded.get(fact) if isinstance(recorded, Mapping) else None
        return fallback(frame) if value is None or isinstance(value, Unknown) else value

    return run


def _needed(reading: Reading, node: nodes.Call, given: dict[str, nodes.Expr], name: str) -> nodes.Expr:
    if name not in given:
        reading.fail(node.node, f"{reading.syntax.source(node)} needs {name!r} between its brackets")
    return given[name]


_PARAMETERS = {"duration": ("text",), "size": ("text",), "diff": ("path", "key"), "baseline": ("fact", "fallback")}
_FUNCTIONS: dict[str, Callable[[Reading, nodes.Call, dict[str, nodes.Expr]], Run]] = {
    "duration": _converted(parse_duration),
    "size": _converted(parse_size),
    "diff": _diff,
    "baseline": _baseline,
    **dict.fromkeys(SAMPLED, _sampled),
}
