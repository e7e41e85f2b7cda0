"""The JSON Schema of a playbook, generated from the models; an executor's own key stands beside the others.

It must never refuse what the loader accepts: an editor that underlines a sound playbook is switched off.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .executors import find, names
from .model import Playbook

Json = Any
ACTS = ("Act", "Probe", "Action", "Undo", "Progress", "SubAct")
SHORT_FORMS = ("TargetUse", "See")  # one word stands for the whole mapping


def playbook_schema() -> dict[str, Json]:
    """JSON Schema 2020-12 of a `runbook:` file."""
    schema = Playbook.model_json_schema(by_alias=True)
    definitions = schema["$defs"]
    requests = _requests(definitions)
    for act in ACTS:
        properties = definitions[act]["properties"]
        properties.pop("executor", None)
        properties.pop("request", None)
        properties |= requests
    definitions["Probe"]["properties"]["use"] = {"type": "string", "description": "A shared probe: library.probe"}
    definitions["Probe"]["required"] = []
    # A step that takes a shared probe over has that probe's id and request unless it gives its own.
    definitions["Probe"]["anyOf"] = [{"required": ["id", source]} for source in (*requests, "ask")]
    definitions["Probe"]["anyOf"].append({"required": ["use"]})
    for name in SHORT_FORMS:
        definitions[name] = {"anyOf": [{"type": "string"}, definitions[name]]}
    _close(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "runbook playbook"}


def schema_text() -> str:
    """The schema as the file holds it that playbooks point to."""
    return json.dumps(playbook_schema(), indent=2, ensure_ascii=False)


def _requests(definitions: dict[str, Json]) -> dict[str, Json]:
    """What may stand under each executor's key; their own definitions join the others under the executor's name."""
    requests: dict[str, Json] = {}
    for name in names():
        request = find(name).Params.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}_{{model}}")
        definitions |= {f"{name}_{key}": value for key, value in request.pop("$defs", {}).items()}
        requests[name] = {**request, "title": name}
    return requests


def _close(schema: Json) -> None:
    """A mapping whose keys must be names has no other keys; the models say so by the pattern alone."""
    for part in _mappings(schema):
        if "patternProperties" in part:
            part["additionalProperties"] = False


def _mappings(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mappings(item)
