"""A key that is not known and one slip away from the only key that could be meant."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..loading.yaml_reader import Mapping
from ..validation.known import known_keys
from ..validation.text import Edit, Text, nearest, path_at

CODES = frozenset({"RB101", "RB106"})
_UNKNOWN = re.compile(r"unknown key '([^']+)'")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    told = _UNKNOWN.match(complaint.message)
    found = path_at(text.root, complaint.line, complaint.column) if told and text.root is not None else None
    if told is None or found is None or text.root is None:
        return []
    way, holder = found
    meant = nearest(told[1], known_keys(text.root, way[:-1]))
    if meant is None or not isinstance(holder, Mapping) or meant in holder.value:
        return []
    edit = text.replace(complaint.line, complaint.column, told[1], meant)
    return [edit] if edit else []
