"""Rewrites what a test expects to what came out, and nothing else: comments, layout and replies stay. Text to text.

What cannot be changed with proof that only this expectation changed is refused, with the reason.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from yaml._yaml import CParser
from yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from ..cases import Expectation
from ..comparing import BY_NAME, PLAIN, as_wanted
from ..drafting.yaml_text import flow
from ..errors import PlaybookError
from ..layout.tree import comments
from ..loading import yaml_reader
from ..validation.text import Edit, Text

Json = Any
Way = tuple[str, ...]
GONE = object()  # an expectation that cannot be kept


class NotRewrittenError(Exception):
    """Why an expectation has to be changed by hand."""


def rewritten(text: str, path: str, number: int, expect: Expectation, found: Mapping[str, Json]) -> str:
    """The text with the expectation of test `number` as `found` has it. Raises NotRewrittenError."""
    old = yaml_reader.plain(yaml_reader.read(text, path))
    changes = dict(_changes(expect, found))
    written = old["tests"][number]["expect"]
    wanted = _changed(written, changes)
    if not wanted:
        raise NotRewrittenError("nothing that it expects can be said any more: write what it shall expect")
    made = Text(path, text).with_edits(_edits(text, path, number, changes)).text
    _prove(text, made, path, number, wanted)
    return made


def _changes(expect: Expectation, found: Mapping[str, Json]) -> Iterator[tuple[Way, Json]]:
    """The way into `expect`, and what shall stand there."""
    for name in PLAIN:
        wanted, was = getattr(expect, name), found[name]
        if wanted is not None and wanted != was:
            yield (name,), GONE if was is None else list(was) if isinstance(was, tuple) else was
    for group in BY_NAME:
        for name, wanted in getattr(expect, group).items():
            if not as_wanted(found[group], name, wanted):
                yield (group, name), found[group].get(name, GONE)
    kept = {
        "asked": [step for step in expect.asked or () if step in found["asked"]],
        "not_asked": [step for step in expect.not_asked or () if step not in found["asked"]],
        "unknown": [fact for fact in expect.unknown or () if fact in found["unknown"]],
        "says": [text for text in expect.says if text in found["says"]] or [found["says"]],
    }
    for name, items in kept.items():
        written = getattr(expect, name)
        if written and list(written) != items:
            yield (name,), items or GONE


def _changed(written: Mapping[str, Json], changes: Mapping[Way, Json]) -> dict[str, Json]:
    """The expectation as data after the changes; a group that lost all it had is gone as well."""
    made: dict[str, Json] = copy.deepcopy(dict(written))
    for way, value in changes.items():
        place = made
        for name in way[:-1]:
            place = place[name]
        if value is GONE:
            del place[way[-1]]
        else:
            place[way[-1]] = value
    return {name: value for name, value in made.items() if not (name in BY_NAME and value == {} and written[name])}


@dataclass(slots=True)
class _Span:
    """Where a node stands. `keys` and `values` of a mapping by name; of anything else empty."""

    start: int
    end: int
    flow: bool = False
    alias: bool = False
    keys: dict[str, _Span] = field(default_factory=dict)
    values: dict[str, _Span] = field(default_factory=dict)
    items: list[_Span] = field(default_factory=list)


def _edits(text: str, path: str, number: int, changes: Mapping[Way, Json]) -> list[Edit]:
    tests = _spans(Text(path, text)).values["tests"]
    test = tests.items[number]
    expect = test.values.get("expect")
    if test.alias or expect is None or expect.alias:
        raise NotRewrittenError("it stands behind an alias: change it by hand")
    edits = []
    removed: dict[Way, list[str]] = {}
    for way, value in changes.items():
        if value is GONE:
            removed.setdefault(way[:-1], []).append(way[-1])
            continue
        place = _inside(expect, way)
        edits.append(Edit(place.start, place.end, flow(value)))
    for way in sorted(removed, key=len, reverse=True):
        holder = _inside(expect, way)
        if way and set(removed[way]) == holder.keys.keys():
            removed.setdefault((), []).append(way[0])
        elif way:
            edits += _removals(text, holder, removed[way])
    return [*edits, *_removals(text, expect, removed.get((), []))]


def _inside(span: _Span, way: Way) -> _Span:
    for name in way:
        span = span.values[name]
        if span.alias:
            raise NotRewrittenError("it stands behind an alias: change it by hand")
    return span


def _removals(text: str, holder: _Span, names: list[str]) -> Iterator[Edit]:
    """Entries taken out, with the comma or the lines that are theirs."""
    order = list(holder.keys)
    for name in names:
        at, key, value = order.index(name), holder.keys[name], holder.values[name]
        after = next((each for each in order[at + 1 :] if each not in names), None)
        before = next((each for each in reversed(order[:at]) if each not in names), None)
        if not holder.flow:
            start = text.rfind("\n", 0, key.start) + 1
            end = text.find("\n", value.end)
            yield Edit(start, len(text) if end < 0 else end + 1, "")
        elif at + 1 < len(order) and (after is not None or before is None):
            yield Edit(key.start, holder.keys[order[at + 1]].start, "")
        else:
            yield Edit(holder.values[order[at - 1]].end if at else key.start, value.end, "")


def _spans(text: Text) -> _Span:
    """The tree of a sound text by offsets."""
    parser = CParser(text.text)

    def offset(mark: Any) -> int:
        return text.offset(mark.line + 1, mark.column + 1)

    def node(event: Any) -> _Span:
        span = _Span(offset(event.start_mark), offset(event.end_mark), alias=isinstance(event, AliasEvent))
        if isinstance(event, MappingStartEvent):
            span.flow = bool(event.flow_style)
            while not isinstance(key := parser.get_event(), MappingEndEvent):
                name = node(key)
                called = str(getattr(key, "value", ""))
                span.keys[called] = name
                span.values[called] = value = node(parser.get_event())
                span.end = value.end
            span.end = offset(key.end_mark) if span.flow else span.end
        elif isinstance(event, SequenceStartEvent):
            span.flow = bool(event.flow_style)
            while not isinstance(item := parser.get_event(), SequenceEndEvent):
                span.items.append(node(item))
                span.end = span.items[-1].end
            span.end = offset(item.end_mark) if span.flow else span.end
        return span

    while not isinstance(event := parser.get_event(), MappingStartEvent | SequenceStartEvent | ScalarEvent):
        pass
    return node(event)


def _prove(text: str, made: str, path: str, number: int, wanted: Mapping[str, Json]) -> None:
    """Only this expectation is another one, and every comment is still there."""
    data = yaml_reader.plain(yaml_reader.read(text, path))
    data["tests"][number]["expect"] = dict(wanted)
    try:
        same = yaml_reader.plain(yaml_reader.read(made, path)) == data
    except PlaybookError:
        same = False
    if not same:
        raise NotRewrittenError("it cannot be changed without changing something else: change it by hand")
    if Counter(comments(made)) != Counter(comments(text)):
        raise NotRewrittenError("a comment stands inside of it: change it by hand")
