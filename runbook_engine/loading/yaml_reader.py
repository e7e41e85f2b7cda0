"""Text to a tree of nodes that know where they stand: strict YAML 1.2, bounded, with JSON types only.

Built from libyaml's events without recursion, so that no file can exhaust memory or a thread's stack, and counted
after alias expansion, because a bomb of 81 aliases stands for a billion nodes. Every defect is a complaint with a
position; no text raises anything but PlaybookError.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, NoReturn

from yaml import MarkedYAMLError, YAMLError
from yaml._yaml import CParser  # libyaml's; the pure-Python parser recurses and is 20 times slower
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from ..errors import Complaint, PlaybookError
from .bounds import MOST_COMPLAINTS, TEXT_OF_A_VALUE, Bounds, bounds_of
from .source_text import complaint_at, readable_text, split_lines
from .yaml_mistakes import explain_syntax

Json = Any

DEEPEST = 64
LONGEST_SCALAR = 64 * 1024
LONGEST_INTEGER = 18
LONGEST_FLOAT = 40

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_RADIX = re.compile(r"0(?:o[0-7]+|x[0-9a-fA-F]+)")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_QUOTING = frozenset({"'", '"', "|", ">"})
_CONSTANTS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(slots=True)  # made by the ten thousand: freezing it would cost more than reading it
class Scalar:
    """One value. `text` is what was written; `style` is one of `'`, `"`, `|`, `>` or empty for plain."""

    path: str
    line: int
    column: int
    value: bool | int | float | str | None
    text: str = ""
    style: str = ""
    one_line: bool = True


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys to nodes. `keys` has the key scalars, for their positions."""

    path: str
    line: int
    column: int
    value: dict[str, Node]
    keys: dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class Sequence:
    path: str
    line: int
    column: int
    value: tuple[Node, ...]


Node = Scalar | Mapping | Sequence


def read(source: bytes | str, path: str) -> Node:
    """The tree of the one document in `source`. Raises PlaybookError with every complaint that could be made."""
    builder = _built(source, path)
    builder.complaints += builder.doubles
    return builder.result()


@dataclass(frozen=True, slots=True)
class ReadOn:
    """A tree from which every second value of a key is left out: what was said of those, and what they hold."""

    root: Node
    complaints: tuple[Complaint, ...]
    dropped: tuple[Node, ...]


def read_on(source: bytes | str, path: str) -> ReadOn:
    """The tree, also where keys stand twice, so that the rest can be judged too."""
    builder = _built(source, path)
    if builder.complaints:
        builder.complaints += builder.doubles
    return ReadOn(builder.result(), tuple(builder.doubles), tuple(builder.dropped))


def _built(source: bytes | str, path: str) -> _Builder:
    text = readable_text(source, path)
    bounds = bounds_of(text)
    if len(text) > bounds.characters:
        builder = _Builder(path, [], bounds)
        builder.complain(1, 1, f"the file has {len(text)} characters, more than {bounds.characters}. split it", "RB002")
        return builder
    builder = _Builder(path, split_lines(text), bounds)
    try:
        parser = CParser(text)
        while (event := parser.get_event()) is not None:
            builder.take(event)
            if type(event) is StreamEndEvent:
                break
    except MarkedYAMLError as error:
        if error.problem == "exceeded maximum nesting depth":  # a newer libyaml looks that far ahead of its events
            line, column = _too_deep_at(builder.lines)
            builder.complain(line, column, f"nested deeper than {DEEPEST} levels", "RB002")
            return builder
        line, column, message, code = explain_syntax(builder.lines, error)
        builder.complain(line, column, message, code)
    except (YAMLError, ValueError) as error:  # libyaml's reader, and Python's own conversions
        builder.complain(1, 1, f"this is not YAML: {error}", "RB003")
    except _Stop:
        pass
    return builder


def _too_deep_at(lines: list[str]) -> tuple[int, int]:
    """Where brackets open one level too many; the first line where levels are made by indentation alone."""
    depth = 0
    for number, line in enumerate(lines, 1):
        for column, sign in enumerate(line, 1):
            depth += (sign in "[{") - (sign in "]}")
            if depth > DEEPEST:
                return number, column
    return 1, 1


def plain(node: Node) -> Json:
    """The same as JSON values, freshly made: what stands behind an alias is copied."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Mapping):
        return {key: plain(value) for key, value in node.value.items()}
    return [plain(value) for value in node.value]


def position_inside(node: Scalar, lines: list[str], offset: int) -> tuple[int, int]:
    """Where the character `offset` of the value stands in the file; the scalar's beginning where that is unclear."""
    if node.style == "|":
        return _inside_block(node, lines, offset)
    quote = 1 if node.style in ("'", '"') and node.style else 0
    escaped = {"'": "''", '"': "\\"}.get(node.style, "")
    source = lines[node.line - 1][node.column - 1 + quote :] if node.line <= len(lines) else ""
    certain = node.one_line and source.startswith(node.text) and not (escaped and escaped in source[: len(node.text)])
    return (node.line, node.column + quote + offset) if certain else (node.line, node.column)


