"""The nearest known word, for `did you mean`. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

MOST_LISTED = 12
LONGEST_WORD = 60
FARTHEST = 5  # letters more or fewer: beyond it nobody meant that word
MOST_COMPARED = 200


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What was probably meant."""
    alike = [item for item in sorted(known) if abs(len(item) - len(word)) <= FARTHEST][:MOST_COMPARED]
    return next(iter(get_close_matches(word[:LONGEST_WORD], alike, n=1, cutoff=0.6)), None)


def suggest(word: str, known: Iterable[str]) -> str:
    """`. did you mean 'timeout'?`, or what is known when nothing is near."""
    words = sorted(known)
    if near := nearest(word, words):
        return f". did you mean {near!r}?"
    if not words:
        return ""
    listed = ", ".join(words[:MOST_LISTED])
    return f". known: {listed}{', …' if len(words) > MOST_LISTED else ''}"
