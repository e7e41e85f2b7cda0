"""What a page is made of, whatever it is written as. Text in it is as its author wrote it: a format escapes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line: prose, code, something stressed, or a link to `target`, an anchor (`#…`) or an address.

    A `value` is an expression whose value stands in its place when it is run.
    """

    text: str
    kind: Literal["plain", "code", "value", "strong", "link"] = "plain"
    target: str = ""


Line = tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Heading:
    """Its anchor is its words in lower case joined by hyphens, the same in every format and on GitHub."""

    level: int
    text: str

    @property
    def anchor(self) -> str:
        return "-".join("".join(each if each.isalnum() or each in "-_" else " " for each in self.text.lower()).split())


@dataclass(frozen=True, slots=True)
class Paragraph:
    line: Line


@dataclass(frozen=True, slots=True)
class Bullets:
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Code:
    """Something to paste."""

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    head: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]


Part = Heading | Paragraph | Bullets | Code | Table


def plain(text: str) -> Span:
    return Span(text)


def code(text: str) -> Span:
    return Span(text, "code")


def strong(text: str) -> Span:
    return Span(text, "strong")


def link(text: str, target: str) -> Span:
    return Span(text, "link", target)
