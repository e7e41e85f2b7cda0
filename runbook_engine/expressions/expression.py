"""An expression, compiled once and evaluated over plain data any number of times.

Never executes what the text says as code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .grammar import parse
from .reading import Part
from .translate import translate
from .values import Frame, Json, TooMuchWorkError, Unknown, show, truth

LONGEST_TEXT_SHOWN = 200

Scope = Mapping[str, Json | Unknown]


@dataclass(frozen=True, slots=True)
class Expression:
    """What it mentions, known before it is evaluated.

    `names` are the root names it reads (`samples` too, for rate and its kin), `baselines` the facts whose recorded
    values it reads.
    """

    text: str
    names: frozenset[str]
    functions: frozenset[str]
    baselines: frozenset[str]
    _part: Part = field(repr=False, compare=False)

    def evaluate(self, scope: Scope) -> Json | Unknown:
        return _evaluate(self._part, scope)

    def explain(self, scope: Scope) -> str:
        """The operands that decide, with their values: `worst.pending >= backlog: 5003 >= 1000`. Never raises."""
        return _explain(self._part, scope)


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """ExpressionError, with an offset into the text where one is known, if it is not an expression of the language."""
    part, reading = translate(parse(text))
    return Expression(text, frozenset(reading.names), frozenset(reading.functions), frozenset(reading.baselines), part)


def _evaluate(part: Part, scope: Scope) -> Json | Unknown:
    try:
        return part.run(Frame(scope))
    except TooMuchWorkError:
        return Unknown("too much work: the data is too large for this expression")
    except RecursionError:
        return Unknown("the data is nested too deeply")


def _explain(part: Part, scope: Scope) -> str:
    value = _evaluate(part, scope)
    if part.kind in ("and", "or"):
        deciding = _deciding(part, scope, value)
        told = "; ".join(_explain(operand, scope) for operand in deciding)
        return told or f"{_cut(part.text)}: {show(value)}"
    if part.kind == "not" and part.operands[0].kind in ("and", "or", "not"):
        return _explain(part.operands[0], scope)
    if part.kind == "literal":
        return show(value)
    return f"{_cut(part.text)}: {_shown(part, scope, value)}"


def _deciding(part: Part, scope: Scope, value: Json | Unknown) -> list[Part]:
    """What settles an `and` or `or`: the first operand that alone does, else all of them, or all that are unknown."""
    results = [(operand, _evaluate(operand, scope)) for operand in part.operands]
    if isinstance(value, Unknown):
        return [operand for operand, result in results if isinstance(result, Unknown)]
    decisive = part.kind == "or"
    if truth(value) is not decisive:
        return list(part.operands)
    return [operand for operand, result in results if not isinstance(result, Unknown) and truth(result) is decisive][:1]


def _shown(part: Part, scope: Scope, value: Json | Unknown) -> str:
    if isinstance(value, Unknown):
        return show(value)
    if part.kind == "compare":
        operands = [_shown_operand(operand, scope) for operand in part.operands]
        rest = (f"{sign} {operand}" for sign, operand in zip(part.signs, operands[1:], strict=True))
        return " ".join([operands[0], *rest])
    if part.kind == "test":
        return f"{show(value)} ({_shown_subject(part, scope)})"
    if part.kind == "not":
        return _shown_negation(part.operands[0], scope, value)
    return show(value)


def _shown_operand(operand: Part, scope: Scope) -> str:
    """A literal as it is written, anything else by its value."""
    return _cut(operand.text) if operand.kind == "literal" else show(_evaluate(operand, scope))


def _shown_negation(operand: Part, scope: Scope, value: Json) -> str:
    """`not paused: paused is false`; of a comparison, its own operands."""
    inner = _evaluate(operand, scope)
    if operand.kind == "compare":
        return _shown(operand, scope, inner)
    if operand.kind == "test":
        return f"{show(value)} ({_shown_subject(operand, scope)})"
    return f"{_cut(operand.text)} is {show(inner)}"


def _shown_subject(test: Part, scope: Scope) -> str:
    subject = _evaluate(test.operands[0], scope)
    return subject.reason if isinstance(subject, Unknown) else show(subject)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT_SHOWN else text[:LONGEST_TEXT_SHOWN] + "…"
