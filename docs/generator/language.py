"""The language, key by key, from the models that read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runbook_engine.cast import Reply
from runbook_engine.executors import names
from runbook_engine.schema import schema_of

from .schemas import keys_table

Json = Any
# Definition → what people call it; the heading of its section.
SECTIONS = {
    "Input": "input",
    "TargetUse": "target",
    "Probe": "probe",
    "Sample": "sample",
    "Ask": "question",
    "Cause": "cause",
    "Evidence": "evidence",
    "See": "other playbook",
    "Action": "action",
    "Act": "request",
    "SubAct": "act of an action",
    "Impact": "impact",
    "Limit": "limit",
    "Batch": "batch",
    "Verify": "verification",
    "Undo": "undo",
    "Progress": "progress",
    "Case": "test",
    "Expectation": "expectation",
    "Policy": "policy",
    "Loop": "loop",
    "Environment": "environment",
    "Place": "environment",
}
KINDS = ("playbook", "library", "cases", "environments")
_HEAD = """# Language reference

Every key of every kind of file, as the program reads it; made when this documentation was built. What a run does
with them is told in [how a playbook is read](../playbooks.md). Unknown keys are errors. The first key says what a
file is: `runbook:` a playbook, `library:` shared probes, `cases:` tests, `environments:` where targets are.

Conditions and facts are [expressions](../playbooks.md#expressions); titles, sentences and the data of requests may
hold them between `${{` and `}}`.
"""


def pages() -> dict[str, str]:
    playbook, library, cases, environments = (schema_of(kind, "2020-12") for kind in KINDS)
    documents: tuple[tuple[str, str, Mapping[str, Json]], ...] = (
        ("Playbook", "The file `NAME.yaml` that begins with `runbook: 1`.", _without_requests(playbook)),
        (
            "Library",
            "A file of probes that playbooks take over with `use: library.probe`.",
            _without_requests(library),
        ),
        ("Tests", "The file `NAME.test.yaml` beside a playbook.", cases),
        ("Reply", "What stands for an answer when it has to say more than the answer.", Reply.model_json_schema()),
        ("Environments", "The file `runbook.yaml`.", environments),
    )
    parts = [_HEAD]
    told: set[str] = set()
    for title, about, schema in documents:
        definitions = schema.get("$defs", {})
        linked = {name: words for name, words in SECTIONS.items() if name in definitions and "_" not in name}
        parts.append(f"## {title}\n\n{about}\n\n{keys_table(schema, definitions, linked)}")
        for name, words in linked.items():
            if words in told:
                continue
            told.add(words)
            found = _whole(definitions[name])
            text = str(found.get("description", "")).split("\n\n")[0]
            parts.append(
                f"### {words.capitalize()}\n\n{' '.join(text.split())}\n\n{keys_table(found, definitions, linked)}"
            )
    return {"language.md": "\n\n".join(parts) + "\n"}


def _whole(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """Of a type with a short form, the mapping."""
    return next((each for each in schema.get("anyOf", ()) if "properties" in each), schema)


def _without_requests(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """Requests have a page of their own; a step names its executor as one key among the others."""
    known = names()
    definitions = {}
    for name, each in schema["$defs"].items():
        kept = {key: value for key, value in each.get("properties", {}).items() if key not in known}
        if len(kept) < len(each.get("properties", {})):
            kept["sql, redis, …"] = {
                "description": "The request, under the name of its executor: " + ", ".join(f"`{one}`" for one in known)
            }
            each = {**each, "properties": kept}
        definitions[name] = each
    return {**schema, "$defs": definitions}
