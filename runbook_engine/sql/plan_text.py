"""Whether a statement that came as data may be planned: one that the server would only look at. Pure.

Must never let a text through that it does not understand: planning evaluates functions that call themselves immutable.
"""

from __future__ import annotations

from itertools import pairwise

from .effect import statements, unjudged_calls
from .lexer import Token, code

LONGEST = 32 * 1024  # characters; of PostgreSQL's own texts few are longer, and each is read by hand here
MOST_TOKENS = 4000
_PLANNED = frozenset({"select", "insert", "update", "delete", "with"})
_LITERAL_TYPES = frozenset({"interval", "date", "time", "timestamp", "timestamptz", "timetz"})
_HIDDEN = "<insufficient privilege>"


def unplannable(text: str) -> str:
    """Why this text is not planned; nothing when it may be."""
    if text.strip() == _HIDDEN:
        return "this role may not see the statement: it needs pg_read_all_stats"
    if len(text) > LONGEST:
        return f"the statement has {len(text)} characters, at most {LONGEST} are looked at"
    found = code(text)
    if len(found) > MOST_TOKENS:
        return f"the statement has {len(found)} words and signs, at most {MOST_TOKENS} are looked at"
    return _unreadable(found) or _not_one_statement(text) or _acting(text)


def parameter_count(text: str) -> int:
    return max((int(token.text[1:]) for token in code(text) if token.kind == "parameter"), default=0)


def plannable(text: str) -> str:
    """The text up to the end of its last word, and `interval $1`, which pg_stat_statements writes, as a cast."""
    found = [token for token in code(text) if token.text != ";"]
    pieces, end = [], 0
    for word, value in pairwise(found):
        if word.kind == "word" and word.folded in _LITERAL_TYPES and value.kind == "parameter":
            pieces.append(f"{text[end : word.start]}{value.text}::{word.folded}")
            end = value.end
    return "".join(pieces) + text[end : found[-1].end]


def _unreadable(found: tuple[Token, ...]) -> str:
    for token in found:
        if token.kind == "broken":
            return f"the statement is cut off, or cannot be read, from {token.text[:20]!r} on"
        if token.kind == "placeholder":
            return f"{token.text} is no SQL"
        if token.kind == "name" and not token.text.startswith('"'):
            return f"{token.text[:20]!r} cannot be read"
        if token.kind == "parameter" and (len(token.text) > 5 or token.text.startswith("$0")):
            return f"{token.text[:20]!r} is no parameter of a statement"
    return ""


def _not_one_statement(text: str) -> str:
    parts = [part for part in statements(text) if part]
    if len(parts) != 1:
        return f"the text holds {len(parts)} statements, not one" if parts else "the text holds no statement"
    first = parts[0][0]
    if first.kind != "word" or first.folded not in _PLANNED:
        return f"only SELECT, INSERT, UPDATE, DELETE and WITH are planned, not {first.text[:20]!r}"
    if any(token.kind == "word" and token.folded == "into" for token in parts[0]) and not _only_inserts(parts[0]):
        return "SELECT INTO makes a table"
    return ""


def _only_inserts(part: list[Token]) -> bool:
    """Whether each INTO is that of an INSERT."""
    return all(
        index and part[index - 1].folded == "insert"
        for index, token in enumerate(part)
        if token.kind == "word" and token.folded == "into"
    )


def _acting(text: str) -> str:
    call = next(iter(unjudged_calls(text)), None)
    return f"it calls {call}, which is not known to be free of side effects" if call else ""
