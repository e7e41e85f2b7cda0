"""What an expression computes with: plain JSON data and `Unknown`.

Nothing here reads an attribute or calls a method named by a playbook.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from runbook_engine.units import format_number

Json = Any  # None | bool | int | float | str | list[Json] | dict[str, Json]

LARGEST_INTEGER = 2**128
LONGEST_TEXT = 64 * 1024
MOST_STEPS = 1_000_000


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be established, and why.

    It is neither true nor false: asking raises, so that no `if` decides by accident.
    """

    reason: str

    def __bool__(self) -> bool:
        raise TypeError(f"an unknown value is neither true nor false: {self.reason}")


class ExpressionError(ValueError):
    """The text is not an expression of the language. `offset` counts characters from 0, where it is known."""

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset


class NotKnownError(Exception):
    """Raised inside one operation, and turned into an `Unknown` by the node that holds the operation."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooMuchWorkError(Exception):
    """The evaluation as a whole used up its steps."""


class Frame:
    """One evaluation: the scope it reads and the steps it has left."""

    __slots__ = ("left", "scope")

    def __init__(self, scope: Mapping[str, Json | Unknown], steps: int = MOST_STEPS) -> None:
        self.scope = scope
        self.left = steps

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise TooMuchWorkError


def kind(value: Json) -> str:
    """The word a reader of a message knows the type by."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text"
    if is_list(value):
        return "list"
    return "map" if isinstance(value, Mapping) else "other"


def is_list(value: Json) -> bool:
    return isinstance(value, (list, tuple))


def truth(value: Json) -> bool:
    """False are: false, none, 0, empty text, list and map. Everything else is true."""
    return bool(value)


def number(value: Json, what: str) -> int | float:
    """The value if it can be computed with; booleans cannot."""
    if kind(value) != "number":
        raise NotKnownError(f"{what} is {described(value)}, not a number")
    return checked_number(value, what)


def checked_number(value: int | float, what: str = "the result") -> int | float:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotKnownError(f"{what} is not a finite number")
    elif not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
        raise NotKnownError(f"{what} is too large a number")
    return value


def checked_text(value: str) -> str:
    if len(value) > LONGEST_TEXT:
        raise NotKnownError(f"a text of more than {LONGEST_TEXT} characters")
    return value


def items(frame: Frame, value: Json, what: str) -> list[Json]:
    """The value as a list, paid for, with nothing unknown directly in it."""
    if not is_list(value):
        raise NotKnownError(f"{what} needs a list, but got {described(value)}")
    frame.spend(len(value) + 1)
    for item in value:
        raise_unknown(item)
    return list(value)


def raise_unknown(value: Json | Unknown) -> None:
    if isinstance(value, Unknown):
        raise NotKnownError(value.reason)


def identity(frame: Frame, value: Json) -> object:
    """Hashable, and equal exactly when two values are equal as JSON: `1 == 1.0`, but not `1 == true`."""
    frame.spend(1)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, (bool, int, float)):
        return (isinstance(value, bool), value)
    if is_list(value):
        return ("list", tuple(identity(frame, item) for item in value))
    if isinstance(value, Mapping):
        return ("map", frozenset((key, identity(frame, item)) for key, item in value.items()))
    raise_unknown(value)
    raise NotKnownError(f"a value of type {type(value).__name__} is not plain data")


def same(frame: Frame, left: Json, right: Json) -> bool:
    return identity(frame, left) == identity(frame, right)


def compare(left: Json, right: Json) -> int:
    """Negative, zero or positive. Only two numbers or two texts have an order."""
    kinds = {kind(left), kind(right)}
    if kinds == {"number"}:
        number(left, "the left side"), number(right, "the right side")
    elif kinds != {"text"}:
        raise NotKnownError(f"{described(left)} and {described(right)} have no order")
    return 1 if left > right else -1 if left < right else 0


def find_key(value: Json, key: Json, what: str) -> Json | Unknown:
    """`value[key]`: a key of a map or an index of a list, and nothing else of it."""
    raise_unknown(value)
    if isinstance(value, Mapping):
        return _find_in_map(value, key, what)
    if is_list(value):
        return _find_in_list(value, key, what)
    raise NotKnownError(f"{what} is {described(value)}, it has no key {show(key)}")


def find_path(value: Json, path: str, what: str) -> Json | Unknown:
    """Follow `a.b.0` through maps and lists."""
    for key in path.split("."):
        is_index = is_list(value) and key.removeprefix("-").isdecimal() and len(key) < 9
        value = find_key(value, int(key) if is_index else key, what)
        what = f"{what}.{key}"
    raise_unknown(value)
    return value


def text_of(value: Json) -> str:
    """The value inside other text. None has no text: a request with a hole in it would be another request."""
    if isinstance(value, str):
        return checked_text(value)
    if value is None:
        raise NotKnownError("none cannot stand inside text; use default(…)")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(checked_number(value, "the value"))
    try:
        return checked_text(json.dumps(value, ensure_ascii=False, allow_nan=False, default=_refuse))
    except ValueError as error:
        raise NotKnownError(f"{described(value)} cannot be written as JSON: {error}") from error


def show(value: Json | Unknown) -> str:
    """Short text for people: never long, never raw control characters, never fails."""
    if isinstance(value, Unknown):
        return f"unknown ({value.reason})"
    if isinstance(value, str):
        return repr(value) if len(value) <= 60 else repr(value[:60] + "…")
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return format_number(value).replace(",", "")
    if is_list(value):
        return f"{len(value)} item{'' if len(value) == 1 else 's'}"
    return "{…}" if value else "{}"


def described(value: Json | Unknown) -> str:
    """`text 'abc'`, `none`, `a list of 3 items`: the value inside a reason."""
    word = "unknown" if isinstance(value, Unknown) else kind(value)
    if word == "list":
        return f"a list of {show(value)}"
    if word == "map":
        return "a map"
    return show(value) if word in ("none", "unknown") else f"{word} {show(value)}"


def named(words: Iterable[str], limit: int = 12) -> str:
    """A list of words for a message, cut when there are many."""
    listed = [str(word)[:60] for word in islice(words, limit + 1)]
    return ", ".join(listed[:limit]) + (", …" if len(listed) > limit else "")


def _find_in_map(value: Mapping[str, Json], key: Json, what: str) -> Json | Unknown:
    if isinstance(key, str) and key in value:
        return value[key]
    known = f"known: {named(value)}" if value else "it is empty"
    raise NotKnownError(f"{what} has no key {show(key)}; {known}")


def _find_in_list(value: Json, key: Json, what: str) -> Json | Unknown:
    if isinstance(key, bool) or not isinstance(key, int):
        raise NotKnownError(
            f"{what} is a list and has no key {show(key)}; take an item with [0], first or last, "
            "or all with map(attribute=…)"
        )
    if not -len(value) <= key < len(value):
        raise NotKnownError(f"{what} has {show(value)}, there is no [{show(key)}]")
    return value[key]


def _refuse(value: object) -> Json:
    if isinstance(value, Mapping):
        return dict(value)
    raise_unknown(value)
    raise NotKnownError(f"a value of type {type(value).__name__} is not plain data")
