"""`{first: lines[0]}`: inside braces an expression with an index is quoted, as the loader shows it."""

from __future__ import annotations

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB004"})
LEAD = "a value with [ ] must be quoted: "


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    rewritten = complaint.message.partition(LEAD)[2].partition(": ")[2].lstrip()
    edit = text.replace(complaint.line, complaint.column, rewritten[1:-1], rewritten) if rewritten else None
    return [edit] if edit else []
