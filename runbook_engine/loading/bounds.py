"""How much a file may hold. Tests grow with what is recorded; everything else is written by hand. Pure.

Each bound is several times what our largest file needs, and small enough that any file is judged at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MOST_COMPLAINTS = 250  # about one file: nobody reads more of them, and the first are the ones to mend
TEXT_OF_A_VALUE = 256  # characters: a text that is longer counts as several values, for an alias may repeat it
TOP_KEY = re.compile(r"^(runbook|library|cases|environments)[ \t]*:", re.MULTILINE)
_FIRST_KEY = re.compile(r"^(?:\{[ \t]*)?[\"']?(runbook|library|cases|environments)[\"']?[ \t]*:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bounds:
    """`characters` and `parts` as written; `values` once aliases are written out; `items` of one list or mapping."""

    characters: int
    parts: int
    values: int
    items: int


TESTS = Bounds(characters=1024 * 1024, parts=100_000, values=100_000, items=20_000)
WRITTEN = Bounds(characters=128 * 1024, parts=20_000, values=20_000, items=500)


def bounds_of(text: str) -> Bounds:
    """Those of the kind of file that the text begins as."""
    first = _FIRST_KEY.search(text)
    return TESTS if first is not None and first[1] == "cases" else WRITTEN
