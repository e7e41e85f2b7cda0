"""From a place in the model (`("symptoms", 0, "request")`) to the place in the file. It judges nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from .yaml_reader import Mapping, Node, Scalar, Sequence

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """The deepest node on the way, the key it stands under, and whether the whole way could be gone."""

    node: Node
    key: Scalar | None
    complete: bool


def find_node(root: Node, loc: Loc, executors: Collection[str]) -> Found:
    """Follow `loc`. The model says `request` where the author wrote the executor's name."""
    node, key = root, None
    for part in loc:
        step = _child(node, part, executors)
        if step is None:
            return Found(node, key, False)
        node, key = step
    return Found(node, key, True)


def executor_key(node: Node, executors: Collection[str]) -> str | None:
    """The key of a step that names its executor."""
    if not isinstance(node, Mapping):
        return None
    found = node.value.keys() & set(executors)  # asked for each of thousands of complaints: never look at all keys
    return next((key for key in node.value if key in found), None) if found else None


def text_at(root: Node, loc: Loc) -> str | None:
    """The text that stands at a place, where one does."""
    found = find_node(root, loc, ())
    is_text = found.complete and isinstance(found.node, Scalar) and isinstance(found.node.value, str)
    return found.node.text if is_text and isinstance(found.node, Scalar) else None


def describe(root: Node, loc: Loc, executors: Collection[str] = ()) -> str:
    """The place in words: step 'blockers', the undo of action 'unpause', `limit` of action 'unpause'."""
    loc = tuple(
        _written_key(root, loc[:index], executors) if part == "request" else part for index, part in enumerate(loc)
    )
    noun = {"symptoms": "step", "diagnosis": "step", "causes": "cause", "resolution": "action"}
    if len(loc) >= 2 and loc[0] in noun and isinstance(loc[1], int):
        name = text_at(root, (*loc[:2], "id"))
        thing = f"{noun[str(loc[0])]} {name!r}" if name else f"{noun[str(loc[0])]} {loc[1] + 1} of {loc[0]}"
        inner = [str(part) for part in loc[2:] if isinstance(part, str)]
    elif len(loc) >= 2 and loc[0] in ("inputs", "targets", "probes"):
        thing, inner = f"{str(loc[0])[:-1]} {str(loc[1])!r}", [str(part) for part in loc[2:] if isinstance(part, str)]
    else:
        kind = executor_key(root, ("library", "cases", "environments", "policy")) or "playbook"
        thing, inner = f"the {kind}", [str(part) for part in loc if isinstance(part, str)]
    return f"{'.'.join(inner)!r} of {thing}" if inner else thing


def _written_key(root: Node, loc: Loc, executors: Collection[str]) -> str:
    return executor_key(find_node(root, loc, executors).node, executors) or "request"


def _child(node: Node, part: str | int, executors: Collection[str]) -> tuple[Node, Scalar | None] | None:
    if isinstance(node, Mapping):
        name = str(part)
        if name == "request" and name not in node.value:
            name = executor_key(node, executors) or name
        return (node.value[name], node.keys[name]) if name in node.value else None
    if isinstance(node, Sequence) and isinstance(part, int) and part < len(node.value):
        return node.value[part], None
    return None
