"""The page for a terminal of 80 columns. Code is not broken: it is there to be pasted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..safe_text import cells, safe_text
from .parts import Bullets, Code, Heading, Line, Paragraph, Part, Span, Table

WIDTH = 80
_UNDERLINES = {1: "=", 2: "-"}


def text(parts: Iterable[Part]) -> str:
    """All of it, ending with a line end."""
    lines: list[str] = []
    for part in parts:
        made = list(_part(part))
        # What a heading names follows it at once; everything else stands apart.
        lines += made if not lines else ["", *made]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _part(part: Part) -> Iterator[str]:
    match part:
        case Heading():
            lines = list(wrapped(safe_text(part.text), WIDTH))
            yield from lines
            if part.level in _UNDERLINES:
                yield _UNDERLINES[part.level] * min(WIDTH, max(map(cells, lines), default=0))
        case Paragraph():
            yield from wrapped(_line(part.line), WIDTH)
        case Bullets():
            for line in part.lines:
                yield from _hanging("- ", _line(line))
        case Code():
            yield from (f"    {line}" for line in safe_text(part.text, newlines=True).split("\n"))
        case Table():
            yield from _table(part)


def _table(table: Table) -> Iterator[str]:
    """Names in a column, what they mean behind them; a table of several columns becomes sentences."""
    for row in table.rows:
        name, *rest = (_line(cell) for cell in row)
        if len(rest) == 1:
            yield from _hanging(f"- {name} = ", rest[0], indent=4)
        else:
            told = ", ".join(f"{head} {cell}" for head, cell in zip(table.head[1:-1], rest[:-1], strict=True))
            yield from _hanging(f"- {name}: ", f"{rest[-1]} ({told})" if rest[-1] else told, indent=4)


def _hanging(mark: str, content: str, indent: int = 2) -> Iterator[str]:
    lines = list(wrapped(mark + content, WIDTH, " " * indent))
    yield from lines


def _line(line: Line) -> str:
    return "".join(_span(span) for span in line)


def _span(span: Span) -> str:
    shown = safe_text(" ".join(span.text.split()) if span.kind in ("code", "value") else span.text)
    if span.kind == "value":
        return f"<{shown}>"
    return f"`{shown}`" if span.kind == "code" and not shown.isidentifier() and " " in shown else shown


def wrapped(content: str, width: int, indent: str = "") -> Iterator[str]:
    """Lines of at most `width` columns, broken at spaces; a longer word is cut."""
    line = ""
    for word in _words(content, width - len(indent)):
        if line.strip() and cells(line) + 1 + cells(word) > width:
            yield line
            line = indent + word
        else:
            line = f"{line} {word}" if line.strip() else line + word
    yield line


def _words(content: str, room: int) -> Iterator[str]:
    for word in content.split(" "):
        while cells(word) > room:
            cut = next(index for index in range(len(word), 0, -1) if cells(word[:index]) <= room)
            yield word[:cut]
            word = word[cut:]
        yield word
