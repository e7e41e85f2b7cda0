"""Whether a query may answer any number of rows of a table. Pure, from the text alone, and only where that is sure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .lexer import Token, code

# One row for all of them, whatever the table holds.
_AGGREGATES_TEXT = """
count sum avg min max bool_and bool_or every array_agg string_agg json_agg jsonb_agg json_object_agg
jsonb_object_agg percentile_cont percentile_disc mode stddev variance bit_and bit_or any_value
"""
_AGGREGATES = frozenset(_AGGREGATES_TEXT.split())
_SMALL_SCHEMAS = ("pg_", "information_schema")
_BOUNDS = frozenset({"limit", "fetch", "group", "union", "intersect", "except", "tablesample"})


def unbounded_rows(text: str) -> str | None:
    """Why a query may answer more rows than anybody wants, and how to bound it."""
    tokens = [token for token in code(text) if token.text != ";"]
    top = list(_top_level(tokens))
    words = [token.folded for token in top]
    if "select" not in words or "from" not in words[words.index("select") :]:
        return None
    if words[0] not in ("select", "with") or _BOUNDS & set(words):
        return None
    start = words.index("from", words.index("select"))
    listed = {token.folded for token in tokens if token.start < top[start].start}  # also deep inside: date_part(max(…))
    if _AGGREGATES & listed:
        return None
    tables = list(_tables(top, start))
    large = [name for name in tables if not name.startswith(_SMALL_SCHEMAS)]
    if not large or len(large) < len(tables) or _by_key(top, start):
        return None
    return f"every row of {large[0]} that fits is read, and there may be millions. end it with LIMIT 100, or count them"


def _top_level(tokens: Sequence[Token]) -> Iterator[Token]:
    """What stands outside of all brackets."""
    depth = 0
    for token in tokens:
        depth -= token.text == ")"
        if depth == 0:
            yield token
        depth += token.text == "("


def _tables(top: Sequence[Token], start: int) -> Iterator[str]:
    """The names behind FROM and JOIN: tables. What stands in brackets, or is called, bounds itself or not: not ours."""
    named = {top[index - 1].identifier for index in range(1, len(top)) if top[index].folded == "as"}
    for index in range(start, len(top) - 1):
        if top[index].folded in ("from", "join") and top[index + 1].kind in ("word", "name"):
            name = top[index + 1].identifier
            called = index + 2 < len(top) and top[index + 2].text in ("(", ")")
            if not called and (name not in named or top[0].folded != "with"):
                yield name
            else:
                yield "pg_"  # its size is decided elsewhere


def _by_key(top: Sequence[Token], start: int) -> bool:
    """`where id = %(id)s` finds one row."""
    words = [token.folded for token in top[start:]]
    while "::" in words[:-1]:  # a cast finds no more rows
        del words[words.index("::") : words.index("::") + 2]
    if "where" not in words or "or" in words:
        return False
    for index in range(words.index("where"), len(words) - 2):
        identifier = words[index].rpartition("_")[2]
        if identifier == "id" and words[index + 1] == "=" and not words[index + 2].endswith("id"):
            return True
    return False
