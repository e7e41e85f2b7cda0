"""The filters and tests of the language: a closed list of plain functions over JSON data.

An unusable value becomes a reason, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .patterns import compile_pattern
from .values import (
    Frame,
    Json,
    NotKnownError,
    Unknown,
    checked_number,
    checked_text,
    compare,
    described,
    find_key,
    find_path,
    identity,
    is_list,
    items,
    kind,
    number,
    same,
    show,
    text_of,
    truth,
)

LONGEST_NUMBER = 40
LONGEST_SUBJECT = 64 * 1024
REQUIRED: Final = object()
ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Filter:
    """`run(frame, value, *parameters)`; each parameter has a default, or is REQUIRED."""

    run: Callable[..., Json | Unknown]
    parameters: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Test:
    """`run(frame, value)` or `run(frame, value, argument)`. Only `known` is asked about unknown values."""

    run: Callable[..., bool]
    takes_argument: bool = True


def contains(frame: Frame, item: Json, container: Json) -> bool:
    if isinstance(container, str):
        if not isinstance(item, str):
            raise NotKnownError(f"{described(item)} cannot be in a text")
        frame.spend(len(container) // 64 + 1)
        return item in container
    if isinstance(container, Mapping):
        return isinstance(item, str) and item in container
    wanted = identity(frame, item)
    return any(identity(frame, other) == wanted for other in items(frame, container, "in"))


def matches(frame: Frame, value: Json, pattern: Json) -> bool:
    """Whether the pattern occurs in the text; `^` and `$` tie it to the ends."""
    if not isinstance(value, str) or not isinstance(pattern, str):
        raise NotKnownError(f"matches needs two texts, but got {described(value)} and {described(pattern)}")
    if len(value) > LONGEST_SUBJECT:
        raise NotKnownError(f"a text of {len(value)} characters is too long to be matched")
    try:
        return compile_pattern(pattern).search(value, frame.spend)
    except ValueError as error:
        raise NotKnownError(str(error)) from error


def starts_with(frame: Frame, value: Json, start: Json) -> bool:
    if not isinstance(value, str) or not isinstance(start, str):
        raise NotKnownError(f"startswith needs two texts, but got {described(value)} and {described(start)}")
    return value.startswith(start)


def is_known(frame: Frame, value: Json | Unknown) -> bool:
    return not isinstance(value, Unknown)


def _default(frame: Frame, value: Json, fallback: Json) -> Json:
    return fallback if value is None else value


def _select(frame: Frame, value: Json, attribute: Json, test: Json, argument: Json) -> list[Json]:
    return [item for item in items(frame, value, "selectattr") if _passes(frame, item, attribute, test, argument)]


def _reject(frame: Frame, value: Json, attribute: Json, test: Json, argument: Json) -> list[Json]:
    return [item for item in items(frame, value, "rejectattr") if not _passes(frame, item, attribute, test, argument)]


def _passes(frame: Frame, item: Json, attribute: Json, test: Json, argument: Json) -> bool:
    if test == "known":
        return is_known(frame, _find_or_unknown(item, attribute))
    found = find_path(item, _path(attribute), "an item")
    if test is None:
        return truth(found)
    return TESTS[test].run(frame, found, argument)


def _find_or_unknown(item: Json, attribute: Json) -> Json | Unknown:
    try:
        return find_path(item, _path(attribute), "an item")
    except NotKnownError as error:
        return Unknown(error.reason)


def _map(frame: Frame, value: Json, attribute: Json, default: Json) -> list[Json]:
    if default is ABSENT:
        return [find_path(item, _path(attribute), "an item") for item in items(frame, value, "map")]
    found = [_find_or_unknown(item, attribute) for item in items(frame, value, "map")]
    return [default if item is None or isinstance(item, Unknown) else item for item in found]


def _attr(frame: Frame, value: Json, name: Json) -> Json | Unknown:
    return find_key(value, name, described(value))


def _sum(frame: Frame, value: Json, attribute: Json, start: Json) -> int | float:
    total = number(start, "start")
    for item in _picked(frame, value, "sum", attribute):
        total = checked_number(total + number(item, f"{attribute or 'an item'} in a sum"))
    return total


def _min(frame: Frame, value: Json, attribute: Json) -> Json:
    return _sorted(frame, _not_empty(frame, value, "min"), "min", attribute)[0]


def _max(frame: Frame, value: Json, attribute: Json) -> Json:
    return _sorted(frame, _not_empty(frame, value, "max"), "max", attribute, reverse=True)[0]


def _sort(frame: Frame, value: Json, attribute: Json, reverse: Json) -> list[Json]:
    return _sorted(frame, items(frame, value, "sort"), "sort", attribute, truth(reverse))


def _sorted(frame: Frame, values: list[Json], name: str, attribute: Json, reverse: bool = False) -> list[Json]:
    keys = _picked(frame, values, name, attribute)
    kinds = sorted({kind(key) for key in keys})
    if len(kinds) > 1 or not set(kinds) <= {"number", "text", "boolean"}:
        found = f"{attribute or 'the list'} has {' and '.join(kinds)}"
        raise NotKnownError(f"{name} needs values of one kind, numbers or texts, but {found}")
    if kinds == ["number"]:
        keys = [number(key, attribute or "an item") for key in keys]
    frame.spend(len(keys) * len(keys).bit_length())
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=reverse)
    return [values[index] for index in order]


def _unique(frame: Frame, value: Json, attribute: Json) -> list[Json]:
    values = items(frame, value, "unique")
    seen: dict[object, Json] = {}
    for item, key in zip(values, _picked(frame, values, "unique", attribute), strict=True):
        seen.setdefault(identity(frame, key), item)
    return list(seen.values())


def _groupby(frame: Frame, value: Json, attribute: Json) -> list[Json]:
    """`[{key, items}]`, in the order of the keys where they have one, else of appearance."""
    values = items(frame, value, "groupby")
    groups: dict[object, dict[str, Json]] = {}
    for item, key in zip(values, _picked(frame, values, "groupby", attribute), strict=True):
        groups.setdefault(identity(frame, key), {"key": key, "items": []})["items"].append(item)
    found = list(groups.values())
    orderable = {kind(group["key"]) for group in found} in ({"number"}, {"text"})
    return _sorted(frame, found, "groupby", "key") if orderable else found


def _first(frame: Frame, value: Json) -> Json:
    return _not_empty(frame, value, "first")[0]


def _last(frame: Frame, value: Json) -> Json:
    return _not_empty(frame, value, "last")[-1]


def _length(frame: Frame, value: Json) -> int:
    if not (is_list(value) or isinstance(value, (str, Mapping))):
        raise NotKnownError(f"{described(value)} has no length")
    return len(value)


def _join(frame: Frame, value: Json, separator: Json, attribute: Json) -> str:
    texts = [text_of(item) for item in _picked(frame, value, "join", attribute)]
    between = text_of(separator)
    frame.spend((sum(map(len, texts)) + len(between) * len(texts)) // 64)
    return checked_text(between.join(texts))


def _round(frame: Frame, value: Json, precision: Json) -> int | float:
    digits = number(precision, "the precision")
    if not isinstance(digits, int) or not 0 <= digits <= 15:
        raise NotKnownError(f"round takes 0 to 15 decimals, not {show(precision)}")
    return round(number(value, "the value to round"), digits or None)


def _abs(frame: Frame, value: Json) -> int | float:
    return abs(number(value, "the value"))


def _int(frame: Frame, value: Json) -> int:
    return int(_parsed(value))


def _float(frame: Frame, value: Json) -> float:
    return float(_parsed(value))


def _parsed(value: Json) -> int | float:
    """A number, or the number that a text spells out (Redis and shells answer text)."""
    if not isinstance(value, str):
        return number(value, "the value")
    spelled = value.strip()
    if not 0 < len(spelled) <= LONGEST_NUMBER or "_" in spelled or not spelled.isascii():
        raise NotKnownError(f"{described(value)} is not a number")
    try:
        return checked_number(int(spelled) if spelled.lstrip("+-").isdecimal() else float(spelled))
    except ValueError as error:
        raise NotKnownError(f"{described(value)} is not a number") from error


def _lower(frame: Frame, value: Json) -> str:
    return text_of(value).lower()


def _keys(frame: Frame, value: Json) -> list[Json]:
    return list(_map_of(frame, value, "keys"))


def _values(frame: Frame, value: Json) -> list[Json]:
    return list(_map_of(frame, value, "values").values())


def _map_of(frame: Frame, value: Json, name: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise NotKnownError(f"{name} needs a map, but got {described(value)}")
    frame.spend(len(value) + 1)
    return value


def _picked(frame: Frame, value: Json, name: str, attribute: Json) -> list[Json]:
    values = items(frame, value, name)
    if attribute is None:
        return values
    return [find_path(item, _path(attribute), "an item") for item in values]


def _path(attribute: Json) -> str:
    if not isinstance(attribute, str):
        raise NotKnownError(f"an attribute is a text like 'a.b', not {described(attribute)}")
    return attribute


def _not_empty(frame: Frame, value: Json, name: str) -> list[Json]:
    values = items(frame, value, name)
    if not values:
        raise NotKnownError(f"the list is empty, it has no {name}")
    return values


FILTERS: dict[str, Filter] = {
    "selectattr": Filter(_select, {"attribute": REQUIRED, "test": None, "value": None}),
    "rejectattr": Filter(_reject, {"attribute": REQUIRED, "test": None, "value": None}),
    "map": Filter(_map, {"attribute": REQUIRED, "default": ABSENT}),
    "attr": Filter(_attr, {"name": REQUIRED}),
    "sum": Filter(_sum, {"attribute": None, "start": 0}),
    "min": Filter(_min, {"attribute": None}),
    "max": Filter(_max, {"attribute": None}),
    "sort": Filter(_sort, {"attribute": None, "reverse": False}),
    "unique": Filter(_unique, {"attribute": None}),
    "groupby": Filter(_groupby, {"attribute": REQUIRED}),
    "first": Filter(_first, {}),
    "last": Filter(_last, {}),
    "length": Filter(_length, {}),
    "join": Filter(_join, {"separator": "", "attribute": None}),
    "round": Filter(_round, {"precision": 0}),
    "default": Filter(_default, {"value": REQUIRED}),
    "abs": Filter(_abs, {}),
    "int": Filter(_int, {}),
    "float": Filter(_float, {}),
    "lower": Filter(_lower, {}),
    "keys": Filter(_keys, {}),
    "values": Filter(_values, {}),
}

_COMPARISONS: dict[tuple[str, ...], Test] = {
    ("eq", "equalto", "=="): Test(same),
    ("ne", "!="): Test(lambda frame, left, right: not same(frame, left, right)),
    ("gt", "greaterthan", ">"): Test(lambda frame, left, right: compare(left, right) > 0),
    ("ge", ">="): Test(lambda frame, left, right: compare(left, right) >= 0),
    ("lt", "lessthan", "<"): Test(lambda frame, left, right: compare(left, right) < 0),
    ("le", "<="): Test(lambda frame, left, right: compare(left, right) <= 0),
}
TESTS: dict[str, Test] = {
    "known": Test(is_known, takes_argument=False),
    "in": Test(contains),
    "startswith": Test(starts_with),
    "matches": Test(matches),
    **{name: test for names, test in _COMPARISONS.items() for name in names},
}
