"""`logs:` what a service's log says of the last minutes: rates, percentiles, errors by fingerprint and class.

Through the mapping that the environment gives the service, or the file that it names. It must never change anything,
follow a log, or keep more of it than its answer says.
"""

from __future__ import annotations

import hashlib
import json
import math
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from runbook_engine.commands.output import last_line, lines_of
from runbook_engine.commands.processes import Cancellation, Finished, inherited_environment, run
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Identity, Json, Target
from runbook_engine.logs import files
from runbook_engine.logs.figures import Window, figures
from runbook_engine.logs.patterns import Wanted, wanted
from runbook_engine.services import mappings
from runbook_engine.units import format_duration, parse_duration

KINDS = frozenset({"service"})
ANSWERS: Mapping[str, str] = {
    "lines": "lines of the window",
    "bytes": "their length",
    "truncated": "older lines of the window were left out, beyond 50 MB or 200 000 lines",
    "last_age_s": "seconds since the newest line, null when no line tells its time",
    "first_at": "time of the oldest line",
    "last_at": "time of the newest line",
    "requests": "lines that tell of a request",
    "n5xx": "requests that ended with 500 or more",
    "n4xx": "requests that ended with 400 to 499",
    "n429": "requests that were told to come later",
    "err_rate": "n5xx / requests, null without requests",
    "p50_ms": "median duration of requests",
    "p95_ms": "duration that 95 % of requests do not exceed",
    "p99_ms": "duration that 99 % of requests do not exceed",
    "routes": "route method count n5xx share_5xx p95_ms bytes_p90 of the routes that matter most; ids are :id",
    "errors": "lines of level error, fatal or panic, and plain lines of a class",
    "fingerprints": "text count share classes first last level of the 20 most frequent errors",
    "class_share": "of errors: db redis downstream rate_limit timeout oom panic bind auth lease config; null without",
    "slow_sql": "ms (longest), count and text of the 20 slowest statements that gorm called slow",
    "sql_bytes_share": "share of the bytes that are statements",
    "bytes_per_s": "how fast it is written",
    "panics": "lines that tell of a panic",
    "fatal": "the newest line of level fatal or panic, or null",
    "recent": "requests n5xx err_rate p95_ms errors of the last `seconds`",
    "found": "for each of patterns: count, last_age_s and last",
}
SINCE = "15m"
RECENT_PART = 5  # of the window, unless told
LONGEST_WINDOW = 7 * 86400.0
MOST_BYTES = 50_000_000
MOST_LINES = 200_000
MOST_PATTERNS = 20


def _or_since(schema: dict[str, Json]) -> None:
    """For editors: a duration may stand alone."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"type": "string"}, {"type": "number"}, full]


class Params(BaseModel):
    """Which part of the log, and what to look for in it; a bare duration is `since`."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_or_since)

    since: int | float | str = SINCE
    recent: int | float | str | None = None
    patterns: dict[str, str] = Field(default_factory=dict)
    previous: bool = False

    @field_validator("patterns")
    @classmethod
    def _can_be_matched(cls, given: dict[str, str]) -> dict[str, str]:
        if len(given) > MOST_PATTERNS:
            raise ValueError(f"patterns has {len(given)} entries; at most {MOST_PATTERNS} are looked for")
        for source in given.values():
            if "${{" not in source:
                wanted(source)
        return given

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> Any:
        if given is None:
            return {}
        return {"since": given} if isinstance(given, str | int | float) and not isinstance(given, bool) else given


@dataclass(frozen=True, slots=True)
class _Request:
    since: float
    recent: float
    patterns: Mapping[str, Wanted]
    previous: bool


