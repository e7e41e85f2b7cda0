"""`service:` the state of an app's own processes, and their start, stop, restart, scale and logs.

The environment says what runs a service: docker compose, kubernetes, systemd, or commands of its own. It must never
guess a mapping, and never do more than the verb says to more than the one service.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from runbook_engine.commands.output import lines_of
from runbook_engine.commands.processes import Cancellation, inherited_environment
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Identity, Json, Target
from runbook_engine.services import debugging, looking, mappings, releases
from runbook_engine.services.running import Runner
from runbook_engine.units import parse_duration

KINDS = frozenset({"service"})
ANSWERS: Mapping[str, str] = {
    "status": "running, desired, ready, restarts, exit_code, reason (why the last one ended: OOMKilled, Error, "
    "Completed), oom_killed, started_at, cpu (percent of a core), rss, memory_limit (bytes), health (healthy, "
    "starting, unhealthy), image, images (distinct ones that run), processes; of kubernetes waiting (CrashLoopBackOff, "
    "ImagePullBackOff, …), endpoints_ready, probe_paths, autoscaled and autoscaler (name min max); debug (seconds that "
    "are left); what the platform does not say is none",
    "revisions": "history, oldest first: revision image tag digest current deployed_at built_at age_s cause, differs "
    "(whether its image is another than the one that runs)",
    "current": "history: the revision that runs",
    "previous": "history: the newest that came before it",
    "managed_by": "history: argocd or flux, which would put the desired version back",
    "debug": "debugging: on, seconds_left, lines (written at level debug), last, name of the replica",
    "logs": "the text of logs",
    "lines": "the lines of logs",
    "affected": "how many processes an act meant to change, where that was asked beforehand",
}
MAX_LINES = 5000
LOGS_CAP = 1024 * 1024
NEEDS = {
    "scale": "a number of replicas, like `scale: 4`",
    "rollback": "a revision, like `rollback: {to: v1.4.2}`",
    "debug": "a time after which it ends, like `debug: {for: 15m}`",
}
TAKES = tuple(NEEDS)


class LogsParams(BaseModel):
    """How much of a service's log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: int | str = 200
    since: int | float | str | None = None


class RollbackParams(BaseModel):
    """Which revision is to run, one of those that history tells."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    to: str | int


class DebugParams(BaseModel):
    """For how long; 0 ends it now."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    duration: int | float | str = Field(alias="for")


class Nothing(BaseModel):
    """A verb that takes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _or_word(schema: dict[str, Json]) -> None:
    """For editors: a verb that needs nothing may stand alone."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"enum": [verb for verb in mappings.VERBS if verb not in TAKES]}, full]


