"""A tree back to text: two spaces a level, keys in their order, comments where they belong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..loading.source_text import split_lines
from .order import STEPS, Path, ordered
from .scalars import flow_text, scalar_text
from .tree import BLANK, Block, Entry, Leaf

WIDTH = 120


def written(text: str, tree: Leaf | Block | None, kind: str) -> str:
    """The whole file. With an empty `kind` no key is moved."""
    writer = _Writer(split_lines(text), kind)
    lines = writer.file(tree)
    while lines and not lines[-1]:
        lines.pop()
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class _Around:
    """What stands around an entry: lines above it, and comments below that are its own."""

    above: list[str]
    below: list[str]


class _Writer:
    def __init__(self, source: list[str], kind: str) -> None:
        self.source = source
        self.kind = kind

    def file(self, tree: Leaf | Block | None) -> list[str]:
        if tree is None:
            return [line.rstrip(BLANK) for line in self.source]
        last = tree.end[0] if isinstance(tree, Leaf) else tree.entries[-1].last
        head = _tidy(self.source[: tree.start[0]], 0, 0)
        lines = self.leaf(tree, 0, 0) if isinstance(tree, Leaf) else self.block(tree, 0, ())
        if isinstance(tree, Leaf):
            lines[-1] += self.behind(tree.end)
        tail = self.source[last + 1 :]
        below = _own_comments(tail, 0)
        if isinstance(tree, Block):
            lines += self.below(tree.entries[-1], tail[:below], 0)
        return [*head, *lines, *_tidy(tail[below:], 0, 0)]

    def block(self, block: Block, indent: int, path: Path) -> list[str]:
        around = [self.around(block, index) for index in range(len(block.entries))]
        places = list(range(len(block.entries)))
        if block.mapping:
            places = ordered(self.kind, path, [entry.name for entry in block.entries])
        lines: list[str] = []
        apart = path in STEPS or (self.kind == "library" and path == ("probes",))
        for place, index in enumerate(places):
            entry = block.entries[index]
            above = _tidy(around[index].above, block.column, indent)
            made = self.entry(entry, indent, (*path, entry.name if block.mapping else "-"))
            made += self.below(entry, around[index].below, indent)
            if place == 0:
                above = _without_blank_start(above)
            elif apart and not _blank_start(above) and (len(made) > 1 or self.lines_of(block, places[place - 1]) > 1):
                above = ["", *above]
            lines += [*above, *made]
        return lines

    def lines_of(self, block: Block, index: int) -> int:
        entry = block.entries[index]
        return entry.last - entry.start[0] + 1

    def around(self, block: Block, index: int) -> _Around:
        """The lines up to the entry before it, but for the comments that are that one's own."""
        entry = block.entries[index]
        above: list[str] = []
        if index:
            gap = self.source[block.entries[index - 1].last + 1 : entry.start[0]]
            above = gap[_own_comments(gap, block.column) :]
        below: list[str] = []
        if index + 1 < len(block.entries):
            gap = self.source[entry.last + 1 : block.entries[index + 1].start[0]]
            below = gap[: _own_comments(gap, block.column)]
        return _Around(above, below)

    def below(self, entry: Entry, gap: list[str], indent: int) -> list[str]:
        """Comments behind an entry, in the column of the innermost part of it that they stand under."""
        columns = [(entry.start[1], indent)]
        value = entry.value
        while isinstance(value, Block):
            indent += 2
            columns.append((value.column, indent))
            value = value.entries[-1].value
        lines = []
        for line in _collapsed(gap):
            column = len(line) - len(line.lstrip(BLANK))
            old, new = next(((old, new) for old, new in reversed(columns) if old <= column), columns[0])
            lines.append(" " * max(0, new + column - old) + line.strip(BLANK) if line else "")
        return lines

    def entry(self, entry: Entry, indent: int, path: Path) -> list[str]:
        head = " " * indent + self.key(entry)
        value = entry.value
        if value is None:
            return [head + self.behind(entry.mark)]
        if isinstance(value, Leaf):
            return self.with_leaf(entry, head, value, indent)
        first = value.entries[0].start[0]
        children = self.block(value, indent + 2, path)
        if entry.key is None and first == entry.start[0] and value.anchor_end is None:
            return [f"{head} {children[0].lstrip(BLANK)}", *children[1:]]
        mark = entry.mark
        if value.anchor_end is not None:
            head += " " + self.slice(value.start, value.anchor_end)
            mark = value.anchor_end
        gap = _tidy(self.source[mark[0] + 1 : first], value.column, indent + 2)
        rest = self.behind(mark) if first > mark[0] else ""
        if entry.key is None and value.anchor_end is None and not gap and not rest:
            return [f"{head} {children[0].lstrip(BLANK)}", *children[1:]]
        return [head + rest, *_without_blank_start(gap), *children]

    def key(self, entry: Entry) -> str:
        return self.slice(*entry.key).rstrip(BLANK) + ":" if entry.key else "-"

    def with_leaf(self, entry: Entry, head: str, value: Leaf, indent: int) -> list[str]:
        lines = self.leaf(value, indent, entry.start[1])
        behind = self.behind(value.end) if value.style not in ("|", ">") else ""
        between = self.source[entry.mark[0] + 1 : value.start[0]] if value.start[0] > entry.mark[0] else []
        if value.start[0] == entry.mark[0] or not any(
            line.strip(BLANK) for line in [*between, self.behind(entry.mark)]
        ):
            joined = f"{head} {lines[0]}"
            if len(joined) <= WIDTH or value.start[0] == entry.mark[0] or value.style in ("|", ">"):
                lines[0] = joined
                lines[-1] += behind
                return lines
        lines[0] = " " * (indent + 2) + lines[0]
        lines[-1] += behind
        return [
            head + self.behind(entry.mark),
            *_without_blank_start(_tidy(between, 0, indent + 2, exact=True)),
            *lines,
        ]

    def leaf(self, leaf: Leaf, indent: int, column: int) -> list[str]:
        """Its lines, the first without indentation."""
        first, last = leaf.start[0], leaf.end[0]
        if first == last:
            return [flow_text(self.source[first], leaf) if leaf.style == "{" else scalar_text(self.source[first], leaf)]
        start = self.source[first][leaf.start[1] :].rstrip(BLANK)
        rest = [*self.source[first + 1 : last], self.source[last][: leaf.end[1]]]
        if leaf.style in ("|", ">"):
            return [start, *_block_scalar(start, rest, indent, column)]
        shift = indent - column
        return [start, *(_moved(line, shift, indent + 1) for line in rest)]

    def behind(self, place: tuple[int, int]) -> str:
        """The comment at the end of a line, with the spaces that its author set it apart by."""
        rest = self.source[place[0]][place[1] :].rstrip(BLANK) if place[0] < len(self.source) else ""
        return rest if rest.lstrip(BLANK).startswith("#") else ""

    def slice(self, start: tuple[int, int], end: tuple[int, int]) -> str:
        return self.source[start[0]][start[1] : end[1]] if start[0] == end[0] else ""


