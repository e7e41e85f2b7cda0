"""`a = 0 && !b` in an expression: the operators of other languages, where the loader names ours."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB201"})
_OURS = re.compile(r"'(=|&&|\|\||!)' is not part of the language; write '(==|and|or|not)'")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    told = _OURS.search(complaint.message)
    if told is None:
        return []
    written, ours = told[1], told[2]
    line = text.line(complaint.line)
    start = line.find(written, max(0, complaint.column - len(written)))  # it may point at the second of two
    if not 0 <= start <= complaint.column - 1:
        return []
    end = start + len(written)
    before, after = line[start - 1 : start], line[end : end + 1]
    if {before, after} & set("=<>!&|"):
        return []  # `===` or `<>`: something else was meant
    if ours != "==":
        ours = f"{'' if before in (' ', '(', '') or ours == 'not' else ' '}{ours}{'' if after == ' ' else ' '}"
    edit = text.replace(complaint.line, start + 1, written, ours)
    return [edit] if edit else []
