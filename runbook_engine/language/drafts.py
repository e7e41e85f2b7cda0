"""The two editions of a schema: 2020-12 as it is built, and draft-07, which editors know. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Any

DIALECTS: Mapping[str, str] = {
    "7": "http://json-schema.org/draft-07/schema#",
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
}
DATA = frozenset({"default", "examples", "enum", "const", "defaultSnippets"})  # no schema stands inside of these


def edition(schema: Json, draft: str) -> dict[str, Json]:
    """The same schema in this draft's words.

    Beside a `$ref` only annotations stand, since draft-07 looks at nothing else there.
    """
    told = _older(schema) if draft == "7" else dict(schema)
    return {"$schema": DIALECTS[draft], **told}


def _older(value: Json) -> Json:
    if isinstance(value, list):
        return [_older(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {}
    for key, item in value.items():
        if key == "$defs":
            made["definitions"] = {name: _older(part) for name, part in item.items()}
        elif key in ("properties", "patternProperties"):
            made[key] = {name: _older(part) for name, part in item.items()}
        elif key == "$ref":
            made[key] = item.replace("#/$defs/", "#/definitions/")
        else:
            made[key] = item if key in DATA else _older(item)
    return made
