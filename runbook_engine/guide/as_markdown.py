"""The page as Markdown, for a docs site or for GitHub. Text of a playbook can bring no markup, HTML or link into it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from ..safe_text import escape_markdown, fence, safe_text
from .parts import Bullets, Code, Heading, Line, Paragraph, Part, Span, Table

_BACKTICKS = re.compile("`+")
_ADDRESS = re.compile(r"https?://[!-~]+")
_IN_ADDRESS = str.maketrans({each: f"%{ord(each):02X}" for each in "()<>[]\\`\"'|*_ "})


def markdown(parts: Iterable[Part]) -> str:
    """All of it, ending with a line end."""
    return "\n\n".join(_part(part) for part in parts) + "\n"


def _part(part: Part) -> str:
    match part:
        case Heading():
            return f"{'#' * part.level} {_prose(part.text)}"
        case Paragraph():
            return _line(part.line)
        case Bullets():
            return "\n".join(f"- {_line(line)}" for line in part.lines)
        case Code():
            return fence(part.text, part.language).rstrip("\n")
        case Table():
            return "\n".join(_rows(part))


def _rows(table: Table) -> Iterator[str]:
    yield f"| {' | '.join(table.head)} |"
    yield "|---" * len(table.head) + "|"
    for row in table.rows:
        yield f"| {' | '.join(_cell(cell) for cell in row)} |"


def _cell(line: Line) -> str:
    """A bar would end the cell, also inside of code; prose has its own escaped already."""
    return "".join(_span(span).replace("|", "\\|") if span.kind in ("code", "value") else _span(span) for span in line)


def _line(line: Line) -> str:
    return "".join(_span(span) for span in line)


def _span(span: Span) -> str:
    match span.kind:
        case "code" | "value":
            return _code(span.text)
        case "strong":
            before, word, after = _trimmed(_prose(span.text))
            return f"{before}**{word}**{after}" if word else before + after
        case "link":
            return _link(span)
    return _prose(span.text)


def _prose(text: str) -> str:
    """One line; what only has a meaning at its beginning (a number, a dash) is escaped wherever it may begin one."""
    before, word, after = _trimmed(text.replace("\r", " ").replace("\n", " "))
    escaped = escape_markdown(word)
    return (before and " ") + (f"\\{escaped}" if escaped[:1] in ("(", "%", ":", "{") else escaped) + (after and " ")


def _trimmed(text: str) -> tuple[str, str, str]:
    word = text.strip(" ")
    start = text.index(word) if word else len(text)
    return text[:start], word, text[start + len(word) :]


def _code(text: str) -> str:
    """A code span that nothing inside can close."""
    shown = safe_text(" ".join(text.split()))
    if not shown:
        return ""
    mark = "`" * (1 + max((len(run) for run in _BACKTICKS.findall(shown)), default=0))
    padding = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{mark}{padding}{shown}{padding}{mark}"


def _link(span: Span) -> str:
    if span.target.startswith("#"):
        return f"[{_prose(span.text)}]({span.target})"
    if _ADDRESS.fullmatch(span.target):
        return f"[{_prose(span.text)}]({span.target.translate(_IN_ADDRESS)})"
    return _prose(span.text)
