"""Plain data to YAML as a person would write it: quotes where needed, scripts as blocks, only our own comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..layout import format_text
from ..layout.scalars import WORDS_OF_YAML
from ..loading.source_text import refused_characters

Json = Any
WIDTH = 100
# Words, paths into facts and comparisons: nothing in it has a meaning to YAML, in a flow collection either.
_PLAIN = re.compile(r"[A-Za-z_](?:[A-Za-z0-9_ .()<>=|-]*[A-Za-z0-9_.)])?")
_BLOCK = re.compile(r"[^ \n][^\n]*(?:\n[^\n]*[^ \n]|\n)*\n?")


def document(data: Mapping[str, Json], comments: Mapping[str, str]) -> str:
    """The file. `comments` stand above top-level keys; `""` is the head of the file."""
    lines = [f"# {line}" for line in comments.get("", "").split("\n") if line]
    for key, value in data.items():
        above = [f"# {line}" for line in comments.get(key, "").split("\n") if line]
        if isinstance(value, list | dict):
            lines.append("")
        lines += [*above, *_entry(key, value, 0)]
    return format_text("\n".join(lines).lstrip("\n") + "\n", "the draft")


def _entry(key: str, value: Json, indent: int) -> list[str]:
    head = " " * indent + f"{_scalar(key)}:"
    if isinstance(value, str) and _is_block(value):
        body = value.removesuffix("\n").split("\n")
        mark = "|" if value.endswith("\n") else "|-"
        return [f"{head} {mark}", *(" " * (indent + 2) + line if line else "" for line in body)]
    shown = flow(value)
    if not isinstance(value, list | dict) or (not _wants_lines(value) and len(head) + len(shown) < WIDTH):
        return [f"{head} {shown}"]
    if isinstance(value, dict):
        return [head, *(line for name, each in value.items() for line in _entry(name, each, indent + 2))]
    return [head, *(line for each in value for line in _item(each, indent + 2))]


def _item(value: Json, indent: int) -> Iterator[str]:
    if isinstance(value, dict) and value:
        lines = [line for name, each in value.items() for line in _entry(name, each, indent + 2)]
        yield " " * indent + "- " + lines[0].lstrip()
        yield from lines[1:]
    else:
        yield " " * indent + "- " + flow(value)


def _wants_lines(value: Json) -> bool:
    """Steps and causes, and what holds a script, stand on lines of their own."""
    if isinstance(value, dict):
        return any(
            (isinstance(each, dict) and each) or (isinstance(each, str) and _is_block(each)) for each in value.values()
        )
    return any(isinstance(each, dict) and ("id" in each or "name" in each or _wants_lines(each)) for each in value)


def flow(value: Json) -> str:
    """On one line, as it may stand in a flow collection."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(name)}: {flow(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Json) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in WORDS_OF_YAML:
        return value
    return refused_characters(json.dumps(value, ensure_ascii=False))


def _is_block(value: str) -> bool:
    """A text of several lines that a literal block gives back as it is."""
    return "\n" in value.rstrip("\n") and _BLOCK.fullmatch(value) is not None and refused_characters(value) == value
