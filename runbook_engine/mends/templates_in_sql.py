"""`where state = '${{ state }}'`: SQL is constant, so a plain name is bound, as `%(state)s` without quotes."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB302"})
_TEMPLATE = re.compile(r"\$\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    line = text.line(complaint.line)
    found = _TEMPLATE.match(line, complaint.column - 1)
    if found is None or f"write %({found[1]})s instead of" not in complaint.message:
        return []
    start, end = found.span()
    quoted = line[start - 1 : start] == "'" == line[end : end + 1]
    if line[:start].count("'") % 2 != int(quoted) or '"' in line[:start]:
        return []  # inside of a longer text: what belongs to it is not ours to say
    if quoted:
        start, end = start - 1, end + 1
    edit = text.replace(complaint.line, start + 1, line[start:end], f"%({found[1]})s")
    return [edit] if edit else []
