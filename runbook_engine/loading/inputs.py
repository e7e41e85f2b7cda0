"""What a person gives to a playbook, checked and typed: text from the command line, JSON from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import UsageError
from ..expressions.patterns import compile_pattern
from ..model import Input, Playbook
from ..units import parse_duration, parse_size
from .suggestions import suggest

Json = Any

LONGEST_VALUE = 4096
SHORTEST_SECRET = 6  # a shorter one cannot be masked: it would hide half of everything else
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def resolve_inputs(playbook: Playbook, given: Mapping[str, Json], pace: float = 1.0) -> dict[str, Json]:
    """A value for every input; durations are seconds, shortened by `pace`. UsageError says what is valid."""
    for name in given:
        if name not in playbook.inputs:
            raise UsageError(f"playbook {playbook.name!r} has no input {name!r}{suggest(name, playbook.inputs)}")
    return {name: _resolved(playbook, name, given, pace) for name in playbook.inputs}


def typed_value(wanted: Input, value: Json) -> Json:
    """The value as its type says, within its bounds. ValueError says what would be valid."""
    typed = _TYPES[wanted.type](value)
    if wanted.enum is not None and typed not in [_TYPES[wanted.type](item) for item in wanted.enum]:
        raise ValueError(f"{value!r} is none of {', '.join(str(item) for item in wanted.enum)}")
    if isinstance(typed, str) and wanted.pattern is not None and not _matches(wanted.pattern, typed):
        raise ValueError(f"{typed!r} does not match {wanted.pattern}")
    if isinstance(typed, int | float) and not isinstance(typed, bool):
        _check_bounds(wanted, typed, value)
    return typed


def _resolved(playbook: Playbook, name: str, given: Mapping[str, Json], pace: float) -> Json:
    wanted = playbook.inputs[name]
    if wanted.sensitive and wanted.type != "string":
        raise UsageError(f"input {name!r} is a {wanted.type}: only a string can be sensitive. mend the playbook")
    value = given.get(name, wanted.default)
    if value is None:
        if wanted.optional:
            return None
        help_text = f" ({wanted.help})" if wanted.help else ""
        raise UsageError(f"input {name!r}{help_text} is needed. give it with -i {name}=…")
    try:
        typed = typed_value(wanted, value)
    except ValueError as error:
        if wanted.sensitive:  # the reason would show the value, and so would its chain
            raise UsageError(f"input {name!r}: the value does not fit its pattern, its words or its type") from None
        raise UsageError(f"input {name!r}: {error}") from error
    if wanted.sensitive and len(typed) < SHORTEST_SECRET:
        raise UsageError(
            f"input {name!r} is sensitive and has fewer than {SHORTEST_SECRET} characters: it could not be masked. "
            "give a longer one"
        )
    return typed * pace if wanted.type == "duration" else typed


def _check_bounds(wanted: Input, typed: float, value: Json) -> None:
    if wanted.minimum is not None and typed < wanted.minimum:
        raise ValueError(f"{value} is less than {wanted.minimum:g}, the least that is allowed")
    if wanted.maximum is not None and typed > wanted.maximum:
        raise ValueError(f"{value} is more than {wanted.maximum:g}, the most that is allowed")


def _matches(pattern: str, text: str) -> bool:
    """`$` would also match before a last line break, and what passes here may become an identifier."""
    return not text.endswith("\n") and compile_pattern(pattern).search(text, lambda _: None)


def _text(value: Json) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{value!r} is not text")
    text = str(value)
    if len(text) > LONGEST_VALUE or "\0" in text:
        raise ValueError(f"text of at most {LONGEST_VALUE} characters, none of them NUL, is needed")
    return text


def _integer(value: Json) -> int:
    number = _number(value)
    if number != int(number):
        raise ValueError(f"{value!r} is not a whole number")
    return int(value) if isinstance(value, str) and value.strip().lstrip("+-").isdigit() else int(number)


def _number(value: Json) -> float:
    if isinstance(value, str) and len(value) <= 40 and value.isascii() and "_" not in value:
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{value!r} is not a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= 1e18:
        raise ValueError(f"{str(value)[:60]!r} is not a number")
    return value


def _boolean(value: Json) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _WORDS:
        return _WORDS[value.lower()]
    raise ValueError(f"{value!r} is neither true nor false")


_TYPES: dict[str, Callable[[Json], Json]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "duration": parse_duration,
    "size": parse_size,
}
