"""`id:waiting`: YAML wants a space after the colon of a key."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..loading.yaml_mistakes import missing_space
from ..validation.text import Edit, Text

CODES = frozenset({"RB004", "RB103"})
_COLON = re.compile(r"[A-Za-z_][\w-]*(:)")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if (
        "a space is missing after the colon" not in complaint.message
        or missing_space(text.line(complaint.line)) is None
    ):
        return []
    lead = len(text.line(complaint.line)) - len(text.line(complaint.line).lstrip(" -"))
    colon = _COLON.match(text.line(complaint.line), lead)
    start = text.offset(complaint.line, colon.end(1) + 1) if colon else 0
    return [Edit(start, start, " ")] if colon else []
