"""The nearest known word, for `did you mean`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST_LISTED = 12
LONGEST_WORD = 60
FARTHEST = 5  # letters more or fewer: beyond it nobody meant that word
MOST_COMPARED = 200


def suggest(word: str, known: Iterable[str]) -> str:
    """`. did you mean 'timeout'?`, or what is known when nothing is near."""
    words = sorted(known)
    alike = [item for item in words if abs(len(item) - len(word)) <= FARTHEST][:MOST_COMPARED]
    near = get_close_matches(word[:LONGEST_WORD], alike, n=1, cutoff=0.6)
    if near:
        return f". did you mean {near[0]!r}?"
    if not words:
        return ""
    listed = ", ".join(words[:MOST_LISTED])
    return f". known: {listed}{', …' if len(words) > MOST_LISTED else ''}"
