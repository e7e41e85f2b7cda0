"""A text that a pattern matches: one, not every one. Pure."""

from __future__ import annotations

import string

from ..expressions.patterns import Choice, Edge, One, Repeat, Sequence, Tree, compile_pattern, pattern_tree

CHARACTERS = string.ascii_lowercase + string.digits + string.ascii_uppercase + string.punctuation + " \n"


def example_of(pattern: str) -> str:
    """Empty where none is found that really matches."""
    try:
        text = _of(pattern_tree(pattern))
        return text if compile_pattern(pattern).search(text, lambda steps: None) else ""
    except ValueError:
        return ""


def _of(tree: Tree) -> str:
    match tree:
        case One(accepts):
            return next((each for each in CHARACTERS if accepts(each)), "")
        case Sequence(parts):
            return "".join(_of(part) for part in parts)
        case Choice(options):
            return _of(max(options, key=lambda option: len(_of(option))))  # an edge alone tells nothing
        case Repeat(part, least, _):
            return _of(part) * least
        case Edge():
            return ""
