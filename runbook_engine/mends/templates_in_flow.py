"""`[EXISTS, ${{ key }}]`: inside brackets a template is quoted; the loader shows the whole line as it should be."""

from __future__ import annotations

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB004"})
LEAD = "a template must be quoted: "


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    line = text.line(complaint.line)
    rewritten = complaint.message.partition(LEAD)[2]
    if not rewritten or "#" in line:  # what looks like a comment may be a part of the text
        return []
    written = line.strip()
    edit = text.replace(complaint.line, len(line) - len(line.lstrip()) + 1, written, rewritten)
    return [edit] if edit else []
