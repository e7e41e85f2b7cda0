"""Lines indented with tabs: each tab becomes as many spaces as make the file readable, if only one number does."""

from __future__ import annotations

from ..errors import Complaint, PlaybookError
from ..loading import yaml_reader
from ..validation.text import Edit, Text

CODES = frozenset({"RB004"})
WIDTHS = (2, 4, 8)


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    if "indented with a tab" not in complaint.message:
        return []
    found = [(edits, meant) for width in WIDTHS if (meant := _meaning(text, edits := _edits(complaint, text, width)))]
    return found[0][0] if found and all(meant == found[0][1] for _, meant in found) else []


def _edits(complaint: Complaint, text: Text, width: int) -> list[Edit]:
    """Of the line complained of and of all that begin with a tab; a tab behind spaces may belong to a script."""
    edits = []
    for number, line in enumerate(text.lines, 1):
        indentation = line[: len(line) - len(line.lstrip(" \t"))]
        if indentation.startswith("\t") or number == complaint.line:
            edits.append(text.replace(number, 1, indentation, indentation.replace("\t", " " * width)))
    return [edit for edit in edits if edit is not None]


def _meaning(text: Text, edits: list[Edit]) -> str:
    """What the file says with these made; nothing where it cannot be read."""
    try:
        return repr(yaml_reader.plain(yaml_reader.read(text.with_edits(edits).text, text.path)))
    except PlaybookError:
        return ""
