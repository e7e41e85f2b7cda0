"""Syntax tree to closures over plain data: every node that is not listed here is refused.

Never evaluates anything while translating.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from jinja2 import nodes

from . import operators
from .functions import translate_call
from .grammar import Syntax
from .operators import strict
from .reading import Part, Reading, Translations, literal_text
from .selections import translate_filter, translate_test
from .values import Frame, Json, NotKnownError, Unknown, checked_number, find_key


def translate(syntax: Syntax) -> tuple[Part, Reading]:
    reading = Reading(syntax, _TRANSLATIONS)
    return reading.part(syntax.root), reading


def _const(reading: Reading, node: nodes.Const) -> Part:
    value: Json = node.value
    if isinstance(value, (int, float)):
        try:
            checked_number(value, "the number")
        except NotKnownError as error:
            reading.fail(node, error.reason)
    return Part(reading.syntax.source(node), lambda frame: value, "literal")


def _name(reading: Reading, node: nodes.Name) -> Part:
    name = node.name
    if name.startswith("__"):
        reading.fail(node, f"the name {name[:60]!r} is reserved")
    if name.lower() in ("null", "nil"):
        reading.fail(node, f"{name!r} is not a value; write 'none'")
    reading.names.add(name)

    def run(frame: Frame) -> Json | Unknown:
        return frame.scope[name] if name in frame.scope else Unknown(f"{name!r} is not known here")

    return reading.value(node, run)


def _attribute(reading: Reading, node: nodes.Getattr) -> Part:
    base, key = reading.part(node.node), node.attr
    return reading.value(node, strict(lambda frame, value: find_key(value, key, base.text), (base.run,)))


def _item(reading: Reading, node: nodes.Getitem) -> Part:
    if isinstance(node.arg, (nodes.Slice, nodes.Tuple)):
        reading.fail(node, "slices like [1:3] are not part of the language; use first, last, selectattr or one index")
    base, key = reading.part(node.node), reading.part(node.arg)
    return reading.value(node, strict(lambda frame, value, key: find_key(value, key, base.text), (base.run, key.run)))


def _list(reading: Reading, node: nodes.List | nodes.Tuple) -> Part:
    parts = reading.parts(node.items)
    run = strict(lambda frame, *values: list(values), tuple(part.run for part in parts))
    is_literal = all(part.kind == "literal" for part in parts)
    return Part(reading.syntax.source(node), run, "literal" if is_literal else "value")


def _dict(reading: Reading, node: nodes.Dict) -> Part:
    keys = [literal_text(reading, pair.key, "the key of a map") for pair in node.items]
    runs = tuple(reading.part(pair.value).run for pair in node.items)
    return reading.value(node, strict(lambda frame, *values: dict(zip(keys, values, strict=True)), runs))


def _arithmetic(operation: Callable[..., Json]) -> Callable[[Reading, Any], Part]:
    def translation(reading: Reading, node: nodes.BinExpr) -> Part:
        for side in (
            (node.left, node.right)
            if isinstance(node, nodes.Mul)
            else (node.left,)
            if isinstance(node, nodes.Mod)
            else ()
        ):
            if isinstance(side, (nodes.List, nodes.Tuple)) or (
                isinstance(side, nodes.Const) and isinstance(side.value, str)
            ):
                reading.fail(side, f"text and lists take no {node.operator}; only numbers do")
        left, right = reading.parts((node.left, node.right))
        return reading.value(node, strict(operation, (left.run, right.run)))

    return translation


def _concat(reading: Reading, node: nodes.Concat) -> Part:
    return reading.value(node, strict(operators.concatenate, tuple(part.run for part in reading.parts(node.nodes))))


def _signed(operation: Callable[..., Json]) -> Callable[[Reading, Any], Part]:
    def translation(reading: Reading, node: nodes.UnaryExpr) -> Part:
        operand = reading.part(node.node)
        is_literal: Literal["literal", "value"] = "literal" if operand.kind == "literal" else "value"
        return Part(reading.syntax.source(node), strict(operation, (operand.run,)), is_literal)

    return translation


def _compare(reading: Reading, node: nodes.Compare) -> Part:
    parts = reading.parts([node.expr, *(operand.expr for operand in node.ops)])
    pairs = tuple(
        strict(operators.COMPARISONS[operand.op], (left.run, right.run))
        for operand, left, right in zip(node.ops, parts, parts[1:], strict=False)
    )
    run = pairs[0] if len(pairs) == 1 else operators.all_of(pairs)
    signs = tuple(operators.SIGNS[operand.op] for operand in node.ops)
    return Part(reading.syntax.source(node), run, "compare", parts, signs)


def _and(reading: Reading, node: nodes.And) -> Part:
    parts = reading.parts(_flat(node, nodes.And))
    return Part(reading.syntax.source(node), operators.all_of(tuple(part.run for part in parts)), "and", parts)


def _or(reading: Reading, node: nodes.Or) -> Part:
    parts = reading.parts(_flat(node, nodes.Or))
    return Part(reading.syntax.source(node), operators.any_of(tuple(part.run for part in parts)), "or", parts)


def _flat(node: nodes.Expr, joint: type[nodes.BinExpr]) -> list[nodes.Expr]:
    """`a or b or c` as one list: Jinja nests to the left."""
    rest: list[nodes.Expr] = []
    while isinstance(node, joint):
        rest.append(node.right)
        node = node.left
    return [node, *reversed(rest)]


def _not(reading: Reading, node: nodes.Not) -> Part:
    operand = reading.part(node.node)
    return Part(reading.syntax.source(node), strict(operators.negated, (operand.run,)), "not", (operand,))


def _ternary(reading: Reading, node: nodes.CondExpr) -> Part:
    if node.expr2 is None:
        reading.fail(node, "an 'if' needs its 'else': a if condition else b")
    parts = reading.parts((node.test, node.expr1, node.expr2))
    run = operators.chosen(*(part.run for part in parts))
    return Part(reading.syntax.source(node), run, "choice", parts)


_TRANSLATIONS: Translations = {
    nodes.Const: _const,
    nodes.Name: _name,
    nodes.Getattr: _attribute,
    nodes.Getitem: _item,
    nodes.List: _list,
    nodes.Tuple: _list,
    nodes.Dict: _dict,
    nodes.Add: _arithmetic(operators.add),
    nodes.Sub: _arithmetic(operators.subtract),
    nodes.Mul: _arithmetic(operators.multiply),
    nodes.Div: _arithmetic(operators.divide),
    nodes.FloorDiv: _arithmetic(operators.floor_divide),
    nodes.Mod: _arithmetic(operators.remainder),
    nodes.Concat: _concat,
    nodes.Neg: _signed(operators.minus),
    nodes.Pos: _signed(operators.plus),
    nodes.Compare: _compare,
    nodes.And: _and,
    nodes.Or: _or,
    nodes.Not: _not,
    nodes.CondExpr: _ternary,
    nodes.Filter: translate_filter,
    nodes.Test: translate_test,
    nodes.Call: translate_call,
}
