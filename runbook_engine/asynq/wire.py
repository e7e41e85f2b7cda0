"""Reads and writes the three protobuf messages that asynq keeps in Redis, for the inspector and for a pretended worker.

Pure, and made for hostile bytes: work is linear in their length, and nothing but `WireError` is ever raised.
It must never interpret a payload: that is the user's data.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


class WireError(ValueError):
    """The bytes are not the message they should be, or a value does not fit on the wire."""


@dataclass(frozen=True, slots=True)
class TaskMessage:
    """One job as enqueued. `retry` is the most retries allowed; `timeout`, `retention`: seconds; others unix times."""

    type: str = ""
    payload: bytes = b""
    id: str = ""
    queue: str = ""
    retry: int = 0
    retried: int = 0
    error_msg: str = ""
    timeout: int = 0
    deadline: int = 0
    unique_key: str = ""
    last_failed_at: int = 0
    retention: int = 0
    completed_at: int = 0
    group_key: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """One worker process: how many jobs it runs at once, which queues with which weight. `start` is unix seconds."""

    host: str = ""
    pid: int = 0
    server_id: str = ""
    concurrency: int = 0
    queues: Mapping[str, int] = field(default_factory=dict)
    strict_priority: bool = False
    status: str = ""
    start: float = 0.0
    active_worker_count: int = 0


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One job that a worker process says it is running. `start` and `deadline` are unix seconds."""

    host: str = ""
    pid: int = 0
    server_id: str = ""
    task_id: str = ""
    task_type: str = ""
    task_payload: bytes = b""
    queue: str = ""
    start: float = 0.0
    deadline: float = 0.0


_Layout = Mapping[int, tuple[str, str]]  # field number → attribute, kind

_TASK: _Layout = {
    1: ("type", "text"),
    2: ("payload", "bytes"),
    3: ("id", "text"),
    4: ("queue", "text"),
    5: ("retry", "int32"),
    6: ("retried", "int32"),
    7: ("error_msg", "text"),
    8: ("timeout", "int64"),
    9: ("deadline", "int64"),
    10: ("unique_key", "text"),
    11: ("last_failed_at", "int64"),
    12: ("retention", "int64"),
    13: ("completed_at", "int64"),
    14: ("group_key", "text"),
    15: ("headers", "texts"),
}
_SERVER: _Layout = {
    1: ("host", "text"),
    2: ("pid", "int32"),
    3: ("server_id", "text"),
    4: ("concurrency", "int32"),
    5: ("queues", "weights"),
    6: ("strict_priority", "bool"),
    7: ("status", "text"),
    8: ("start", "time"),
    9: ("active_worker_count", "int32"),
}
_WORKER: _Layout = {
    1: ("host", "text"),
    2: ("pid", "int32"),
    3: ("server_id", "text"),
    4: ("task_id", "text"),
    5: ("task_type", "text"),
    6: ("task_payload", "bytes"),
    7: ("queue", "text"),
    8: ("start", "time"),
    9: ("deadline", "time"),
}
_TEXT_ENTRY: _Layout = {1: ("key", "text"), 2: ("value", "text")}
_WEIGHT_ENTRY: _Layout = {1: ("key", "text"), 2: ("value", "int32")}
_TIMESTAMP: _Layout = {1: ("seconds", "int64"), 2: ("nanos", "int32")}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VARINT_KINDS = frozenset({"int32", "int64", "bool"})


def decode_task_message(raw: bytes) -> TaskMessage:
    return TaskMessage(**_decode(raw, _TASK))


def decode_server_info(raw: bytes) -> ServerInfo:
    return ServerInfo(**_decode(raw, _SERVER))


def decode_worker_info(raw: bytes) -> WorkerInfo:
    return WorkerInfo(**_decode(raw, _WORKER))


def encode_task_message(message: TaskMessage) -> bytes:
    return _encode({name: getattr(message, name) for name, _ in _TASK.values()}, _TASK)


def encode_server_info(info: ServerInfo) -> bytes:
    return _encode({name: getattr(info, name) for name, _ in _SERVER.values()}, _SERVER)


def encode_worker_info(info: WorkerInfo) -> bytes:
    return _encode({name: getattr(info, name) for name, _ in _WORKER.values()}, _WORKER)


