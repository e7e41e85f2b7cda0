"""`fix`, `explains` and `target` that name nothing, one slip away from the only thing that could be meant."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..loading.yaml_reader import Mapping, Node, Scalar, Sequence
from ..validation.text import Edit, Text, nearest

CODES = frozenset({"RB406", "RB501", "RB503"})
SECTIONS = {"RB501": "causes", "RB503": "resolution"}
_UNKNOWN = re.compile(r"the unknown (?:cause|action|target) '([^']+)'|derived from '([^']+)', which is no target")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    told = _UNKNOWN.search(complaint.message)
    if told is None or not isinstance(text.root, Mapping):
        return []
    word = told[1] or told[2]
    meant = nearest(word, _names(text.root, complaint.code))
    quote = text.line(complaint.line)[complaint.column - 1 : complaint.column]
    inside = 1 if quote in "\"'" else 0
    edit = text.replace(complaint.line, complaint.column + inside, word, meant or "")
    return [edit] if edit and meant else []


def _names(root: Mapping, code: str) -> list[str]:
    if code == "RB406":
        targets = root.value.get("targets")
        return list(targets.value) if isinstance(targets, Mapping) else []
    steps = root.value.get(SECTIONS[code])
    return [name for step in (steps.value if isinstance(steps, Sequence) else ()) if (name := _id(step))]


def _id(step: Node) -> str:
    found = step.value.get("id") if isinstance(step, Mapping) else None
    return found.text if isinstance(found, Scalar) else ""
