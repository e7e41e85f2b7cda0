"""What many lines of a log say together: rates, percentiles, routes, fingerprints of errors, statements that were slow.

Pure. It must never keep more than a bounded part of what flows through it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..error_classes import CLASSES, classes_of
from ..executor import Json
from .lines import BAD, Line, error_fingerprint, kept, likeness, read_line, route_of, statement
from .patterns import Wanted

SHOWN = 20
MOST_KINDS = 2000
"""Of routes, fingerprints or statements that are told apart; what comes after is only counted."""
_FIRST_STAMP_WITHIN = 200  # lines


@dataclass(frozen=True, slots=True)
class Window:
    """Unix times: what is older than `since` is left aside, what is not older than `recent` is counted twice."""

    now: float
    since: float
    recent: float


@dataclass(slots=True)
class Requests:
    """Requests of the whole window, of its recent part, or of one route."""

    count: int = 0
    n5xx: int = 0
    n4xx: int = 0
    n429: int = 0
    errors: int = 0
    ms: array[float] = field(default_factory=lambda: array("d"))
    sizes: array[float] = field(default_factory=lambda: array("d"))

    def add(self, line: Line) -> None:
        status = line.status or 0
        self.count += 1
        if status >= 400:
            self.n5xx += status >= 500
            self.n4xx += status < 500
            self.n429 += status == 429
        if line.ms is not None:
            self.ms.append(line.ms)


@dataclass(slots=True)
class Errors:
    """Errors of one fingerprint."""

    classes: frozenset[str]
    count: int = 0
    first: float | None = None
    last: float | None = None
    level: str = ""


class Tally:
    """Takes one line after the other, oldest first, and says what they were."""

    def __init__(self, window: Window, patterns: Mapping[str, Wanted]) -> None:
        self.window = window
        self.patterns = patterns
        self.lines = self.bytes = self.sql_bytes = self.panics = 0
        self.first_at: float | None = None
        self.last_at: float | None = None
        self.requests, self.recent = Requests(), Requests()
        self.routes: dict[tuple[str, str], Requests] = {}
        self.errors: dict[str, Errors] = {}
        self.classes: Counter[str] = Counter()
        self.statements: dict[str, tuple[float, int]] = {}
        self.fatal: str | None = None
        self._at: float | None = None
        self._in_trace = self._slow_follows = False
        self._route_of: dict[str, str] = {}
        self._kind_of: dict[tuple[str, ...], tuple[str, frozenset[str]]] = {}

    def read(self, lines: list[str]) -> None:
        """The lines of one stream. One without a time of its own is as old as the one before it."""
        self._at = next((line.at for line in map(read_line, lines[:_FIRST_STAMP_WITHIN]) if line.at is not None), None)
        self._in_trace = self._slow_follows = False
        for raw in lines:
            self._add(raw)

    def _add(self, raw: str) -> None:
        line = read_line(raw)
        if line.at is not None:
            self._at = min(line.at, self.window.now)
        at = self._at
        if at is not None and at < self.window.since:
            return
        self.lines += 1
        self.bytes += len(raw) + 1
        if at is not None:
            self.first_at = at if self.first_at is None else min(at, self.first_at)
            self.last_at = at if self.last_at is None else max(at, self.last_at)
        if self.patterns:
            self._look_for(raw, line, at)
        if line.status is not None:
            self._add_request(line, at)
        if line.sql or line.slow:
            self._add_statement(raw, line)
        if line.level in BAD or (line.plain and not line.sql):
            self._add_error(line, at)

    def _look_for(self, raw: str, line: Line, at: float | None) -> None:
        lowered = raw.lower()
        for each in self.patterns.values():
            if each.found_in(raw, lowered):
                each.count += 1
                each.last_at = at if each.last_at is None or at is None else max(at, each.last_at)
                each.last = kept(line.message or raw)

    def _add_request(self, line: Line, at: float | None) -> None:
        self.requests.add(line)
        if at is not None and at >= self.window.recent:
            self.recent.add(line)
        if not line.path:
            return
        key = (self._route(line.path), line.method)
        route = self.routes.get(key)
        if route is None:
            # Whoever tries paths that do not exist must not push out those that do.
            if line.status == 404 or len(self.routes) >= MOST_KINDS:
                return
            route = self.routes[key] = Requests()
        route.add(line)
        if line.size is not None:
            route.sizes.append(line.size)

    def _route(self, path: str) -> str:
        found = self._route_of.get(path)
        if found is None:
            found = route_of(path)
            if len(self._route_of) < MOST_KINDS:
                self._route_of[path] = found
        return found

    def _add_statement(self, raw: str, line: Line) -> None:
        """gorm names a slow statement in the line before it; others write both in one."""
        if line.sql is None:
            self._slow_follows = True
            return
        self.sql_bytes += len(raw) + 1
        slow, self._slow_follows = line.slow or self._slow_follows, False
        if not slow:
            return
        text = statement(line.sql[1])
        if text in self.statements or len(self.statements) < MOST_KINDS:
            longest, count = self.statements.get(text, (0.0, 0))
            self.statements[text] = max(longest, line.sql[0]), count + 1

    def _add_error(self, line: Line, at: float | None) -> None:
        if line.plain and (self._is_trace(line) or (line.level not in BAD and not classes_of(line.message))):
            return
        text, classes = self._kind(line.message)
        self.requests.errors += 1
        self.recent.errors += at is not None and at >= self.window.recent
        self.classes.update(classes)
        # A recovered panic is written as an error of another level.
        self.panics += line.level == "panic" or "panic recovered" in line.message
        if line.level in ("fatal", "panic"):
            self.fatal = kept(line.message)
        kind = self.errors.get(text)
        if kind is None:
            if len(self.errors) >= MOST_KINDS:
                return
            kind = self.errors[text] = Errors(classes, first=at)
        kind.count, kind.last, kind.level = kind.count + 1, at, line.level

    def _kind(self, message: str) -> tuple[str, frozenset[str]]:
        """Fingerprint and classes; what fails a thousand times a minute is told apart once."""
        alike = likeness(message)
        kind = self._kind_of.get(alike)
        if kind is None:
            kind = error_fingerprint(message), classes_of(message)
            if len(self._kind_of) < MOST_KINDS:
                self._kind_of[alike] = kind
        return kind

    def _is_trace(self, line: Line) -> bool:
        """A stack of Go names every package it went through, and none of these is an error."""
        if line.message.startswith("goroutine ") and line.message.endswith("]:"):
            self._in_trace = True
        elif self._in_trace and not line.message.strip():
            self._in_trace = False
        return self._in_trace or line.message.startswith(("\t", "[signal ", "created by "))

    def answer(self) -> dict[str, Json]:
        """The names of `ANSWERS` that the lines decide."""
        errors = self.requests.errors
        span = self.window.now - max(self.first_at or self.window.since, self.window.since)
        return {
            "lines": self.lines,
            "bytes": self.bytes,
            "last_age_s": _age(self.last_at, self.window.now),
            "first_at": iso(self.first_at),
            "last_at": iso(self.last_at),
            **_rates(self.requests),
            "p50_ms": percentile(self.requests.ms, 0.5),
            "p99_ms": percentile(self.requests.ms, 0.99),
            "n4xx": self.requests.n4xx,
            "n429": self.requests.n429,
            "routes": _routes(self.routes),
            "fingerprints": _fingerprints(self.errors, errors),
            "class_share": class_shares(self.classes, errors),
            "slow_sql": _slowest(self.statements),
            "sql_bytes_share": self.sql_bytes / self.bytes if self.bytes else None,
            "bytes_per_s": self.bytes / max(span, 1.0),
            "panics": self.panics,
            "fatal": self.fatal,
            "recent": self._recent(),
            "found": {name: _found(each, self.window.now) for name, each in self.patterns.items()},
        }

    def _recent(self) -> dict[str, Json]:
        """Of lines without any time nobody can say which are recent."""
        rates = _rates(self.recent)
        if self.lines and self.last_at is None:
            rates = dict.fromkeys(rates)
        return {**rates, "seconds": self.window.now - self.window.recent}


def iso(at: float | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def percentile(values: array[float], share: float) -> float | None:
    """The value that `share` of all do not exceed."""
    if not values:
        return None
    return round(sorted(values)[min(len(values) - 1, int(share * len(values)))], 3)


def class_shares(classes: Mapping[str, int], errors: int) -> dict[str, float | None]:
    """By the short names that playbooks use."""
    names = {name: "lease" if name == "lease_expired" else name for name in CLASSES}
    return {short: classes.get(name, 0) / errors if errors else None for name, short in names.items()}


def _rates(requests: Requests) -> dict[str, Json]:
    return {
        "requests": requests.count,
        "n5xx": requests.n5xx,
        "err_rate": requests.n5xx / requests.count if requests.count else None,
        "p95_ms": percentile(requests.ms, 0.95),
        "errors": requests.errors,
    }


def _age(at: float | None, now: float) -> float | None:
    return None if at is None else round(max(0.0, now - at), 3)


def _routes(routes: Mapping[tuple[str, str], Requests]) -> list[Json]:
    """The busiest, those that fail most, and those that take most of the time."""
    orders: tuple[Callable[[Requests], float], ...] = (
        lambda one: one.count,
        lambda one: one.n5xx,
        lambda one: sum(one.ms),
    )
    best: set[tuple[str, str]] = set()
    for order in orders:
        best.update(sorted(routes, key=lambda key: -order(routes[key]))[: SHOWN // len(orders)])
    return [_route(*key, routes[key]) for key in sorted(best, key=lambda key: (-routes[key].count, key))]


def _route(route: str, method: str, requests: Requests) -> Json:
    return {
        "route": route,
        "method": method,
        "count": requests.count,
        "n5xx": requests.n5xx,
        "share_5xx": requests.n5xx / requests.count,
        "p95_ms": percentile(requests.ms, 0.95),
        "bytes_p90": percentile(requests.sizes, 0.9),
    }


def _fingerprints(errors: Mapping[str, Errors], total: int) -> list[Json]:
    most = sorted(errors.items(), key=lambda item: -item[1].count)[:SHOWN]
    return [
        {
            "text": text,
            "count": each.count,
            "share": each.count / total,
            "classes": sorted("lease" if name == "lease_expired" else name for name in each.classes),
            "first": iso(each.first),
            "last": iso(each.last),
            "level": each.level or None,
        }
        for text, each in most
    ]


def _slowest(statements: Mapping[str, tuple[float, int]]) -> list[Json]:
    most = sorted(statements.items(), key=lambda item: -item[1][0])[:SHOWN]
    return [{"ms": longest, "count": count, "text": text} for text, (longest, count) in most]


def _found(each: Wanted, now: float) -> Json:
    if not each.known:
        return {"count": None, "last_age_s": None, "last": None}
    return {"count": each.count, "last_age_s": _age(each.last_at, now), "last": each.last}


def figures(streams: Iterable[list[str]], window: Window, patterns: Mapping[str, Wanted]) -> dict[str, Json]:
    """The answer for the lines of some streams, each oldest first."""
    tally = Tally(window, patterns)
    for lines in streams:
        tally.read(lines)
    return tally.answer()
