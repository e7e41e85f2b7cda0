"""How much a file may hold. Tests grow with what is recorded; everything else is written by hand. Pure.

Each bound is several times what our largest playbook needs (tests may stand in several files), and small enough that
any file is judged at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

MOST_COMPLAINTS = 250  # about one file: nobody reads more of them, and the first are the ones to mend
MOST_EXPRESSIONS, MOST_WRITTEN = 2000, 16 * 1024  # of a playbook, inside of texts too; characters of all together
TEXT_OF_A_VALUE = 256  # characters: a text that is longer counts as several values, for an alias may repeat it
# Of a file as it is written by hand, or in braces from its first line: no other key of the outermost mapping is one.
_KIND_KEY = re.compile(r"^(?:\{[ \t]*)?[\"']?(runbook|library|cases|environments)[\"']?[ \t]*:", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Bounds:
    """`characters` and `parts` as written; `values` once aliases are written out; `items` of one list or mapping."""

    characters: int
    parts: int
    values: int
    items: int


TESTS = Bounds(characters=1024 * 1024, parts=24_000, values=50_000, items=2_000)
WRITTEN = Bounds(characters=128 * 1024, parts=12_000, values=20_000, items=200)


@lru_cache(maxsize=2)
def kind_key(text: str) -> str | None:
    """The key that says what a file is, unless only a reader of YAML can find it."""
    found = _KIND_KEY.search(text)
    return found[1] if found is not None else None


def bounds_of(text: str) -> Bounds:
    """Those of the kind of file that the text begins as."""
    return TESTS if kind_key(text) == "cases" else WRITTEN
