"""What may stand at a place of a file, as the schema says: keys, and the values of closed lists."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from ..errors import UsageError
from ..language.documents import DOCUMENTS, build
from ..language.parts import forms, keys_of, part_at
from ..loading import yaml_reader

Json = Any
_KINDS = {"runbook": "playbook", "library": "library", "cases": "cases", "environments": "environments"}


def known_keys(root: yaml_reader.Node, way: Sequence[str]) -> list[str]:
    """The keys of the mapping at the end of the way."""
    schema = _schema_of(root)
    if schema is None:
        return []
    try:
        return list(keys_of(schema, part_at(schema, way).schema))
    except UsageError:
        return []


def known_values(root: yaml_reader.Node, way: Sequence[str]) -> list[str]:
    """The words that the value at the end of the way may be; none when it is free."""
    schema = _schema_of(root)
    if schema is None:
        return []
    try:
        part = part_at(schema, way)
    except UsageError:
        return []
    return [word for _, form in forms(schema, part.schema) for word in form.get("enum", ()) if isinstance(word, str)]


def _schema_of(root: yaml_reader.Node) -> Json:
    if not isinstance(root, yaml_reader.Mapping):
        return None
    return next((_built(kind) for key, kind in _KINDS.items() if key in root.value), None)


@cache
def _built(kind: str) -> Json:
    return build(DOCUMENTS[kind], third_parties=True)
