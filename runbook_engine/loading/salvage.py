"""Makes a whole document of a broken one, so that the rest of it can be judged in the same pass.

What is wrong has been said: it is taken out, what is missing is filled in with something harmless. It never runs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from . import yaml_reader
from .positions import Loc, executor_key, find_node
from .yaml_reader import Node, Scalar

Json = Any
Place = tuple[str, int, int]

LONGEST_WORD = 200
# What a key that must be there says where it is not; never read by anything but checks of other keys.
_FILLINGS: Mapping[str, Json] = {
    "runbook": 1,
    "name": "unnamed",
    "title": "…",
    "effect": "destructive",  # nothing is more than that, so no other effect seems understated
    "needs": "true",
    "when": "true",
    "until": "true",
    "says": "…",
    "count": "1",
    "of": "…",
    "question": "…",
    "playbook": "unnamed",
    "size": 1,
    "times": 2,
    "every": 1,
}


@dataclass(slots=True)
class Wreck:
    """What a document lost: every word that stood in it, and the mappings and lists that are no longer whole."""

    words: set[str] = field(default_factory=set)
    maimed: set[Place] = field(default_factory=set)

    def lose(self, node: Node) -> None:
        waiting = [node]
        while waiting:
            each = waiting.pop()
            if isinstance(each, yaml_reader.Mapping):
                self.words |= each.value.keys()
                waiting += each.value.values()
            elif isinstance(each, yaml_reader.Sequence):
                waiting += each.value
            elif len(each.text) <= LONGEST_WORD:
                self.words.add(each.text)


def place_of(node: Node) -> Place:
    return node.path, node.line, node.column


def salvaged(root: yaml_reader.Mapping, errors: Iterable[Any], executors: Collection[str], wreck: Wreck) -> Node:
    """The tree without what the errors of a validation point at; the same tree when nothing can be done."""
    edits: dict[Loc, Node | None] = {}
    errors = list(errors)
    for error in errors:
        if error["type"] == "too_short" and any(_is_inside(other["loc"], error["loc"]) for other in errors):
            continue  # it is only because of what is wrong with its items
        loc: Loc = tuple(part for part in error["loc"] if part != "[key]")
        missing = error["type"] == "missing"
        way = _written(root, loc[:-1] if missing else _way_out(root, loc, error, executors), executors)
        holder = find_node(root, way, ()).node
        if missing and isinstance(holder, yaml_reader.Mapping) and (filling := _filling(holder, str(loc[-1]))):
            edits[(*way, loc[-1])] = filling
        elif way == ("symptoms",):
            edits[way] = yaml_reader.Sequence(*place_of(holder), (stand_in(holder, symptom=True),))
        elif way:
            edits[way] = None
    return _edited(root, (), _Edits(edits), wreck) if edits else root


def stand_in(at: Node, *, symptom: bool) -> yaml_reader.Mapping:
    """A step that asks nobody anything, in the place of one that cannot be understood."""
    name = f"unnamed_{at.line}_{at.column}"
    ask = _mapping(at, {"question": _scalar(at, "…"), "fact": _scalar(at, name)})
    present = {"present": _scalar(at, "true")} if symptom else {}
    return _mapping(at, {"id": _scalar(at, name.replace("_", "-")), "ask": ask, **present})


def _is_inside(inner: Loc, outer: Loc) -> bool:
    return len(inner) > len(outer) and inner[: len(outer)] == outer


def _way_out(root: Node, loc: Loc, error: Any, executors: Collection[str]) -> Loc:
    """What has to go. Of a step that asks two executors only the second."""
    node = find_node(root, loc, executors).node
    if error["type"] == "value_error" and isinstance(node, yaml_reader.Mapping):
        asked = [key for key in node.value if key in executors]
        if len(asked) > 1:
            return (*loc, asked[-1])
    return loc


def _written(root: Node, loc: Loc, executors: Collection[str]) -> Loc:
    """The way as it is written, as far as it goes: `request` is the executor's own key."""
    way: Loc = ()
    for part in loc:
        node = find_node(root, way, ()).node
        name = str(part) if isinstance(node, yaml_reader.Mapping) else part
        if name == "request" and isinstance(node, yaml_reader.Mapping) and name not in node.value:
            name = executor_key(node, executors) or name
        if not find_node(root, (*way, name), ()).complete:
            break
        way = (*way, name)
    return way


def _filling(holder: yaml_reader.Mapping, key: str) -> Node | None:
    if key == "symptoms":
        return yaml_reader.Sequence(*place_of(holder), (stand_in(holder, symptom=True),))
    if key in ("id", "fact"):
        name = f"unnamed_{holder.line}_{holder.column}"
        # Without a text, so that nobody is told of a name that stands nowhere in the file.
        return replace(_scalar(holder, name if key == "fact" else name.replace("_", "-")), text="")
    return _scalar(holder, _FILLINGS[key]) if key in _FILLINGS else None


class _Edits:
    """What is taken out (nothing) or filled in at which place, found by place: a file may have thousands of them."""

    def __init__(self, edits: Mapping[Loc, Node | None]) -> None:
        self.gone = edits.keys()
        self.leading = {loc[:index] for loc in edits for index in range(len(loc))}
        self.fillings: dict[Loc, list[tuple[str, Node]]] = {}
        for loc, filling in edits.items():
            if filling is not None:
                self.fillings.setdefault(loc[:-1], []).append((str(loc[-1]), filling))


def _edited(node: Node, loc: Loc, edits: _Edits, wreck: Wreck) -> Node:
    if loc not in edits.leading:
        return node
    if isinstance(node, yaml_reader.Sequence):
        kept = [
            _edited(item, (*loc, index), edits, wreck)
            for index, item in enumerate(node.value)
            if not _lost(node, item, (*loc, index), edits, wreck)
        ]
        return replace(node, value=tuple(kept))
    if not isinstance(node, yaml_reader.Mapping):
        return node
    value = {
        key: _edited(item, (*loc, key), edits, wreck)
        for key, item in node.value.items()
        if not _lost(node, item, (*loc, key), edits, wreck)
    }
    keys = {key: node.keys[key] for key in value}
    for name, filling in edits.fillings.get(loc, ()):
        wreck.maimed.add(place_of(node))
        value[name], keys[name] = filling, Scalar(*place_of(node), name, name)
    return replace(node, value=value, keys=keys)


def _lost(holder: Node, item: Node, loc: Loc, edits: _Edits, wreck: Wreck) -> bool:
    if loc not in edits.gone:
        return False
    wreck.maimed.add(place_of(holder))
    wreck.words.add(str(loc[-1]))
    wreck.lose(item)
    return True


def _scalar(at: Node, value: Json) -> Scalar:
    return Scalar(*place_of(at), value, str(value))


def _mapping(at: Node, value: dict[str, Node]) -> yaml_reader.Mapping:
    return yaml_reader.Mapping(*place_of(at), value, {key: _scalar(at, key) for key in value})
