"""`title: 42` where text is wanted: a number or a boolean is quoted."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB103"})
_QUOTE = re.compile(r"must be text, not (\S+)\. quote it: \"\1\"$")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    told = _QUOTE.search(complaint.message)
    written = re.match(r"[^\s,\]}#]+", text.rest(complaint.line, complaint.column)) if told else None
    if told is None or written is None or written[0] != told[1]:
        return []
    edit = text.replace(complaint.line, complaint.column, told[1], f'"{told[1]}"')
    return [edit] if edit else []