class Params(BaseModel):
    """One verb: a word, or a mapping with what it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_or_word)

    status: Nothing | None = None
    start: Nothing | None = None
    stop: Nothing | None = None
    restart: Nothing | None = None
    scale: int | str | None = None
    logs: LogsParams | None = None
    history: Nothing | None = None
    rollback: RollbackParams | None = None
    debug: DebugParams | None = None
    debugging: Nothing | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> Any:
        full = {given: None} if isinstance(given, str) else given
        if not isinstance(full, dict):
            return full
        # A bare word and `status:` with nothing behind it mean the same.
        named = {key: {} if value is None and key not in TAKES else value for key, value in full.items()}
        verbs = [key for key in full if key in mappings.VERBS and (full[key] is not None or len(full) == 1)]
        if len(verbs) != 1:
            known = ", ".join(mappings.VERBS)
            raise ValueError(f"one verb is needed, of {known}; found {', '.join(map(repr, full)) or 'none'}")
        if verbs[0] in TAKES and full[verbs[0]] is None:
            raise ValueError(f"{verbs[0]} needs {NEEDS[verbs[0]]}")
        unknown = {key: value for key, value in full.items() if key not in mappings.VERBS}
        return {verbs[0]: named[verbs[0]], **unknown}

    @property
    def verb(self) -> str:
        return next(verb for verb in mappings.VERBS if getattr(self, verb) is not None)


class Session:
    """The commands of one service; none of them keeps anything open."""

    def __init__(self, target: Target, mode: Literal["read", "write"]) -> None:
        self._service = mappings.mapped(target.name, target.settings)
        extra = {str(name): str(value) for name, value in (target.settings.get("env") or {}).items()}
        # systemd prints times in the zone and language of whoever asks.
        zone = {"TZ": "UTC", "LC_ALL": "C"} if self._service.kind == "systemd" else {}
        self._cancellation = Cancellation()
        self._runner = Runner(inherited_environment({**extra, **zone}), target.settings.get("cwd"), self._cancellation)
        self._mode = mode

    def identity(self) -> Identity:
        settings = {key: value for key, value in self._service.settings.items() if isinstance(value, str | int | bool)}
        words = json.dumps([self._service.settings, self._runner.cwd], sort_keys=True, default=str)
        digest = hashlib.sha256(words.encode()).hexdigest()[:16]
        facts = {"kind": self._service.kind, "service": self._service.service, **settings, "settings": digest}
        return Identity(self._service.name, facts)

    def call(self, call: Call) -> Json:
        params = _params(call.request)
        verb, values = params.verb, _values(params)
        if self._mode == "read" and verb not in mappings.READS:
            raise Refused(f"service: {verb} changes {self._service.name}, and this session is for reading")
        limit = time.monotonic() + call.deadline
        try:
            found = self._look(verb, values, limit) if verb in mappings.READS else self._act(verb, values, call, limit)
        finally:
            self._cancellation.heard()
        return {**dict.fromkeys(ANSWERS), **found}

    def cancel(self) -> None:
        self._cancellation.ring()

    def close(self) -> None:
        self._cancellation.close()

    def _look(self, verb: str, values: mappings.Values, limit: float) -> dict[str, Json]:
        match verb:
            case "status":
                return {"status": looking.status_of(self._runner, self._service, limit)}
            case "history":
                return releases.history_of(self._runner, self._service, limit).document(time.time())
            case "debugging":
                return {"debug": debugging.look(self._runner, self._service, limit)}
            case _:
                words = mappings.act_words(self._service, verb, values)
                return _said(self._runner.read(words, limit, cap=LOGS_CAP, both=True))

    def _act(self, verb: str, values: mappings.Values, call: Call, limit: float) -> dict[str, Json]:
        words = [] if verb in ("rollback", "debug") else mappings.act_words(self._service, verb, values)
        affected = None if call.affected is None else self._size(verb, values, limit)
        if affected is not None and call.affected is not None and affected > call.affected:
            raise Refused(
                f"service: {verb} would change {affected} processes of {self._service.name}, "
                f"more than the limit of {call.affected}"
            )
        match verb:
            case "rollback":
                said, changed = releases.roll_back(self._runner, self._service, str(values.revision), limit)
                return {**_said(said), "affected": affected if changed else 0}
            case "debug":
                said = debugging.enable(self._runner, self._service, values.seconds or 0, limit)
            case _:
                said = self._runner.act(words, limit)
        return {**_said(said), "affected": affected}

    def _size(self, verb: str, values: mappings.Values, limit: float) -> int | None:
        """How many processes an act would change, as far as the status tells."""
        if verb == "debug":
            return 1
        try:
            running = looking.status_of(self._runner, self._service, limit, figures=False)["running"]
        except TargetError as error:
            raise TargetError(error.code, f"before {verb}: {error.message}", "no") from error
        if not isinstance(running, int):
            return None
        if verb == "scale":
            return abs((values.replicas or 0) - running)
        return None if verb == "start" else running


def _said(text: str) -> dict[str, Json]:
    return {"logs": text, "lines": lines_of(text)}


def _params(request: Json) -> Params:
    try:
        return Params.model_validate(request)
    except ValidationError as error:
        raise Refused(f"service: {error.errors()[0]['msg']}") from error


def _values(params: Params) -> mappings.Values:
    if params.scale is not None:
        return mappings.Values(replicas=_count(params.scale, "scale", 0, 1000))
    if params.rollback is not None:
        return mappings.Values(revision=_revision(params.rollback.to))
    if params.debug is not None:
        return mappings.Values(seconds=_seconds(params.debug.duration))
    if params.logs is not None:
        lines = _count(params.logs.lines, "lines", 1, MAX_LINES)
        return mappings.Values(lines=lines, since=mappings.seconds_of(params.logs.since))
    return mappings.Values()


def _count(value: int | str, name: str, least: int, most: int) -> int:
    try:
        number = int(value)
    except ValueError as error:
        raise Refused(f"service: {name} {value!r} is not a whole number") from error
    if not least <= number <= most:
        raise Refused(f"service: {name} {number} must be from {least} to {most}")
    return number


def _revision(value: str | int) -> str:
    """A tag or a number: it becomes a word of a command, and part of an image's name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", str(value)):
        raise Refused(f"service: revision {value!r} should be a tag or a number, like v1.4.2 or 7")
    return str(value)


def _seconds(value: int | float | str) -> int:
    try:
        seconds = math.ceil(parse_duration(value))
    except ValueError as error:
        raise Refused(f"service: debug for {value!r}: {error}") from error
    if seconds > debugging.LONGEST:
        raise Refused(f"service: debug for {seconds} s is too long; {debugging.LONGEST} s are the most")
    return seconds


def least_effect(params: Any) -> tuple[Effect, str]:
    """Reading, undone by scaling back, or dropping what is in flight."""
    verb = Params.model_validate(params).verb
    match verb:
        case "status" | "logs" | "history" | "debugging":
            return Effect.read, f"{verb} reads"
        case "debug":
            return Effect.reversible, "debug changes what is logged, until its time is over"
        case "start" | "scale":
            return Effect.reversible, f"{verb} changes how many processes run"
        case _:
            return Effect.disruptive, f"{verb} ends what the processes are doing"


def bound_names(params: Any) -> frozenset[str]:
    """None: a service step has no code."""
    Params.model_validate(params)
    return frozenset()


def show(call: Call) -> str:
    """The verb and what it is given; which commands that means, the target's identity says."""
    params = _params(call.request)
    values = _values(params)
    match params.verb:
        case "scale":
            return f"scale to {values.replicas}"
        case "rollback":
            return f"roll back to {values.revision}"
        case "debug":
            return f"debug mode for {values.seconds} s" if values.seconds else "end debug mode"
        case "logs":
            since = f" of the last {values.since} s" if values.since else ""
            return f"logs, the last {values.lines} lines{since}"
        case verb:
            return verb


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    """Settings: service, env, cwd, and one of command, compose, kubernetes, systemd."""
    return Session(target, mode)
