"""The text of a file as mends see it: lines, places, the tree where it can be read, and exact edits of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import PlaybookError
from ..loading import yaml_reader

_LINE_BREAK = re.compile(r"\r\n|\r|\n")  # as the loader counts lines
_COMMENT = re.compile(r"\s+#")


@dataclass(frozen=True, slots=True)
class Edit:
    """Put `new` in place of what stands between two offsets."""

    start: int
    end: int
    new: str


@dataclass(frozen=True)
class Text:
    """One file's text; lines and columns count from 1, as in complaints."""

    path: str
    text: str

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(match.end() for match in _LINE_BREAK.finditer(self.text))]

    @cached_property
    def lines(self) -> list[str]:
        return _LINE_BREAK.split(self.text)

    @cached_property
    def root(self) -> yaml_reader.Node | None:
        """The tree, where the file is YAML at all."""
        try:
            return yaml_reader.read(self.text, self.path)
        except PlaybookError:
            return None

    @property
    def line_break(self) -> str:
        """As the file has it."""
        found = _LINE_BREAK.search(self.text)
        return found[0] if found else "\n"

    def line(self, number: int) -> str:
        return self.lines[number - 1] if 1 <= number <= len(self.lines) else ""

    def offset(self, line: int, column: int) -> int:
        return self._starts[min(line, len(self._starts)) - 1] + column - 1

    def replace(self, line: int, column: int, old: str, new: str) -> Edit | None:
        """An edit, if `old` really stands there."""
        start = self.offset(line, column)
        return Edit(start, start + len(old), new) if old and self.text.startswith(old, start) else None

    def rest(self, line: int, column: int) -> str:
        """What stands from there to the end of the line, without a comment and the space before it."""
        rest = self.line(line)[column - 1 :]
        comment = _COMMENT.search(rest)
        return (rest[: comment.start()] if comment else rest).rstrip()

    def with_edits(self, edits: Iterable[Edit]) -> Text:
        """The text with these made; of two that overlap the first is made."""
        made, at = [], 0
        for edit in sorted(set(edits), key=lambda each: (each.start, each.end)):
            if edit.start >= at:
                made += [self.text[at : edit.start], edit.new]
                at = edit.end
        return Text(self.path, "".join([*made, self.text[at:]]))


def path_at(root: yaml_reader.Node, line: int, column: int) -> tuple[tuple[str, ...], yaml_reader.Node] | None:
    """The way to the key or value that begins there, and it or what holds the key."""
    for way, node, key in _nodes(root, ()):
        at = key if key is not None else node
        if at.path == root.path and (at.line, at.column) == (line, column):
            return way, node
    return None


def _nodes(
    node: yaml_reader.Node, way: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], yaml_reader.Node, yaml_reader.Scalar | None]]:
    """Every node, and once more under its key; deep first where several begin at one place."""
    if isinstance(node, yaml_reader.Mapping):
        for name, value in node.value.items():
            yield (*way, name), node, node.keys[name]
            yield from _nodes(value, (*way, name))
    elif isinstance(node, yaml_reader.Sequence):
        for index, item in enumerate(node.value):
            yield from _nodes(item, (*way, str(index)))
    yield way, node, None


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The one known word that was surely meant: the same but for its case, or one slip away and no other as near."""
    same = [each for each in known if each.casefold() == word.casefold()]
    if len(same) == 1:
        return same[0]
    most = 1 if len(word) <= 4 else 2
    found = sorted((distance, each) for each in known if (distance := slips(word, each, most)) <= most)
    if not found or (len(found) > 1 and found[0][0] == found[1][0]):
        return None
    return found[0][1]


def slips(one: str, other: str, most: int) -> int:
    """Letters added, left out, changed or swapped between two words; beyond `most` just more than that."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        older, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(row[-1] + 1, before[j] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]
