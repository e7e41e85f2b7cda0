"""`when: {{ x }}`: a template is written with a dollar sign and, where it is the whole value, quoted."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB004"})
_BRACES = re.compile(r"\{\{\s*([^{}\"\\]*?)\s*\}\}")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if "a template is written with a dollar sign" not in complaint.message:
        return []
    for match in _BRACES.finditer(text.line(complaint.line)):
        if match.start() < complaint.column <= match.end() and match[1]:
            if text.rest(complaint.line, match.start() + 1) != match[0]:
                return []  # more text follows: whether it belongs to the value is not ours to say
            edit = text.replace(complaint.line, match.start() + 1, match[0], f'"${{{{ {match[1]} }}}}"')
            return [edit] if edit else []
    return []
