"""JSON Schema to tables of keys: what may stand there, what is taken without it, and what it means."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Json = Any


def keys_table(schema: Mapping[str, Json], definitions: Mapping[str, Json], linked: Mapping[str, str]) -> str:
    """A row for each key of a mapping. `linked` are the definitions that have a section of their own."""
    required = schema.get("required", [])
    rows = ["| key | type | default | meaning |", "|---|---|---|---|"]
    for name, each in schema.get("properties", {}).items():
        default = "required" if name in required else _default(each)
        cells = (f"`{name}`", words(each, definitions, linked), default, _cell(meaning(each, definitions)))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def meaning(schema: Mapping[str, Json], definitions: Mapping[str, Json]) -> str:
    """Its own description, else that of what it refers to."""
    if schema.get("description"):
        return str(schema["description"])
    for each in (schema, *schema.get("anyOf", ()), *schema.get("allOf", ()), schema.get("items", {})):
        if isinstance(each, dict) and "$ref" in each:
            return str(definitions.get(_name(each), {}).get("description", "")).partition("\n\n")[0]
    return ""


def words(schema: Json, definitions: Mapping[str, Json], linked: Mapping[str, str]) -> str:
    """`list of [probe](#probe)`, `"read"` or `"touch"`, text that matches a pattern."""
    if not isinstance(schema, dict) or not schema:
        return "any value"
    if "$ref" in schema:
        return _reference(schema, definitions, linked)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            parts = [words(each, definitions, linked) for each in schema[several] if each.get("type") != "null"]
            return " or ".join(dict.fromkeys(parts))
    if "allOf" in schema:
        return words(schema["allOf"][0], definitions, linked)
    if "const" in schema:
        return _code(json.dumps(schema["const"]))
    if "enum" in schema:
        return " ".join(_code(str(each)) for each in schema["enum"])
    return _plain(schema, definitions, linked)


def _plain(schema: Mapping[str, Json], definitions: Mapping[str, Json], linked: Mapping[str, str]) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(_KINDS.get(each, each) for each in kind)
    if kind == "array":
        if "prefixItems" in schema:
            return "list"
        return f"list of {words(schema.get('items'), definitions, linked)}"
    if kind == "object":
        inner = next(iter(schema.get("patternProperties", {}).values()), schema.get("additionalProperties"))
        return f"mapping of names to {words(inner, definitions, linked)}" if isinstance(inner, dict) else "mapping"
    return _KINDS.get(str(kind), "any value") + "".join(_bounds(schema))


_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "mapping",
}
_KINDS |= {"array": "list", "null": "nothing"}


def _bounds(schema: Mapping[str, Json]) -> Iterator[str]:
    if "minimum" in schema:
        yield f", at least {schema['minimum']}"
    if "maximum" in schema:
        yield f", at most {schema['maximum']}"
    if "pattern" in schema:
        yield f" that matches {_code(schema['pattern'])}"


def _reference(schema: Mapping[str, Json], definitions: Mapping[str, Json], linked: Mapping[str, str]) -> str:
    name = _name(schema)
    if name in linked:
        return f"[{linked[name]}](#{linked[name].replace(' ', '-')})"
    found = definitions.get(name, {})
    if "properties" in found:
        keys = ", ".join(_code(key) for key in found["properties"])
        return f"mapping with {keys}" if keys else "nothing"
    return words(found, definitions, linked)


def _name(schema: Mapping[str, Json]) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _default(schema: Mapping[str, Json]) -> str:
    value = schema.get("default")
    return "" if value in (None, "", [], {}) else _code(json.dumps(value, ensure_ascii=False))


def _code(text: str) -> str:
    shown = text.replace("|", "\\|")
    return f"`{shown}`" if "`" not in text else f"`` {shown} ``"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").replace("{{", "{ {").split())
