"""How far a condition is from being true or false, so that a search knows in which direction to go. Pure.

Zero says that it is; what it means beyond that is only that smaller is nearer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeGuard

from .expression import Expression, Scope
from .reading import Part
from .values import Frame, Json, NotKnownError, TooMuchWorkError, Unknown, truth

DEEPEST = 8  # definitions and choices that are looked through
NOT_KNOWN = 1.0
OTHER = 0.9
ANOTHER = (
    20.0  # the end of a choice that is not the wanted one: another branch is nearer, however many tests lead there
)
ROOM = 0.3  # of a comparison's distance: never as far as what cannot be told at all


def distance(
    expression: Expression, scope: Scope, wanted: bool = True, definitions: Mapping[str, Expression] | None = None
) -> float:
    """`definitions`: what names stand for that are computed from others; the search looks through them."""
    return _Ruler(scope, definitions or {}).of(expression._part, wanted, DEEPEST)


@dataclass(frozen=True, slots=True)
class _Ruler:
    scope: Scope
    definitions: Mapping[str, Expression]

    def of(self, part: Part, wanted: bool, depth: int) -> float:
        if part.kind == "not":
            return self.of(part.operands[0], not wanted, depth)
        if part.kind in ("and", "or"):
            each = [self.of(operand, wanted, depth) for operand in part.operands]
            return sum(each) if (part.kind == "and") is wanted else min(each)
        apart = self.apart(part, wanted)
        if not apart or not depth:
            return apart
        if part.kind == "choice":
            test, one, other = part.operands
            return min(
                self.of(test, True, depth) + self.of(one, wanted, depth),
                self.of(test, False, depth) + self.of(other, wanted, depth),
            )
        made = self.made(part)
        if made is not None:
            return self.of(made, wanted, depth - 1)
        if part.kind == "compare" and len(part.operands) == 2:
            through = self.compared(part, wanted, depth)
            return through if 0 < through < math.inf else apart
        return apart

    def made(self, part: Part) -> Part | None:
        """What a name stands for."""
        return self.definitions[part.text]._part if part.kind == "value" and part.text in self.definitions else None

    def compared(self, part: Part, wanted: bool, depth: int) -> float:
        """How far a choice of several values is from the one that compares as wanted; zero where it is no choice."""
        left = self.made(part.operands[0]) or part.operands[0]
        if left.kind != "choice" or part.signs[0] not in ("==", "!="):
            return 0.0
        return self.reached(left, _value(part.operands[1], self.scope), (part.signs[0] == "==") is wanted, depth - 1)

    def reached(self, part: Part, value: Json | Unknown, equal: bool, depth: int) -> float:
        made = self.made(part)
        if made is not None and depth:
            return self.reached(made, value, equal, depth - 1)
        if part.kind == "choice":
            test, one, other = part.operands
            return min(
                self.of(test, True, depth) + self.reached(one, value, equal, depth),
                self.of(test, False, depth) + self.reached(other, value, equal, depth),
            )
        found = _value(part, self.scope)
        if part.kind == "literal":
            return 0.0 if (found == value) is equal else math.inf
        if isinstance(found, Unknown) or isinstance(value, Unknown):
            return ANOTHER
        return 0.0 if (found == value) is equal else ANOTHER

    def apart(self, part: Part, wanted: bool) -> float:
        value = _value(part, self.scope)
        if value is None or isinstance(value, Unknown):
            return NOT_KNOWN
        if truth(value) is wanted:
            return 0.0
        if part.kind == "compare" and len(part.operands) == 2:
            left, right = (_value(operand, self.scope) for operand in part.operands)
            if _is_number(left) and _is_number(right):
                gap = abs(left - right)
                return OTHER - ROOM / (1 + gap / (1 + abs(left) + abs(right)) * 10)
        return OTHER


def _value(part: Part, scope: Scope) -> Json | Unknown:
    try:
        return part.run(Frame(scope))
    except (TooMuchWorkError, NotKnownError, RecursionError):
        return Unknown("it cannot be computed")


def _is_number(value: Json | Unknown) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
