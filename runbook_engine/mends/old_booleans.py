"""`yes`, `no`, `on` and `off` were booleans in YAML 1.1; where one is wanted they become `true` and `false`."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB103", "RB104", "RB111", "RB202"})
WORDS = {**dict.fromkeys(("yes", "on", "y"), "true"), **dict.fromkeys(("no", "off", "n"), "false")}
_WANTED = re.compile(
    r"must be true or false, not|is not (?:a boolean|true or false)|^unknown name '(?:yes|no|on|off)'", re.I
)
_WHOLE = re.compile(r"([A-Za-z]+)\s*(?=$|[,}\]])")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if not _WANTED.search(complaint.message):
        return []
    rest = text.rest(complaint.line, complaint.column)
    word = _WHOLE.match(rest)
    before = text.line(complaint.line)[: complaint.column - 1]
    if word is None or word[1].lower() not in WORDS or not re.search(r"(?:: +|- +|[\[{,] *)$", before):
        return []
    edit = text.replace(complaint.line, complaint.column, word[1], WORDS[word[1].lower()])
    return [edit] if edit else []
