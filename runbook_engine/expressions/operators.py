"""Arithmetic, comparison and three-valued logic.

No result is larger than its bounds, and nothing unknown becomes true or false.
"""

from __future__ import annotations

from collections.abc import Callable

from .filters import contains
from .values import (
    Frame,
    Json,
    NotKnownError,
    Unknown,
    checked_number,
    checked_text,
    compare,
    described,
    is_list,
    items,
    number,
    same,
    text_of,
    truth,
)

Run = Callable[[Frame], Json | Unknown]


def strict(operation: Callable[..., Json | Unknown], operands: tuple[Run, ...]) -> Run:
    """`operation(frame, *values)`, unknown as soon as one operand is."""

    def run(frame: Frame) -> Json | Unknown:
        values = []
        for operand in operands:
            value = operand(frame)
            if isinstance(value, Unknown):
                return value
            values.append(value)
        try:
            return operation(frame, *values)
        except NotKnownError as error:
            return Unknown(error.reason)

    return run


def all_of(operands: tuple[Run, ...]) -> Run:
    """Kleene's `and`: false if one is false, whatever is unknown; gives booleans."""
    return _decided(operands, decisive=False)


def any_of(operands: tuple[Run, ...]) -> Run:
    """Kleene's `or`: true if one is true, whatever is unknown; gives booleans."""
    return _decided(operands, decisive=True)


def _decided(operands: tuple[Run, ...], decisive: bool) -> Run:
    def run(frame: Frame) -> bool | Unknown:
        unknown: Unknown | None = None
        for operand in operands:
            value = operand(frame)
            if isinstance(value, Unknown):
                unknown = value if unknown is None else unknown
            elif truth(value) is decisive:
                return decisive
        return not decisive if unknown is None else unknown

    return run


def chosen(test: Run, if_true: Run, if_false: Run) -> Run:
    """`a if test else b`: only the branch that is taken is evaluated."""

    def run(frame: Frame) -> Json | Unknown:
        value = test(frame)
        if isinstance(value, Unknown):
            return value
        return if_true(frame) if truth(value) else if_false(frame)

    return run


def negated(frame: Frame, value: Json) -> bool:
    return not truth(value)


def minus(frame: Frame, value: Json) -> int | float:
    return -number(value, "the operand of -")


def plus(frame: Frame, value: Json) -> int | float:
    return number(value, "the operand of +")


def add(frame: Frame, left: Json, right: Json) -> Json:
    if isinstance(left, str) and isinstance(right, str):
        return _joined(frame, [left, right])
    if is_list(left) and is_list(right):
        return [*items(frame, left, "+"), *items(frame, right, "+")]
    return _calculated("+", left, right, lambda a, b: a + b)


def subtract(frame: Frame, left: Json, right: Json) -> int | float:
    return _calculated("-", left, right, lambda a, b: a - b)


def multiply(frame: Frame, left: Json, right: Json) -> int | float:
    return _calculated("*", left, right, lambda a, b: a * b)


def divide(frame: Frame, left: Json, right: Json) -> int | float:
    return _calculated("/", left, right, lambda a, b: a / b)


def floor_divide(frame: Frame, left: Json, right: Json) -> int | float:
    return _calculated("//", left, right, lambda a, b: a // b)


def remainder(frame: Frame, left: Json, right: Json) -> int | float:
    return _calculated("%", left, right, lambda a, b: a % b)


def concatenate(frame: Frame, *values: Json) -> str:
    return _joined(frame, [text_of(value) for value in values])


COMPARISONS: dict[str, Callable[[Frame, Json, Json], bool]] = {
    "eq": same,
    "ne": lambda frame, left, right: not same(frame, left, right),
    "gt": lambda frame, left, right: compare(left, right) > 0,
    "gteq": lambda frame, left, right: compare(left, right) >= 0,
    "lt": lambda frame, left, right: compare(left, right) < 0,
    "lteq": lambda frame, left, right: compare(left, right) <= 0,
    "in": contains,
    "notin": lambda frame, left, right: not contains(frame, left, right),
}
SIGNS = {"eq": "==", "ne": "!=", "gt": ">", "gteq": ">=", "lt": "<", "lteq": "<=", "in": "in", "notin": "not in"}


def _calculated(sign: str, left: Json, right: Json, operation: Callable[[Json, Json], Json]) -> int | float:
    if (
        not isinstance(left, (int, float))
        or not isinstance(right, (int, float))
        or isinstance(left, bool)
        or isinstance(right, bool)
    ):
        raise NotKnownError(f"{described(left)} {sign} {described(right)} cannot be calculated, both must be numbers")
    try:
        return checked_number(operation(number(left, "the left side"), number(right, "the right side")))
    except ZeroDivisionError:
        raise NotKnownError("division by zero") from None
    except OverflowError:
        raise NotKnownError("the result is too large a number") from None


def _joined(frame: Frame, texts: list[str]) -> str:
    frame.spend(sum(map(len, texts)) // 64 + 1)
    return checked_text("".join(texts))