def _block_scalar(header: str, body: list[str], indent: int, column: int) -> Iterator[str]:
    """The lines of a block scalar, two spaces inside of its key. Spaces at their ends belong to the text."""
    inside = [len(line) - len(line.lstrip(" ")) for line in body if line.strip(BLANK)]
    stated = any(character.isdigit() for character in header.split("#")[0])
    old = column if stated else (inside[0] if inside else 0)
    new = indent if stated else indent + 2
    for line in body:
        if not line[:old].strip(BLANK):
            yield " " * new + line[old:] if line[old:] else ""
        else:
            yield line


def _moved(line: str, shift: int, least: int) -> str:
    column = len(line) - len(line.lstrip(BLANK))
    return " " * max(least, column + shift) + line.strip(BLANK) if line.strip(BLANK) else ""


def _own_comments(gap: list[str], column: int) -> int:
    """How many lines at the beginning of a gap are comments that stand deeper than what follows."""
    found = 0
    for index, line in enumerate(gap):
        if not line.strip(BLANK):
            continue
        if len(line) - len(line.lstrip(BLANK)) <= column:
            break
        found = index + 1
    return found


def _collapsed(lines: list[str]) -> list[str]:
    """Without spaces at the ends, and with one empty line where several were."""
    found: list[str] = []
    for line in lines:
        if line.strip(BLANK) or not found or found[-1]:
            found.append(line.rstrip(BLANK).expandtabs(4))
    return found


def _tidy(lines: list[str], column: int, indent: int, *, exact: bool = False) -> list[str]:
    """Comment lines moved with what they stand above."""
    found = []
    for line in _collapsed(lines):
        old = len(line) - len(line.lstrip(BLANK))
        new = indent if exact or old <= column else indent + old - column
        found.append(" " * new + line.strip(BLANK) if line else "")
    return found


def _blank_start(lines: list[str]) -> bool:
    return bool(lines) and not lines[0]


def _without_blank_start(lines: list[str]) -> list[str]:
    return lines[1:] if _blank_start(lines) else lines
