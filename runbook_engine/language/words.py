"""Puts words, examples, meanings of values and snippets into a schema. What a key may hold it never changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..units import format_duration
from . import document_words, playbook_words, request_words
from .snippets import SNIPPETS
from .value_words import VALUES

Json = Any

SAYS: Mapping[str, str] = {**playbook_words.SAYS, **document_words.SAYS, **request_words.SAYS}
EXAMPLES: Mapping[str, Json] = {
    **playbook_words.EXAMPLES,
    **document_words.EXAMPLES,
    **request_words.EXAMPLES,
}
FAMILY: Mapping[str, tuple[str, ...]] = {  # whose keys a definition has besides its own
    **dict.fromkeys(("Probe", "Action", "Undo", "Progress", "SubAct"), ("Act",)),
    "LibraryProbe": ("Probe", "Act"),
}
_QUIET: tuple[Json, ...] = ({}, [], "", None)


def annotate(schema: Json, name: str) -> None:
    """The whole document; `name` is that of its model."""
    for definition, part in {name: schema, **schema.get("$defs", {})}.items():
        for owner, key, wanted in keyed(definition, part):
            _annotate_key(owner, key, wanted)
        if definition in SNIPPETS:
            part["defaultSnippets"] = list(SNIPPETS[definition])
        if definition in EXAMPLES:
            part["examples"] = [EXAMPLES[definition]]
        _explain_values(part, f"{definition}.{definition}")
        if "`" in part.get("description", ""):
            part["markdownDescription"] = part["description"]


def keyed(name: str, part: Json) -> Iterator[tuple[tuple[str, ...], str, Json]]:
    """Every key of a definition, also of its forms, with the names under which its words may stand."""
    owners = (name, *FAMILY.get(name, ()))
    for form in (part, *part.get("anyOf", ())):
        for key, wanted in form.get("properties", {}).items():
            yield owners, key, wanted


def _annotate_key(owners: tuple[str, ...], key: str, wanted: Json) -> None:
    names = [f"{owner}.{key}" for owner in owners]
    wanted["title"] = key
    for branch in wanted.get("anyOf", ()):
        branch.pop("description", None)
        branch.pop("title", None)
    own = str(wanted.get("description", ""))
    says = next((SAYS[name] for name in names if name in SAYS), own[:1].upper() + own[1:])
    if says:
        wanted["description"] = says
    if "`" in says:
        wanted["markdownDescription"] = wanted["description"]
    found = [EXAMPLES[name] for name in names if name in EXAMPLES]
    if found:
        wanted["examples"] = found[:1]
    for name in names:
        _explain_values(wanted, name)
    _mend_default(wanted)


def _mend_default(wanted: Json) -> None:
    """As an author would write it; an empty one is no help."""
    if isinstance(wanted.get("default"), dict):
        wanted["default"] = {key: value for key, value in wanted["default"].items() if value is not None}
    if wanted.get("default") in _QUIET and wanted.get("default") is not False:
        wanted.pop("default", None)
    elif wanted.get("x-type") == "duration" and isinstance(wanted["default"], int | float):
        wanted["default"] = format_duration(wanted["default"]).replace(" ", "") if wanted["default"] else "0s"


def _explain_values(wanted: Json, name: str) -> None:
    meanings = VALUES.get(name, {})
    for part in _parts(wanted) if meanings else ():
        values = part.get("enum")
        if values and set(values) <= meanings.keys():
            part["enumDescriptions"] = [meanings[value] for value in values]
            part["markdownEnumDescriptions"] = part["enumDescriptions"]


def _parts(value: Json) -> Iterator[dict[str, Json]]:
    """The schema and what stands directly inside it: its forms, its items, the values of a map."""
    if isinstance(value, dict):
        yield value
        for key in ("anyOf", "items", "additionalProperties", "patternProperties"):
            inner = value.get(key)
            for part in inner if isinstance(inner, list) else [inner]:
                yield from _parts(part)
            if key == "patternProperties" and isinstance(inner, dict):
                for part in inner.values():
                    yield from _parts(part)
