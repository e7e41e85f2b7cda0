"""A byte order mark in front of the text says nothing in UTF-8."""

from __future__ import annotations

from ..errors import Complaint
from ..validation.text import Edit, Text

CODES = frozenset({"RB001"})


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    return [Edit(0, 1, "")] if "byte order mark" in complaint.message and text.text.startswith("\ufeff") else []
