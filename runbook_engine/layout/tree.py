"""Where each part of a YAML text stands, down to its last line: what a value reader throws away and a layout needs.

It reads what `yaml_reader` has accepted before, so that nothing is deep, huge or endless.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from yaml._yaml import CParser
from yaml.tokens import (
    AliasToken,
    AnchorToken,
    BlockEntryToken,
    BlockMappingStartToken,
    BlockSequenceStartToken,
    FlowMappingEndToken,
    FlowMappingStartToken,
    FlowSequenceEndToken,
    FlowSequenceStartToken,
    KeyToken,
    ScalarToken,
    StreamEndToken,
    TagToken,
    Token,
    ValueToken,
)

from ..loading.source_text import split_lines

BLANK = " \t"  # what YAML calls white; Python would strip more
Place = tuple[int, int]  # line and column, from 0
_COMMENT = re.compile(r"(?:^|(?<=[ \t]))(#.*)")


@dataclass(slots=True)
class Leaf:
    """A scalar, an alias or a whole flow collection: kept as it is written."""

    start: Place
    end: Place  # behind its last character; of a block scalar: its last line that counts, whole
    style: str = ""  # `|` or `>` of a block scalar, quotes, `{` of a flow collection
    tokens: list[Any] = field(default_factory=list)


@dataclass(slots=True)
class Entry:
    """One line of a block: a key with its value, or an item. `mark` is behind the `:` or the `-`."""

    start: Place
    mark: Place
    value: Leaf | Block | None
    name: str = ""
    key: tuple[Place, Place] | None = None  # from where to where it is written; an item of a list has none

    @property
    def last(self) -> int:
        """The last line that it takes."""
        if self.value is None:
            return self.mark[0]
        return self.value.end[0] if isinstance(self.value, Leaf) else self.value.entries[-1].last


@dataclass(slots=True)
class Block:
    """A mapping or a list over several lines. `start` is that of its anchor, if it has one."""

    start: Place
    mapping: bool
    entries: list[Entry]
    anchor_end: Place | None = None

    @property
    def column(self) -> int:
        return self.entries[0].start[1]


class _Tokens:
    def __init__(self, text: str) -> None:
        parser = CParser(text)
        self.items: list[Any] = []
        while not self.items or not isinstance(self.items[-1], StreamEndToken):
            self.items.append(parser.get_token())
        self.at = 0

    def peek(self) -> Any:
        return self.items[self.at]

    def take(self) -> Any:
        self.at += 1
        return self.items[self.at - 1]

    def next_is(self, *kinds: type[Token]) -> bool:
        return isinstance(self.peek(), kinds)


def parse(text: str) -> Leaf | Block | None:
    """The tree of a text that is sound YAML; None when it holds nothing."""
    tokens = _Tokens(text)
    lines = split_lines(text)
    content = (ScalarToken, AliasToken, AnchorToken, TagToken, BlockMappingStartToken, BlockSequenceStartToken)
    while not tokens.next_is(*content, FlowMappingStartToken, FlowSequenceStartToken, StreamEndToken):
        tokens.take()
    return _node(tokens, lines)


def _node(tokens: _Tokens, lines: list[str], *, item: bool = False) -> Leaf | Block | None:
    start: Place | None = None
    anchor_end: Place | None = None
    while tokens.next_is(AnchorToken, TagToken):
        token = tokens.take()
        start = start or _place(token.start_mark)
        anchor_end = _place(token.end_mark)
    found: Leaf | Block | None = None
    if tokens.next_is(ScalarToken):
        found = _scalar(tokens.take(), lines)
    elif tokens.next_is(AliasToken):
        token = tokens.take()
        found = Leaf(_place(token.start_mark), _place(token.end_mark), "*", [token])
    elif tokens.next_is(FlowMappingStartToken, FlowSequenceStartToken):
        found = _flow(tokens)
    elif tokens.next_is(BlockMappingStartToken):
        tokens.take()
        found = _block(tokens, lines, mapping=True)
        tokens.take()
    elif tokens.next_is(BlockSequenceStartToken):
        tokens.take()
        found = _block(tokens, lines, mapping=False)
        tokens.take()
    elif tokens.next_is(BlockEntryToken) and not item:  # a list in the column of its key has no start and no end
        found = _block(tokens, lines, mapping=False)
    if start is None:
        return found
    if found is None:
        return Leaf(start, anchor_end or start, "&")
    found.start = start
    if isinstance(found, Block):
        found.anchor_end = anchor_end
    return found


def _block(tokens: _Tokens, lines: list[str], *, mapping: bool) -> Block:
    entries: list[Entry] = []
    while tokens.next_is(KeyToken if mapping else BlockEntryToken):
        first = tokens.take()
        if not mapping:
            entries.append(Entry(_place(first.start_mark), _place(first.end_mark), _node(tokens, lines, item=True)))
            continue
        key = tokens.peek()
        name = key.value if isinstance(key, ScalarToken) else ""
        leaf = _node(tokens, lines)
        span = (leaf.start, leaf.end) if isinstance(leaf, Leaf) else (_place(first.start_mark),) * 2
        mark, value = span[1], None
        if tokens.next_is(ValueToken):
            mark = _place(tokens.take().end_mark)
            value = _node(tokens, lines)
        entries.append(Entry(_place(first.start_mark), mark, value, name, span))
    return Block(entries[0].start, mapping, entries)


def _scalar(token: Any, lines: list[str]) -> Leaf:
    start, end = _place(token.start_mark), _place(token.end_mark)
    style = token.style if token.style in ("|", ">", "'", '"') and not token.plain else ""
    if style in ("|", ">"):
        last = end[0] - 1 if end[1] == 0 or end[0] >= len(lines) else end[0]
        keeps = "+" in lines[start[0]][start[1] :].split("#")[0]
        while last > start[0] and not lines[last].strip(BLANK) and not keeps:
            last -= 1
        end = (max(last, start[0]), len(lines[max(last, start[0])]))
    return Leaf(start, end, style, [token])


def _flow(tokens: _Tokens) -> Leaf:
    taken: list[Any] = []
    depth = 0
    while True:
        token = tokens.take()
        taken.append(token)
        depth += isinstance(token, FlowMappingStartToken | FlowSequenceStartToken)
        depth -= isinstance(token, FlowMappingEndToken | FlowSequenceEndToken)
        if depth == 0:
            return Leaf(_place(taken[0].start_mark), _place(token.end_mark), "{", taken)


def _place(mark: Any) -> Place:
    return mark.line, mark.column


def comments(text: str) -> Iterator[str]:
    """Every comment of a sound text, in its order, without the spaces around it."""
    return (found for _, found in placed_comments(text))


def placed_comments(text: str) -> Iterator[tuple[Place, str]]:
    """Every comment and where it begins."""
    lines = split_lines(text)
    free = [0] * len(lines)  # from which column on a line is outside of scalars
    for start, end, block in _spans(text):
        first = start
        if block:
            free[start[0]] = max(free[start[0]], start[1])
            first = (start[0] + 1, 0)
        for line in range(first[0], min(end[0], len(lines) - 1) + 1):
            free[line] = max(free[line], end[1] if line == end[0] else len(lines[line]))
    for number, (written, column) in enumerate(zip(lines, free, strict=True)):
        found = _COMMENT.search(written, max(0, column - 1))
        if found:
            yield (number, found.start(1)), found[1].rstrip(BLANK)


def long_texts(text: str) -> dict[int, int]:
    """The first line of every value that takes several, with its last."""
    return {start[0]: end[0] for start, end, _ in _spans(text) if end[0] > start[0]}


@lru_cache(maxsize=2)
def _spans(text: str) -> tuple[tuple[Place, Place, bool], ...]:
    """From where to where each scalar goes, and whether it is a block. Its comments and its values ask in turn."""
    lines = split_lines(text)
    found = []
    for token in _Tokens(text).items:
        if isinstance(token, ScalarToken):
            block = token.style in ("|", ">") and not token.plain
            end = _scalar(token, lines).end if block else _place(token.end_mark)
            found.append((_place(token.start_mark), end, block))
    return tuple(found)
