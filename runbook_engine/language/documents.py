"""The kinds of file there are, and the schema of each, generated from its model.

A schema must never refuse what the loader accepts: an editor that underlines a sound playbook is switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ..cases import Cases
from ..model import Library, Playbook, Probe
from ..targets import Configuration
from .document_words import SETTINGS
from .requests import references, request_definitions
from .words import annotate

Json = Any
ACTS = ("Act", "Probe", "Action", "Undo", "Progress", "SubAct")
SHORT_FORMS = ("TargetUse", "See")  # one word stands for the whole mapping


@dataclass(frozen=True, slots=True)
class Document:
    """One kind of file. `name` is how the loader calls it, `file` where its schema is kept."""

    name: str
    title: str
    file: str
    model: type[BaseModel]
    finish: Callable[[dict[str, Json], bool], None]


def build(document: Document, third_parties: bool = False) -> dict[str, Json]:
    """Its schema, without a dialect; with the executors of other packages where that is asked for."""
    schema = document.model.model_json_schema(by_alias=True)
    schema.setdefault("$defs", {})
    document.finish(schema, third_parties)
    for name in SHORT_FORMS:
        _take_short_form(schema["$defs"], name)
    annotate(schema, document.model.__name__)
    for name, part in schema["$defs"].items():
        if part.get("title") != name or not name[0].islower():
            part.pop("title", None)  # the name of a class says nothing to an author, and editors would offer it
    for part in _mappings(schema):
        if "patternProperties" in part:
            # A mapping whose keys must be names has no other keys; the models say so by the pattern alone.
            part["additionalProperties"] = False
    return {**schema, "title": document.title}


def _finish_playbook(schema: dict[str, Json], third_parties: bool) -> None:
    requests = _add_requests(schema, [name for name in ACTS if name in schema["$defs"]], third_parties)
    probe = schema["$defs"]["Probe"]
    probe["properties"]["use"] = {"type": "string"}
    probe["required"] = []
    # A step that takes a shared probe over has that probe's id and request unless it gives its own.
    probe["anyOf"] = [{"required": ["id", source]} for source in (*requests, "ask")]
    probe["anyOf"].append({"required": ["use"]})


def _finish_library(schema: dict[str, Json], third_parties: bool) -> None:
    """A shared probe is a step whose id is its name."""
    step = Probe.model_json_schema(by_alias=True)
    schema["$defs"] |= step.pop("$defs", {})
    schema["$defs"]["LibraryProbe"] = step
    requests = _add_requests(schema, ["LibraryProbe"], third_parties)
    step["required"] = []
    step["anyOf"] = [{"required": [source]} for source in (*requests, "ask")]
    schema["properties"]["probes"]["additionalProperties"] = {"$ref": "#/$defs/LibraryProbe"}


def _add_requests(schema: dict[str, Json], acts: list[str], third_parties: bool) -> dict[str, Json]:
    requests = request_definitions(third_parties)
    keys = references(requests)
    schema["$defs"] |= requests
    for act in acts:
        properties = schema["$defs"][act]["properties"]
        properties.pop("executor", None)
        properties.pop("request", None)
        properties |= deepcopy(keys)
    return keys


def _finish_environments(schema: dict[str, Json], third_parties: bool) -> None:
    """A target takes what its executor takes; the known settings are offered, none is refused."""
    schema["$defs"]["TargetSettings"]["properties"] |= {name: {} for name in SETTINGS}


def _finish_cases(schema: dict[str, Json], third_parties: bool) -> None:
    """Nothing but what the model says."""


def _take_short_form(definitions: dict[str, Json], name: str) -> None:
    if name not in definitions:
        return
    full = definitions[name]
    description = full.pop("description", "")
    full.pop("title", None)
    definitions[name] = {"description": description, "anyOf": [{"type": "string"}, full]}


def _mappings(value: Json) -> Iterator[dict[str, Json]]:
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _mappings(item)


DOCUMENTS: Mapping[str, Document] = {
    document.name: document
    for document in (
        Document("playbook", "runbook playbook", "playbook-v1.json", Playbook, _finish_playbook),
        Document("library", "runbook library of probes", "library-v1.json", Library, _finish_library),
        Document("cases", "tests of a runbook playbook", "cases-v1.json", Cases, _finish_cases),
        Document("environments", "runbook.yaml", "runbook-yaml-v1.json", Configuration, _finish_environments),
    )
}
