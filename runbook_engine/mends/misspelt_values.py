"""A word of a closed list in the wrong case, or one slip away from the only one that could be meant."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..validation.known import known_values
from ..validation.text import Edit, Text, nearest, path_at

CODES = frozenset({"RB104", "RB106"})
_REFUSED = re.compile(r"cannot be '([^']+)'")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    told = _REFUSED.search(complaint.message)
    found = path_at(text.root, complaint.line, complaint.column) if told and text.root is not None else None
    if told is None or found is None or text.root is None:
        return []
    meant = nearest(told[1], known_values(text.root, found[0]))
    quote = text.line(complaint.line)[complaint.column - 1 : complaint.column]
    inside = 1 if quote in "\"'" else 0
    edit = text.replace(complaint.line, complaint.column + inside, told[1], meant or "")
    return [edit] if edit and meant else []
