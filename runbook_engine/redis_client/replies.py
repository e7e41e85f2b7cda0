"""Turns the replies of Redis into the JSON that a playbook reads: INFO is a table of numbers, not a text.

Pure. It must never fail on a reply: what has no known shape stays the list or text that it is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..executor import Json
from .wire import Reply, ServerError

_INTEGER = re.compile(r"-?(0|[1-9]\d{0,17})")
_DECIMAL = re.compile(r"-?\d{1,17}(\.\d{1,17})?(e[+-]?\d{1,3})?")


def text_of(raw: bytes) -> Json:
    """Text when it is UTF-8, else its base64, so that nothing is lost."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def json_of(command: Sequence[Any], reply: Reply) -> Json:
    """The reply to `command` as plain JSON."""
    plain = _plain(reply)
    if isinstance(reply, ServerError) or plain is None:
        return plain
    shape = _shape_for(command)
    try:
        return shape(plain) if shape else plain
    except (ValueError, TypeError, IndexError, AttributeError):
        return plain  # another version of the server replies in another shape


def info_table(text: str) -> dict[str, Json]:
    """INFO as one flat table; a line such as `db0:keys=1,expires=0` becomes a table in it."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(":") for line in lines if line and not line.startswith("#"))
    return {name: _info_value(value) for name, _, value in pairs}


def number_or_text(text: Json) -> Json:
    if isinstance(text, str) and _INTEGER.fullmatch(text):
        return int(text)
    if isinstance(text, str) and _DECIMAL.fullmatch(text):
        return float(text)
    return text


def _plain(reply: Reply) -> Json:
    match reply:
        case ServerError():
            return {"error": {"code": reply.word, "message": reply.message}}
        case bytes():
            return text_of(reply)
        case list():
            return [_plain(item) for item in reply]
        case _:
            return reply


def _info_value(value: str) -> Json:
    if "=" not in value or "://" in value:
        return number_or_text(value)
    fields = (part.partition("=") for part in value.split(","))
    return {name: number_or_text(inner) for name, _, inner in fields}


def _shape_for(command: Sequence[Any]) -> Callable[[Any], Json] | None:
    name = str(command[0]).upper()
    word = str(command[1]).upper() if len(command) > 1 else ""
    if name.startswith("Z") and any(str(part).upper() == "WITHSCORES" for part in command[1:]):
        return _members_with_scores
    return _SHAPES.get(f"{name} {word}") or _SHAPES.get(name)


def _table(flat: list[Any]) -> dict[str, Json]:
    if len(flat) % 2:
        raise ValueError("a table has pairs")
    return {_name(key): value for key, value in zip(flat[::2], flat[1::2], strict=True)}


def _name(key: Json) -> str:
    return key if isinstance(key, str) else str(key["base64"])


def _numbers_table(flat: list[Any]) -> dict[str, Json]:
    return {name: number_or_text(value) for name, value in _table(flat).items()}


def _deep_table(flat: list[Any]) -> dict[str, Json]:
    return {
        name: _numbers_table(value) if isinstance(value, list) else number_or_text(value)
        for name, value in _table(flat).items()
    }


def _clients(text: str) -> list[Json]:
    lines = (line.split(" ") for line in text.splitlines() if line)
    return [
        {name: number_or_text(value) for name, _, value in (part.partition("=") for part in line)} for line in lines
    ]


def _members_with_scores(flat: list[Any]) -> list[Json]:
    return [[member, number_or_text(score)] for member, score in zip(flat[::2], flat[1::2], strict=True)]


def _slow_entry(entry: list[Any]) -> Json:
    names = ("id", "at", "microseconds", "command", "client", "client_name")
    return dict(zip(names, entry, strict=False))


def _latency_entry(entry: list[Any]) -> Json:
    return dict(zip(("event", "at", "latest_ms", "max_ms"), entry, strict=False))


def _stream_entry(entry: list[Any]) -> Json:
    return [entry[0], _table(entry[1])]


def _pending_summary(reply: list[Any]) -> Json:
    if len(reply) != 4 or not isinstance(reply[0], int):
        return reply
    consumers = {_name(name): number_or_text(count) for name, count in reply[3] or []}
    return {"pending": reply[0], "first": reply[1], "last": reply[2], "consumers": consumers}


_SHAPES: Mapping[str, Callable[[Any], Json]] = {
    "INFO": info_table,
    "CONFIG GET": _numbers_table,
    "HGETALL": _table,
    "CLIENT LIST": _clients,
    "CLIENT INFO": lambda text: _clients(text)[0],
    "MEMORY STATS": _deep_table,
    "SLOWLOG GET": lambda entries: [_slow_entry(entry) for entry in entries],
    "LATENCY LATEST": lambda entries: [_latency_entry(entry) for entry in entries],
    "XINFO STREAM": _table,
    "XINFO GROUPS": lambda rows: [_table(row) for row in rows],
    "XINFO CONSUMERS": lambda rows: [_table(row) for row in rows],
    "XRANGE": lambda entries: [_stream_entry(entry) for entry in entries],
    "XREVRANGE": lambda entries: [_stream_entry(entry) for entry in entries],
    "XPENDING": _pending_summary,
    "ZSCORE": number_or_text,
    "TIME": lambda pair: int(pair[0]) + int(pair[1]) / 1e6,
}
