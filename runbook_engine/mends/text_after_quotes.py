"""`present: 'Lock' == waiting`: text goes on after a closing quote, so all of it is quoted."""

from __future__ import annotations

from ..errors import Complaint
from ..loading.yaml_mistakes import quoted
from ..validation.text import Edit, Text

CODES = frozenset({"RB004"})


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if "text goes on after the closing quote" not in complaint.message:
        return []
    value = text.line(complaint.line)[complaint.column - 1 :].rstrip()
    if "#" in value:  # a comment, or a part of the text: who knows
        return []
    edit = text.replace(complaint.line, complaint.column, value, quoted(value))
    return [edit] if edit else []
