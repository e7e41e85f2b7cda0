"""`title: Broken: a playbook`: a value with `: ` in it is quoted. A comment behind it stays one."""

from __future__ import annotations

from ..errors import Complaint
from ..loading.yaml_mistakes import quoted
from ..validation.text import Edit, Text

CODES = frozenset({"RB004"})


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if "a value with ': ' in it must be quoted" not in complaint.message:
        return []
    value = text.rest(complaint.line, complaint.column)
    edit = text.replace(complaint.line, complaint.column, value, quoted(value))
    return [edit] if edit and ":" in value else []