def _decode(raw: bytes, layout: _Layout) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for number, wire, value in _fields(raw):
        name, kind = layout.get(number, ("", ""))
        if not name:
            continue  # a newer asynq may have added a field
        if wire != (_VARINT if kind in _VARINT_KINDS else _BYTES):
            raise WireError(f"field {number} ({name}) has wire type {wire}, which its kind {kind} cannot have")
        if kind in _MAPS:
            values.setdefault(name, {}).update(_entry(value, _MAPS[kind]))
        else:
            values[name] = _READ[kind](value)
    return values


def _fields(raw: bytes) -> Iterator[tuple[int, int, Any]]:
    at = 0
    while at < len(raw):
        key, at = _varint(raw, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise WireError(f"field number 0 before byte {at}")
        if wire == _VARINT:
            value, at = _varint(raw, at)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, at = _varint(raw, at)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise WireError(f"wire type {wire} before byte {at}; asynq writes 0, 1, 2 and 5")
        if size > len(raw) - at:
            raise WireError(f"field {number} wants {size} bytes at byte {at}, {len(raw) - at} are left")
        yield number, wire, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = 0
    for index in range(10):
        if at + index >= len(raw):
            raise WireError(f"the bytes end inside the number at byte {at}")
        byte = raw[at + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
    raise WireError(f"the number at byte {at} is longer than 10 bytes")


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise WireError(f"a text is not UTF-8: {fault.reason} at its byte {fault.start}") from fault


def _time(value: bytes) -> float:
    stamp = _decode(value, _TIMESTAMP)
    seconds, nanos = stamp.get("seconds", 0), stamp.get("nanos", 0)
    return float(seconds + nanos / 1e9)


def _entry(value: bytes, layout: _Layout) -> dict[str, Any]:
    entry = _decode(value, layout)
    return {entry.get("key", ""): entry.get("value", 0 if layout is _WEIGHT_ENTRY else "")}


_MAPS: Mapping[str, _Layout] = {"texts": _TEXT_ENTRY, "weights": _WEIGHT_ENTRY}
_READ: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "bytes": bytes,
    "int32": lambda value: _signed(value, 32),
    "int64": lambda value: _signed(value, 64),
    "bool": bool,
    "time": _time,
}


def _encode(values: Mapping[str, Any], layout: _Layout) -> bytes:
    out = bytearray()
    for number, (name, kind) in layout.items():
        value = values[name]
        if kind in _MAPS:
            for key, entry in value.items():
                out += _prefixed(number, _encode({"key": key, "value": entry}, _MAPS[kind]))
        elif value:  # proto3: zero is written as absence
            out += _encode_field(number, name, kind, value)
    return bytes(out)


def _encode_field(number: int, name: str, kind: str, value: Any) -> bytes:
    if kind in _VARINT_KINDS:
        bits = 32 if kind == "int32" else 64
        if not -(1 << (bits - 1)) <= int(value) < 1 << (bits - 1):
            raise WireError(f"{name} is {value}, which does not fit into {bits} bits")
        return _encode_varint(number << 3 | _VARINT) + _encode_varint(int(value) & 0xFFFF_FFFF_FFFF_FFFF)
    if kind == "time":
        return _prefixed(number, _encode_time(name, value))
    if kind == "bytes":
        return _prefixed(number, bytes(value))
    try:
        return _prefixed(number, value.encode("utf-8"))
    except UnicodeEncodeError as fault:
        raise WireError(f"{name} is not text that UTF-8 can hold: {fault.reason}") from fault


def _encode_time(name: str, value: float) -> bytes:
    if not math.isfinite(value):
        raise WireError(f"{name} is {value}, which is not a time")
    seconds = math.floor(value)
    nanos = round((value - seconds) * 1e9)
    if nanos == 1_000_000_000:
        seconds, nanos = seconds + 1, 0
    return _encode({"seconds": seconds, "nanos": nanos}, _TIMESTAMP)


def _prefixed(number: int, content: bytes) -> bytes:
    return _encode_varint(number << 3 | _BYTES) + _encode_varint(len(content)) + content


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
