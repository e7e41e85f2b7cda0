"""Judges JSON against a JSON Schema, as far as our own schema goes: a keyword it does not know is an error, no pass."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Json = Any

_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "null": (type(None),),
}
_SILENT = frozenset({"$schema", "$defs", "title", "description", "default"})


def faults(value: Json, schema: Mapping[str, Json], root: Mapping[str, Json], at: str = "") -> Iterator[str]:
    """What is wrong with the value, each with its place."""
    for keyword, wanted in schema.items():
        if keyword in _SILENT or keyword in ("properties", "patternProperties"):
            continue
        if keyword == "$ref":
            yield from faults(value, root["$defs"][wanted.removeprefix("#/$defs/")], root, at)
        elif keyword in ("anyOf", "oneOf"):
            yield from _of_several(keyword, value, wanted, root, at)
        elif keyword == "items":
            for index, item in enumerate(value if isinstance(value, list) else ()):
                yield from faults(item, wanted, root, f"{at}[{index}]")
        elif keyword != "additionalProperties" and not _PLAIN[keyword](value, wanted):
            yield f"{at or 'the document'}: {value!r:.60} does not satisfy {keyword}: {wanted}"
    if isinstance(value, dict):
        yield from _of_keys(value, schema, root, at)


def _of_several(keyword: str, value: Json, branches: list[Json], root: Mapping[str, Json], at: str) -> Iterator[str]:
    found = [list(faults(value, branch, root, at)) for branch in branches]
    fitting = sum(not each for each in found)
    if fitting == 0 or (keyword == "oneOf" and fitting > 1):
        nearest = min(found, key=len) if fitting == 0 else []
        yield f"{at or 'the document'}: fits {fitting} of {len(branches)} forms; {'; '.join(nearest)}"


def _of_keys(value: dict[str, Json], schema: Mapping[str, Json], root: Mapping[str, Json], at: str) -> Iterator[str]:
    properties, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for key, item in value.items():
        wanted = [properties[key]] if key in properties else []
        wanted += [each for pattern, each in patterns.items() if re.search(pattern, key)]
        if not wanted and schema.get("additionalProperties") is False:
            yield f"{at}.{key}: this key is not known here"
        elif not wanted and isinstance(schema.get("additionalProperties"), dict):
            wanted = [schema["additionalProperties"]]
        for each in wanted:
            yield from faults(item, each, root, f"{at}.{key}")


def _is_type(value: Json, wanted: str | list[str]) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    return any(isinstance(value, _TYPES[name]) and (name == "boolean" or not _is_bool(value)) for name in names)


def _is_bool(value: Json) -> bool:
    return isinstance(value, bool)


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not _is_bool(value)


_PLAIN: Mapping[str, Any] = {
    "type": _is_type,
    "const": lambda value, wanted: value == wanted,
    "enum": lambda value, wanted: value in wanted,
    "required": lambda value, wanted: not isinstance(value, dict) or all(key in value for key in wanted),
    "pattern": lambda value, wanted: not isinstance(value, str) or re.search(wanted, value) is not None,
    "minLength": lambda value, wanted: not isinstance(value, str) or len(value) >= wanted,
    "maxLength": lambda value, wanted: not isinstance(value, str) or len(value) <= wanted,
    "minItems": lambda value, wanted: not isinstance(value, list) or len(value) >= wanted,
    "maxItems": lambda value, wanted: not isinstance(value, list) or len(value) <= wanted,
    "minimum": lambda value, wanted: not _is_number(value) or value >= wanted,
    "maximum": lambda value, wanted: not _is_number(value) or value <= wanted,
}
