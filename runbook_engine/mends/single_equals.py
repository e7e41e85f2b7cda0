"""`waiting = 0` in an expression: `==` compares."""

from __future__ import annotations

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB201"})


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if "write '==' to compare" not in complaint.message:
        return []
    line = text.line(complaint.line)
    around = line[max(0, complaint.column - 2) : complaint.column + 1]
    edit = text.replace(complaint.line, complaint.column, "=", "==")
    return [edit] if edit and not set(around.replace("=", "", 1)) & set("=<>!") else []