def _inside_block(node: Scalar, lines: list[str], offset: int) -> tuple[int, int]:
    """A literal block keeps its lines; each stands in the file behind the block's indentation."""
    before = node.text[:offset]
    row = before.count("\n")
    wanted = node.text.split("\n")[row]
    index = node.line + row
    if index >= len(lines) or not lines[index].endswith(wanted):
        return node.line, node.column
    indentation = len(lines[index]) - len(wanted)
    return index + 1, indentation + offset - (before.rfind("\n") + 1) + 1


class _Stop(Exception):  # noqa: N818 - it is no error: the complaint has been made, reading on would be no use
    pass


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come yet. `size` and `height` count what its aliases stand for."""

    event: CollectionStartEvent
    items: list[Node] = field(default_factory=list)
    value: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Scalar] = field(default_factory=dict)
    key: Scalar | None = None
    size: int = 1
    height: int = 1


class _Builder:
    """Takes events one by one and keeps what is not finished on a stack of its own."""

    def __init__(self, path: str, lines: list[str], bounds: Bounds) -> None:
        self.path = path
        self.lines = lines
        self.bounds = bounds
        self.complaints: list[Complaint] = []
        self.doubles: list[Complaint] = []
        self.dropped: list[Node] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int, int]] = {}
        self.root: Node | None = None
        self.documents = self.events = self.nodes = 0

    def complain(self, line: int, column: int, message: str, code: str) -> None:
        self.complaints.append(complaint_at(self.lines, self.path, line, column, message, code))

    def result(self) -> Node:
        if self.root is None and not self.complaints:
            self.complain(1, 1, "the file is empty. a playbook begins with 'runbook: 1' and its 'name'", "RB009")
        if self.complaints or self.root is None:
            raise PlaybookError(tuple(sorted(self.complaints, key=lambda item: (item.line, item.column))))
        return self.root

    def take(self, event: Event) -> None:
        self.events += 1
        if len(self.complaints) + len(self.doubles) > MOST_COMPLAINTS:
            raise _Stop
        if self.events > self.bounds.parts:
            self._stop(event, f"the file has more than {self.bounds.parts} parts. split it", "RB002")
        if isinstance(event, ScalarEvent):
            self._add(self._scalar(event), event, 1 + len(event.value) // TEXT_OF_A_VALUE, 1)
        elif isinstance(event, (MappingStartEvent, SequenceStartEvent)):
            self._begin(event)
        elif isinstance(event, (MappingEndEvent, SequenceEndEvent)):
            self._end()
        elif isinstance(event, AliasEvent):
            self._alias(event)
        elif isinstance(event, DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                self._stop(event, "a second document begins here ('---'). one file holds one document", "RB007")

    def _begin(self, event: CollectionStartEvent) -> None:
        if event.tag is not None:
            self._refuse_tag(event, event.tag)
        if len(self.stack) >= DEEPEST:
            self._stop(event, f"nested deeper than {DEEPEST} levels", "RB002")
        top = self.stack[-1] if self.stack else None
        if top is not None and top.key is None and isinstance(top.event, MappingStartEvent):
            self._refuse_key(event)
        self.stack.append(_Open(event))

    def _end(self) -> None:
        done = self.stack.pop()
        line, column = _position(done.event)
        node: Node
        if isinstance(done.event, MappingStartEvent):
            node = Mapping(self.path, line, column, done.value, done.keys)
        else:
            node = Sequence(self.path, line, column, tuple(done.items))
        self._add(node, done.event, done.size, done.height)

    def _alias(self, event: AliasEvent) -> None:
        name = str(event.anchor)
        if any(item.event.anchor == name for item in self.stack):
            self._stop(event, f"'*{name}' stands inside of what '&{name}' names: that would never end", "RB006")
        if name not in self.anchors:
            known = ", ".join(f"&{anchor}" for anchor in sorted(self.anchors)[:5]) or "none so far"
            self._stop(
                event, f"'*{name}' names nothing. anchors are: {known}. a value that begins with * is quoted", "RB006"
            )
        node, size, height = self.anchors[name]
        if len(self.stack) + height > DEEPEST:
            self._stop(event, f"nested deeper than {DEEPEST} levels behind '*{name}'", "RB002")
        self._add(node, event, size, height)

    def _add(self, node: Node, event: Event, size: int, height: int) -> None:
        anchor = getattr(event, "anchor", None)
        if anchor is not None and not isinstance(event, AliasEvent):
            self.anchors[anchor] = (node, size, height)
        if not self.stack:
            self.root = node
            return
        top = self.stack[-1]
        top.size += size
        if height >= top.height:
            top.height = height + 1
        if top.size > self.bounds.values:
            message = f"more than {self.bounds.values} values once aliases are written out and long texts counted"
            self._stop(event, message, "RB002")
        if len(top.items) + len(top.value) >= self.bounds.items:
            items = "items" if isinstance(top.event, SequenceStartEvent) else "keys"
            self._stop(event, f"more than {self.bounds.items} {items} at one place. split the file", "RB002")
        if isinstance(top.event, SequenceStartEvent):
            top.items.append(node)
        elif top.key is None:
            self._take_key(top, node, event)
        else:
            self._take_value(top, top.key, node)

    def _take_key(self, top: _Open, node: Node, event: Event) -> None:
        if not isinstance(node, Scalar):
            self._refuse_key(event)
        line, column = _position(event)
        if node.text == "<<" and not node.style:
            message = "merge keys (<<) are not part of the language. write the keys out, or share a probe with `use:`"
            self.complain(line, column, message, "RB007")
        elif not node.text and not node.style:
            self.complain(line, column, "a key is missing before ':'", "RB003")
        elif len(node.text) > 200:
            self._stop(event, "a key of more than 200 characters", "RB002")
        top.key = node

    def _take_value(self, top: _Open, key: Scalar, node: Node) -> None:
        name = key.text
        if name in top.keys and name != "<<":
            first = top.keys[name]
            message = f"the key {name!r} stands here twice, first at {first.line}:{first.column}. keep one"
            self.doubles.append(complaint_at(self.lines, self.path, key.line, key.column, message, "RB005"))
            self.dropped.append(node)
        else:
            top.keys[name] = key
            top.value[name] = node
        top.key = None

    def _scalar(self, event: ScalarEvent) -> Scalar:
        if event.tag is not None:
            self._refuse_tag(event, event.tag)
        text: str = event.value
        line, column = _position(event)
        if len(text) > LONGEST_SCALAR:
            self._stop(event, f"a text of {len(text)} characters, more than {LONGEST_SCALAR}", "RB002")
        if "\0" in text:
            self.complain(line, column, "NUL cannot stand in a text: no target takes it", "RB001")
        style = event.style if event.style in _QUOTING else ""
        value = text if style else self._plain_value(text, line, column)
        end = event.end_mark
        one_line = end is not None and end.line + 1 == line
        return Scalar(self.path, line, column, value, text, style, one_line)

    def _plain_value(self, text: str, line: int, column: int) -> bool | int | float | str | None:
        if text in _CONSTANTS:
            return _CONSTANTS[text]
        if text[0] not in "+-.0123456789":
            return text
        if _NOT_A_NUMBER.fullmatch(text):
            self.complain(line, column, f"{text} is no number in JSON. quote it if it is text", "RB008")
            return text
        if _INTEGER.fullmatch(text) or _RADIX.fullmatch(text):
            return self._integer(text, line, column)
        if _FLOAT.fullmatch(text):
            return self._float(text, line, column)
        return text

    def _integer(self, text: str, line: int, column: int) -> int | str:
        if len(text.lstrip("+-")) > LONGEST_INTEGER:
            message = f"a whole number of {len(text)} digits, more than {LONGEST_INTEGER}. quote it if it is text"
            self.complain(line, column, message, "RB008")
            return text
        return int(text, 0) if _RADIX.fullmatch(text) else int(text)

    def _float(self, text: str, line: int, column: int) -> float | str:
        value = float(text) if len(text) <= LONGEST_FLOAT else math.inf
        if math.isfinite(value):
            return value
        self.complain(
            line, column, f"{text[:LONGEST_FLOAT]} is too large or too long a number. quote it if it is text", "RB008"
        )
        return text

    def _refuse_tag(self, event: Event, tag: str) -> None:
        shown = tag.replace("tag:yaml.org,2002:", "!!")[:60]
        message = f"tags like {shown} are not part of the language. quote a value to make it text"
        self.complain(*_position(event), message, "RB007")

    def _refuse_key(self, event: Event) -> NoReturn:
        line, column = _position(event)
        written = self.lines[line - 1][max(0, column - 2) :] if line <= len(self.lines) else ""
        jinja = re.match(r"\{?\{\{?(.*?)\}\}", written)
        if jinja:
            hint = '"${{ ' + jinja[1].strip("{ ") + ' }}"'
            self._stop(event, f"a template is written with a dollar sign and quoted: {hint}", "RB004")
        self._stop(event, "a key must be one word or text, not a list or a mapping", "RB007")

    def _stop(self, event: Event, message: str, code: str) -> NoReturn:
        self.complain(*_position(event), message, code)
        raise _Stop


def _position(event: Event) -> tuple[int, int]:
    mark = event.start_mark
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
