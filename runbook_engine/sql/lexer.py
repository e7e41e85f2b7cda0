"""PostgreSQL's own lexical rules, so that what we say of a statement is what the server will read. Pure.

Must never guess: what it cannot finish is a `broken` token, and whoever reads those refuses the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal[
    "word", "name", "string", "dollar", "comment", "number", "parameter", "placeholder", "operator", "broken"
]

# Bytes above 127 are letters to PostgreSQL, so a no-break space belongs to a word; only these six separate.
_SPACE = re.compile(r"[ \t\n\r\f\v]+")
_WORD = re.compile(r"[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]*")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+(?:[eE][+-]?[0-9]+)?")
_DOLLAR = re.compile(r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$")
_PARAMETER = re.compile(r"\$[0-9]+")
_OPERATOR = re.compile(r"::|:=|=>|.", re.DOTALL)
_LINE_COMMENT = re.compile(r"--[^\n\r]*")
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_QUOTE_START = re.compile(r"(?:([eE])|[uU]&|[bBxXnN])?'")
_NAME_START = re.compile(r'(?:[uU]&)?"')
_PLAIN_QUOTE = re.compile(r"(?:[^']|'')*'")
_ESCAPE_QUOTE = re.compile(r"(?:[^'\\]|''|\\.)*'", re.DOTALL)
_NAME_END = re.compile(r'(?:[^"]|"")*"')
# Two literals with a line break between them are one literal, and the second keeps the escapes of the first.
_CONTINUED = re.compile(r"(?:[ \t\f\v]|--[^\n\r]*)*[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*[\n\r])*'")
PLACEHOLDER = re.compile(r"%\(([A-Za-z_][A-Za-z0-9_]*)\)([sI])")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of SQL text; `text[start:end]` is what stood there."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def folded(self) -> str:
        """The text as the server compares it. ASCII only: `str.lower` would turn the Kelvin sign into a k."""
        return self.text.translate(_LOWER) if self.kind == "word" else self.text

    @property
    def identifier(self) -> str:
        """The name that a word or a quoted identifier stands for."""
        return self.text[1:-1].replace('""', '"') if self.kind == "name" else self.folded


_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


@lru_cache(maxsize=256)
def tokens(text: str) -> tuple[Token, ...]:
    """Everything but white space, in order, comments included."""
    return tuple(_tokens(text))


@lru_cache(maxsize=256)
def code(text: str) -> tuple[Token, ...]:
    """The tokens that mean something: no comments."""
    return tuple(token for token in tokens(text) if token.kind != "comment")


def _tokens(text: str) -> Iterator[Token]:
    position = 0
    while position < len(text):
        if space := _SPACE.match(text, position):
            position = space.end()
            continue
        kind, end = _next(text, position)
        yield Token(kind, text[position:end], position)
        position = end


def _next(text: str, start: int) -> tuple[Kind, int]:
    if text[start] == "\0":
        return "broken", len(text)
    if text.startswith("/*", start):
        return _block_comment(text, start)
    if quote := _QUOTE_START.match(text, start):
        return _literal(text, quote)
    if name := _NAME_START.match(text, start):
        closed = _NAME_END.match(text, name.end())
        return ("name", closed.end()) if closed else ("broken", len(text))
    if dollar := _DOLLAR.match(text, start):
        close = text.find(dollar[0], dollar.end())
        return ("dollar", close + len(dollar[0])) if close >= 0 else ("broken", len(text))
    for kind, pattern in _SIMPLE:
        if found := pattern.match(text, start):
            return kind, found.end()
    raise AssertionError("the operator pattern matches any character")


_SIMPLE: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("comment", _LINE_COMMENT),
    ("placeholder", PLACEHOLDER),
    ("parameter", _PARAMETER),
    ("word", _WORD),
    ("number", _NUMBER),
    ("operator", _OPERATOR),
)


def _block_comment(text: str, start: int) -> tuple[Kind, int]:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return "comment", edge.end()
    return "broken", len(text)


def _literal(text: str, opening: re.Match[str]) -> tuple[Kind, int]:
    body = _ESCAPE_QUOTE if opening[1] else _PLAIN_QUOTE
    closed = body.match(text, opening.end())
    while closed:
        end = closed.end()
        continued = _CONTINUED.match(text, end)
        if not continued:
            return "string", end
        closed = body.match(text, continued.end())
    return "broken", len(text)
