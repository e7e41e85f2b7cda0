"""Conditions and templates in words: `worst.pending >= backlog` reads "worst.pending is at least backlog (1000)"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from jinja2 import nodes

from ..expressions import ExpressionError, compile_template
from ..expressions.grammar import Syntax, parse
from .parts import Line, Span, code, plain, strong

_SIGNS = {
    "eq": "is",
    "ne": "is not",
    "gt": "is more than",
    "gteq": "is at least",
    "lt": "is less than",
    "lteq": "is at most",
    "in": "is one of",
    "notin": "is none of",
}
Defaults = Mapping[str, str]  # of inputs, shown behind their names


def condition(text: str, defaults: Defaults) -> Line:
    """An expression in words; what has no words stays code."""
    try:
        syntax = parse(text)
    except ExpressionError:  # only of text that no loader has seen
        return (code(text),)
    return _joined(_words(syntax, syntax.root, defaults))


def prose(text: str) -> Line:
    """Text for people: what a run fills in stands as code."""
    if "${{" not in text:
        return (plain(text),)
    try:
        parts = compile_template(text).parts
    except ExpressionError:
        return (plain(text),)
    return _joined(plain(part) if isinstance(part, str) else Span(part.text, "value") for part in parts)


def stressed(text: str) -> Line:
    """A title: its prose is stressed."""
    return tuple(strong(span.text) if span.kind == "plain" else span for span in prose(text))


def _words(syntax: Syntax, node: nodes.Node, defaults: Defaults) -> Iterator[Span]:
    match node:
        case nodes.And() | nodes.Or():
            yield from _connected(syntax, node, defaults)
        case nodes.Not(node=nodes.Name() | nodes.Getattr() as operand):
            yield from (*_operand(syntax, operand, defaults), plain(" does not hold"))
        case nodes.Not(node=inner):
            yield from (plain("not ("), *_words(syntax, inner, defaults), plain(")"))
        case nodes.Compare():
            yield from _operand(syntax, node.expr, defaults)
            for part in node.ops:
                yield plain(f" {_SIGNS.get(part.op, part.op)} ")
                yield from _operand(syntax, part.expr, defaults)
        case nodes.Test(name="known"):
            yield from (*_operand(syntax, node.node, defaults), plain(" is known"))
        case nodes.Name() | nodes.Getattr():
            yield from (*_operand(syntax, node, defaults), plain(" holds"))
        case _:
            yield code(syntax.source(node))


def _connected(syntax: Syntax, node: nodes.And | nodes.Or, defaults: Defaults) -> Iterator[Span]:
    """`a and b and c` is a tree of two and two; it is read as one list."""
    kind = type(node)
    word = " and " if kind is nodes.And else " or "
    operands: list[nodes.Node] = [node.left, node.right]
    while isinstance(operands[0], kind):
        operands[:1] = [operands[0].left, operands[0].right]
    for index, operand in enumerate(operands):
        if index:
            yield plain(word)
        if isinstance(operand, nodes.And | nodes.Or):
            yield from (plain("("), *_words(syntax, operand, defaults), plain(")"))
        else:
            yield from _words(syntax, operand, defaults)


def _operand(syntax: Syntax, node: nodes.Node, defaults: Defaults) -> Iterator[Span]:
    yield code(syntax.source(node))
    if isinstance(node, nodes.Name) and node.name in defaults:
        yield plain(f" ({defaults[node.name]})")


def _joined(spans: Iterator[Span]) -> Line:
    """Neighbours of plain text as one."""
    found: list[Span] = []
    for span in spans:
        if found and found[-1].kind == span.kind == "plain":
            found[-1] = plain(found[-1].text + span.text)
        else:
            found.append(span)
    return tuple(found)
