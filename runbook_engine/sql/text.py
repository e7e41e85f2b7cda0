"""What stands in an SQL text besides code: the places of its values, and what a load should complain about.

Pure; must never touch a server.

`classify`, `lasting_calls` and `controls_transaction` are `sql_effect`'s, offered here so that one import serves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .effect import classify, controls_transaction, lasting_calls, statements
from .lexer import PLACEHOLDER, Token, code, tokens

__all__ = [
    "Placeholder",
    "classify",
    "controls_transaction",
    "lasting_calls",
    "placeholders",
    "problems",
    "statements",
    "to_psycopg",
]

Where = Literal[
    "code",
    "quote",
    "dollar quote",
    "quoted identifier",
    "comment",
    "order by",
    "group by",
    "distinct on",
    "interval",
    "in",
    "bare in",
    "table",
]
_INSIDE: dict[str, Where] = {
    "string": "quote",
    "name": "quoted identifier",
    "comment": "comment",
    "dollar": "dollar quote",
}
_TEMPLATE = re.compile(r"\$\{\{\s*(.*?)\s*\}\}", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LIST_ENDS = {
    "asc",
    "desc",
    "nulls",
    "limit",
    "offset",
    "fetch",
    "for",
    "having",
    "order",
    "window",
    "union",
    "using",
    "rows",
}
_LIST_STARTS = {"select", "from", "where", "having", "values", "set", "returning", "limit", "on"}


@dataclass(frozen=True, slots=True)
class Placeholder:
    """`%(name)s` (a value) or `%(name)I` (an identifier), and where it stands."""

    name: str
    kind: Literal["s", "I"]
    start: int
    end: int
    where: Where


def placeholders(text: str) -> tuple[Placeholder, ...]:
    """Every place for a value, also those where none may stand. Any other percent sign is plain."""
    return tuple(_placeholders(text)) if "%(" in text else ()


def to_psycopg(text: str, quoted: Mapping[str, str] | None = None) -> str:
    """The text as the driver wants it: plain percent signs doubled, each `%(name)I` now quoted."""
    quoted, pieces, end = quoted or {}, [], 0
    for place in placeholders(text):
        if place.where in _INSIDE.values():
            continue
        pieces.append(text[end : place.start].replace("%", "%%"))
        named = text[place.start : place.end] if place.kind == "s" else quoted[place.name].replace("%", "%%")
        pieces.append(named)
        end = place.end
    return "".join(pieces) + text[end:].replace("%", "%%")


def problems(text: str) -> list[tuple[int, str]]:
    """What is wrong with the text before it is ever sent: (offset, what and how to mend it), in order."""
    found = [*_lexical(text), *_templates(text), *_misplaced(text), *_stacked(text)]
    word = controls_transaction(text)
    if word:
        found.append((0, f"{word} is not for a step: the engine opens and ends the transaction itself"))
    return sorted(found)


def _placeholders(text: str) -> Iterator[Placeholder]:
    meaningful = code(text)
    index_of = {token.start: index for index, token in enumerate(meaningful)}
    lists = tuple(_lists(meaningful))
    for token in tokens(text):
        for match in PLACEHOLDER.finditer(token.text):
            start = token.start + match.start()
            where = _INSIDE.get(token.kind) or _standing(meaningful, index_of.get(token.start, 0), lists)
            kind: Literal["s", "I"] = "s" if match[2] == "s" else "I"
            yield Placeholder(match[1], kind, start, start + len(match[0]), where)


def _standing(part: Sequence[Token], index: int, lists: Sequence[Where]) -> Where:
    before = _folded(part, index - 1)
    if before == "interval":
        return "interval"
    if before == "(" and _folded(part, index + 1) == ")" and _folded(part, index - 2) == "in":
        return "in"
    if before == "in":
        return "bare in"
    if before in ("join", "into", "update"):
        return "table"
    if before == "(" and _folded(part, index - 2) == "on" and _folded(part, index - 3) == "distinct":
        return "distinct on"
    after = _folded(part, index + 1)
    if before in ("by", ",") and (after in ("", ",", ")", ";") or after in _LIST_ENDS):
        return lists[index]
    return "code"


def _lists(part: Sequence[Token]) -> Iterator[Where]:
    """Of each token, which list it stands in: ORDER BY, GROUP BY or neither, as its brackets have it."""
    inside: list[Where] = ["code"]
    for index in range(len(part)):
        yield inside[-1]
        word = _folded(part, index)
        if word == "(":
            inside.append("code")
        elif word == ")" and len(inside) > 1:
            inside.pop()
        elif word in _LIST_STARTS:
            inside[-1] = "code"
        elif word == "by":
            inside[-1] = "group by" if _folded(part, index - 1) == "group" else "order by"


def _folded(part: Sequence[Token], index: int) -> str:
    token = part[index] if 0 <= index < len(part) else None
    return token.folded if token and token.kind in ("word", "operator") else ("" if token is None else "?")


def _lexical(text: str) -> Iterator[tuple[int, str]]:
    explains = any(token.folded == "generic_plan" for token in code(text))
    for token in tokens(text):
        if token.kind == "broken":
            yield token.start, f"{_broken(token)} is not closed"
        if token.kind == "parameter" and not explains:
            yield token.start, f"{token.text} has no value here: write %(name)s and give the name in with:"


def _broken(token: Token) -> str:
    opening = token.text.lstrip("eEuUbBxXnN&")[:1]
    return {"'": "a quoted string", '"': "a quoted identifier", "/": "a comment", "$": "a dollar quote"}.get(
        opening, "a null character in the text"
    )


def _templates(text: str) -> Iterator[tuple[int, str]]:
    for match in _TEMPLATE.finditer(text):
        name = match[1] if _NAME.fullmatch(match[1]) else "value"
        binding = "" if name == match[1] else f" and with: {{value: '${{{{ {match[1]} }}}}'}}"
        quoted = text[match.start() - 1 : match.start()] in ("'", '"') and match.start() > 0
        bare = ", without the quotes," if quoted else ""
        yield match.start(), f"SQL is constant text: write{bare} %({name})s instead of {match[0]}{binding}"


def _misplaced(text: str) -> Iterator[tuple[int, str]]:
    for place in placeholders(text):
        written = text[place.start : place.end]
        if place.where in _INSIDE.values():
            yield place.start, _inside_advice(written, place)
        elif place.kind == "s" and place.where != "code":
            yield place.start, _advice(written, place)
        if place.where not in _INSIDE.values() and _touches_a_word(text, place):
            yield place.start, f"{written} touches the word beside it: put a space between them"


def _touches_a_word(text: str, place: Placeholder) -> bool:
    around = text[place.start - 1 : place.start] + text[place.end : place.end + 1]
    return any(character.isalnum() or character in "_$" or character > "\x7f" for character in around)


def _inside_advice(written: str, place: Placeholder) -> str:
    what = {"quote": "a quoted string", "dollar quote": "a dollar quote", "comment": "a comment"}.get(
        place.where, "a quoted identifier"
    )
    if place.where == "comment":
        return f"{written} stands inside a comment, where no value reaches it: remove it"
    if place.where == "quoted identifier":
        return (
            f"{written} stands inside a quoted identifier: write %({place.name})I without quotes and name it in idents:"
        )
    return (
        f"{written} stands inside {what}, where no value reaches it: take it out of the quotes, "
        f"e.g. make_interval(mins => {written}) or '%' || {written}"
    )


def _advice(written: str, place: Placeholder) -> str:
    match place.where:
        case "interval":
            return f"interval takes no value: write make_interval(mins => {written})"
        case "in":
            return f"in ({written}) takes one value, not a list: write = any({written})"
        case "bare in":
            return f"in {written} takes no list: write = any({written})"
        case "table":
            return f"a table's name is no value: write %({place.name})I and name it in idents:"
        case "order by":
            return (
                f"{place.where} {written} sorts by a constant, not by a column: write the column, "
                "or case %(by)s when 'a' then a when 'b' then b end"
            )
        case _:
            column = f"write the column, or %({place.name})I and name it in idents:"
            return f"{place.where} {written} means a constant, not a column: {column}"


def _stacked(text: str) -> Iterator[tuple[int, str]]:
    parts = [part for part in statements(text) if part]
    for part in parts[1:]:
        yield part[0].start, "one text holds one statement: write sql: [first, second], which is one transaction"
