"""Finds a part of the language by its dotted path: `resolution.verify.hold`, `symptoms.asynq.inspect`.

It reads the schema alone, so that what a terminal is told and what an editor offers is the same.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..loading.suggestions import suggest

Json = Any
MOST_PLACES = 8
DEEPEST_PLACE = 6


@dataclass(frozen=True, slots=True)
class Part:
    """A key: its path as it was found, what it may hold, whether it must be there, and the definition that has it."""

    path: tuple[str, ...]
    schema: Mapping[str, Json]
    required: bool = False
    owner: str = ""


def find_part(root: Mapping[str, Json], dotted: str) -> Part:
    """Names of a map (`inputs.backlog.type`) and numbers may stand there. UsageError names the nearest key."""
    return part_at(root, re.findall(r"[^.\[\]]+", dotted))


def part_at(root: Mapping[str, Json], words: Sequence[str]) -> Part:
    """The same, of a path that is apart already."""
    part = Part((), root)
    for word in words:
        known = keys_of(root, part.schema)
        if word in known:
            part = Part((*part.path, word), known[word].schema, known[word].required, known[word].owner)
        elif (inner := _named(root, part.schema, word)) is not None:
            part = Part((*part.path, word), inner)
        elif not word.isdigit():
            place = ".".join(part.path) or "a file"
            raise UsageError(f"there is no {word!r} in {place}{suggest(word, known)}")
    return part


def keys_of(root: Mapping[str, Json], schema: Mapping[str, Json]) -> dict[str, Part]:
    """The keys that may stand in it, in its items or in its values, in the order of the language."""
    found: dict[str, Part] = {}
    for owner, form in forms(root, schema):
        needed = form.get("required", ())
        for key, wanted in form.get("properties", {}).items():
            found.setdefault(key, Part((key,), wanted, key in needed, owner))
    if not found:
        for inner in _inner(root, schema):
            found |= {key: part for key, part in keys_of(root, inner).items() if key not in found}
    return found


def forms(root: Mapping[str, Json], schema: Mapping[str, Json], owner: str = "") -> Iterator[tuple[str, Json]]:
    """What it may be: itself with what it refers to, and each of its alternatives, with the definition's name."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        target = root["$defs"][name]
        yield from forms(root, {**target, **{key: item for key, item in schema.items() if key != "$ref"}}, name)
        return
    yield owner, schema
    for form in schema.get("anyOf", ()):
        yield from forms(root, form, owner)


def places_of(root: Mapping[str, Json], part: Part) -> list[str]:
    """Every path on which the same key of the same definition can be reached, the nearest first."""
    if not part.owner:
        return []
    found: list[str] = []
    waiting: deque[tuple[tuple[str, ...], Mapping[str, Json]]] = deque([((), root)])
    while waiting:
        path, schema = waiting.popleft()
        for key, inner in keys_of(root, schema).items():
            if inner.owner == part.owner and key == part.path[-1]:
                found.append(".".join((*path, key)))
            if len(path) + 1 < DEEPEST_PLACE and key not in path:
                waiting.append(((*path, key), inner.schema))
    return list(dict.fromkeys(found))[:MOST_PLACES]


def _inner(root: Mapping[str, Json], schema: Mapping[str, Json]) -> Iterator[Json]:
    """What its items or values may be."""
    for _, form in forms(root, schema):
        if isinstance(form.get("items"), dict):
            yield form["items"]
        yield from form.get("patternProperties", {}).values()
        if isinstance(form.get("additionalProperties"), dict):
            yield form["additionalProperties"]


def _named(root: Mapping[str, Json], schema: Mapping[str, Json], name: str) -> Json:
    """The value of a map whose keys the author chooses, where this may be one of them."""
    for _, form in forms(root, schema):
        for pattern, value in form.get("patternProperties", {}).items():
            if re.search(pattern, name):
                return value
        more = form.get("additionalProperties")
        if isinstance(more, dict) or (more is True and not form.get("properties")):
            return more if isinstance(more, dict) else {}
    return None