class Session:
    """The log of one service; nothing is kept open."""

    def __init__(self, target: Target, mode: Literal["read", "write"]) -> None:
        file = target.settings.get("log_file")
        self._file = None if file is None else str(file)
        self._service = None if file is not None else mappings.mapped(target.name, target.settings)
        extra = {str(name): str(value) for name, value in (target.settings.get("env") or {}).items()}
        self._env = inherited_environment({**extra, "TZ": "UTC", "LC_ALL": "C"})
        self._cwd = target.settings.get("cwd")
        self._mode = mode
        self._name = target.name
        self._cancellation = Cancellation()

    def identity(self) -> Identity:
        if self._service is None:
            return Identity(f"log file {self._file} of {self._name}", {"log_file": self._file})
        words = json.dumps([self._service.settings, self._cwd], sort_keys=True, default=str)
        digest = hashlib.sha256(words.encode()).hexdigest()[:16]
        facts = {"kind": self._service.kind, "service": self._service.service, "settings": digest}
        return Identity(f"log of {self._service.name}", facts)

    def call(self, call: Call) -> Json:
        request = _request(call.request)
        limit = time.monotonic() + call.deadline
        try:
            now = time.time()
            texts, truncated = self._texts(request, now, limit)
            streams = [lines_of(text) for text in texts]
            window = Window(now, now - request.since, now - request.recent)
            answer = figures([lines[-MOST_LINES:] for lines in streams], window, request.patterns)
            truncated = truncated or any(len(lines) >= MOST_LINES for lines in streams)
            return {**answer, "truncated": truncated}
        finally:
            self._cancellation.heard()

    def cancel(self) -> None:
        self._cancellation.ring()

    def close(self) -> None:
        self._cancellation.close()

    def _texts(self, request: _Request, now: float, limit: float) -> tuple[list[str], bool]:
        """What was printed, each stream for itself, and whether something of it was left out."""
        if self._file is not None:
            tail = files.tail(self._file, now - request.since, MOST_BYTES)
            return [tail.data.decode("utf-8", "replace")], tail.truncated
        words = self._words(request)
        finished = self._run(words, limit)
        if finished.exit_code != 0:
            spoken = last_line(finished.stderr) or last_line(finished.stdout) or "it said nothing"
            raise TargetError("exit", f"{shlex.join(words[:6])}: exit {finished.exit_code}: {spoken}", "no")
        ends = [finished]
        if request.previous and self._kind == "kubernetes":
            # Pods that were never restarted have no previous log, and that is no failure.
            ends.insert(0, self._run([*words, "--previous"], limit))
        dropped = any(end.stdout_dropped or end.stderr_dropped for end in ends)
        return [end.stdout for end in ends] + [end.stderr for end in ends if end.exit_code == 0], dropped

    @property
    def _kind(self) -> str:
        return "" if self._service is None else self._service.kind

    def _words(self, request: _Request) -> list[str]:
        """As `service: logs`, with the platform's own times, which plain lines lack."""
        if self._service is None:
            raise Refused("logs: this target names a file and no platform")
        values = mappings.Values(lines=MOST_LINES, since=max(1, math.ceil(request.since)))
        words = mappings.act_words(self._service, "logs", values)
        match self._service.kind:
            case "compose":
                return [*words[:-1], "--timestamps", words[-1]]
            case "kubernetes":
                return [*words, "--timestamps"]
            case "systemd":
                return [*words[:-1], "short-unix"]
            case _:
                return words

    def _run(self, words: list[str], limit: float) -> Finished:
        deadline = max(0.05, limit - time.monotonic())
        return run(
            words,
            env=self._env,
            deadline=deadline,
            cwd=self._cwd,
            cancellation=self._cancellation,
            output_cap=MOST_BYTES,
        )


def _request(given: Json) -> _Request:
    try:
        params = Params.model_validate(given)
    except ValidationError as error:
        raise Refused(f"logs: {error.errors()[0]['msg']}") from error
    since = _seconds("since", params.since)
    recent = since / RECENT_PART if params.recent is None else _seconds("recent", params.recent)
    try:
        patterns = {name: wanted(source) for name, source in params.patterns.items()}
    except ValueError as error:
        raise Refused(f"logs: {error}") from error
    return _Request(since, min(recent, since), patterns, params.previous)


def _seconds(name: str, value: int | float | str) -> float:
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise Refused(f"logs: {name}: {error}") from error
    if not 0 < seconds <= LONGEST_WINDOW:
        raise Refused(f"logs: {name} {value!r} must be longer than 0 and at most {format_duration(LONGEST_WINDOW)}")
    return seconds


def least_effect(params: Any) -> tuple[Effect, str]:
    """Always reading."""
    Params.model_validate(params)
    return Effect.read, "logs reads"


def bound_names(params: Any) -> frozenset[str]:
    """None: a pattern is the playbook's own text."""
    Params.model_validate(params)
    return frozenset()


def show(call: Call) -> str:
    """The window, and what is looked for in it."""
    request = _request(call.request)
    previous = " and of what ran before" if request.previous else ""
    looked = f", looking for {', '.join(request.patterns)}" if request.patterns else ""
    return f"log of the last {format_duration(request.since)}{previous}{looked}"


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    """Settings: log_file; or service, env, cwd, and one of command, compose, kubernetes, systemd."""
    return Session(target, mode)
