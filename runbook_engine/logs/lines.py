"""Reads one line of a log: a request, a statement, an error, or words.

Pure. It must never fail, whatever stands in the line, and never take more than linear time.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from ..error_classes import LONGEST, fingerprint
from ..executor import Json

KEPT = 300  # characters of any text that is kept
BAD = frozenset({"error", "fatal", "panic"})
_LEVELS = {"err": "error", "crit": "fatal", "critical": "fatal", "alert": "fatal", "emerg": "fatal", "warning": "warn"}
_LARGEST = 10**30
_LAST_SECOND = 4e9  # of unix time; beyond it somebody meant something else

_ANSI = re.compile(r"\x1b\[[0-9;?]{0,32}[A-Za-z]")
_SOURCE = re.compile(r"\[pod/[^\]\s]{1,300}\] |[\w.-]{1,80} {0,20}\| ")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)) ?")
_UNIX_STAMP = re.compile(r"(\d{9,10}\.\d{6}) \S{1,255} [^\s:\[]{1,255}(?:\[\d{1,10}\])?: ?")
_ZONED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{1,6})?) (?:UTC|GMT)\b")
_PLAIN_LEVEL = re.compile(r"(?:^|\s)(ERROR|FATAL|PANIC):")
_SQL = re.compile(r"\[(\d{1,12}(?:\.\d{1,9})?)ms\] ?\[rows:[\d-]{1,20}\] ?(?:SLOW SQL >= ?\S{1,20} )?")
_SLOW = "SLOW SQL >="
_QUOTED = re.compile(r'"[^"]*"|`[^`]*`')
_LITERAL = re.compile(r"'[^']*'|(?<![\w$.])\d+(?:\.\d+)?")
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_ID = re.compile(rf"(?<=/)(?:\d+|{_UUID}|(?=[a-fA-F]{{0,300}}\d)[0-9a-fA-F]{{12,}})(?=/|$)")
_MACHINE_MADE = re.compile(rf"{_UUID}|\b[0-9a-f]{{12,}}\b")
_WITHOUT_DIGITS = {ord(digit): None for digit in "0123456789"}
_TELLING_NUMBERS = ("429", "401", "403", "5432", "6379", "status code: 5")
_parse = json.JSONDecoder().raw_decode


class Line(NamedTuple):
    """What a line says; None and empty where it does not. `message` is there for errors and plain lines."""

    at: float | None = None
    level: str = ""
    message: str = ""
    plain: bool = True
    status: int | None = None
    ms: float | None = None
    method: str = ""
    path: str = ""
    size: float | None = None
    sql: tuple[float, str] | None = None
    slow: bool = False


def read_line(raw: str) -> Line:
    """A line as it was printed, without its end. A platform's own time counts where the line has none."""
    text = _ANSI.sub("", raw) if "\x1b" in raw else raw
    if text[:1] == "{":
        return _structured(text, None)
    stamped, text = _without_source(text)
    return _structured(text, stamped) if text[:1] == "{" else _plain(text, stamped)


def kept(text: str) -> str:
    """Its beginning, without what no JSON and no terminal could carry."""
    short = text[:KEPT].replace("\0", "")
    return short if short.isascii() else short.encode("utf-8", "replace").decode()


def likeness(text: str) -> tuple[str, ...]:
    """Equal for texts that have one fingerprint and the same classes, and much quicker to make than these."""
    bare = _MACHINE_MADE.sub("", text[:LONGEST]).translate(_WITHOUT_DIGITS)
    return (bare, *(number for number in _TELLING_NUMBERS if number in text))


def error_fingerprint(text: str) -> str:
    """The text without ids, numbers and quoted strings, which differ from case to case."""
    return kept(fingerprint(_QUOTED.sub("<str>", text[:LONGEST]), KEPT))


def statement(sql: str) -> str:
    """A statement without its literals, which may be anybody's data."""
    return kept(" ".join(_LITERAL.sub("?", sql[:LONGEST]).split()))


def route_of(path: str) -> str:
    """The path without what tells one record from another."""
    bare = path[:KEPT].split("?", 1)[0].split("#", 1)[0]
    return kept(_ID.sub(":id", bare))


def moment(value: Json) -> float | None:
    """Unix seconds of an ISO text or of a number of seconds, milli-, micro- or nanoseconds."""
    if isinstance(value, str):
        return _iso(value)
    number = _number(value)
    for unit in (1.0, 1e3, 1e6, 1e9):
        if number is not None and 0 < number / unit < _LAST_SECOND:
            return number / unit
    return None


def _iso(text: str) -> float | None:
    try:
        at = datetime.fromisoformat(text[:40])
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return moment(_number(text)) if text[:1].isdecimal() and "-" not in text else None


def _number(value: Json) -> float | None:
    kind = type(value)  # of hundreds of thousands of values: no bool, and nothing that float() could fail on
    if kind is int and -_LARGEST < value < _LARGEST:
        return float(value)
    if kind is str:
        try:
            value, kind = float(value[:40]), float
        except ValueError:
            return None
    return value if kind is float and math.isfinite(value) else None


def _without_source(text: str) -> tuple[float | None, str]:
    """Platforms put a name, a time, or both before what the program said."""
    stamped = None
    if (text[:1] == "[" or "|" in text[:110]) and (found := _SOURCE.match(text)):
        text = text[found.end() :]
    if not text[:1].isdecimal():
        return None, text
    if found := _STAMP.match(text):
        stamped, text = _iso(found[1]), text[found.end() :]
    elif found := _UNIX_STAMP.match(text):
        stamped, text = float(found[1]), text[found.end() :]
    return stamped, text


def _structured(text: str, stamped: float | None) -> Line:
    try:
        document, end = _parse(text)
    except (ValueError, RecursionError):
        return _plain(text, stamped)
    if end < len(text) and text[end:].strip():
        return _plain(text, stamped)
    at = moment(document.get("time") or document.get("ts") or document.get("timestamp"))
    level = str(document.get("level") or "").lower()[:20]
    level = _LEVELS.get(level, level)
    sql = _sql(str(document.get("message") or "")) if "[rows:" in text else None
    status, ms = _status(document.get("status")), _number(document.get("duration", document.get("duration_ms")))
    path = document.get("route") or document.get("path") or ""
    return Line(
        stamped if at is None else at,
        level,
        _said(document) if level in BAD or sql else "",
        False,
        status if path or ms is not None else None,
        None if ms is None or ms < 0 else ms,
        str(document.get("method") or "")[:10],
        path if isinstance(path, str) else "",
        _number(document.get("bytes")),
        sql,
        _SLOW in text,
    )


def _status(value: Json) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 100 <= number < 600 and number == int(number) else None


def _said(document: Mapping[str, Json]) -> str:
    parts = (document.get("message") or document.get("msg"), document.get("error") or document.get("err"))
    return ": ".join(str(part)[:LONGEST] for part in parts if part)


def _plain(text: str, stamped: float | None) -> Line:
    head = text[:LONGEST]
    sql = _sql(head) if "[rows:" in head else None
    zoned = _ZONED.match(head) if head[:1].isdecimal() else None
    at = stamped if zoned is None else _iso(zoned[1])
    level = "panic" if head.startswith("panic: ") else "fatal" if head.startswith("fatal error: ") else ""
    if not level and ":" in head and (found := _PLAIN_LEVEL.search(head)):
        level = found[1].lower()
    return Line(at, "" if sql else level, head, sql=sql, slow=_SLOW in head)


def _sql(text: str) -> tuple[float, str] | None:
    found = _SQL.search(text[:LONGEST])
    return (float(found[1]), text[found.end() : LONGEST]) if found else None
