"""`service:` the state of an app's own processes, and their start, stop, restart, scale and logs.

The environment says what runs a service: docker compose, kubernetes, systemd, or commands of its own. It must never
guess a mapping, and never do more than the verb says to more than the one service.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from runbook_engine.commands.output import last_line, lines_of
from runbook_engine.commands.processes import Cancellation, Finished, inherited_environment, run
from runbook_engine.errors import Refused, TargetError
from runbook_engine.executor import Call, Effect, Identity, Json, Target
from runbook_engine.services import mappings
from runbook_engine.services import status as statuses

KINDS = frozenset({"service"})
ANSWERS: Mapping[str, str] = {
    "status": "running, desired, ready, restarts, exit_code, oom_killed, started_at, cpu (percent of a core), "
    "rss and memory_limit (bytes), waiting (kubernetes: why), processes; what the platform does not say is none",
    "logs": "the text of logs",
    "lines": "the lines of logs",
    "affected": "how many processes an act meant to change, where that was asked beforehand",
}
MAX_LINES = 5000
LOGS_CAP = 1024 * 1024
STATS_NEED = 4.0
"""`docker stats` measures for two seconds; with less time left, cpu and rss stay none."""


class LogsParams(BaseModel):
    """How much of a service's log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: int | str = 200
    since: int | float | str | None = None


class Nothing(BaseModel):
    """A verb that takes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _or_word(schema: dict[str, Json]) -> None:
    """For editors: a verb that needs nothing may stand alone."""
    full = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"enum": [verb for verb in mappings.VERBS if verb != "scale"]}, full]


class Params(BaseModel):
    """One verb: a word, or a mapping with what it takes."""

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_or_word)

    status: Nothing | None = None
    start: Nothing | None = None
    stop: Nothing | None = None
    restart: Nothing | None = None
    scale: int | str | None = None
    logs: LogsParams | None = None

    @model_validator(mode="before")
    @classmethod
    def _in_full(cls, given: Any) -> Any:
        full = {given: None} if isinstance(given, str) else given
        if not isinstance(full, dict):
            return full
        # A bare word and `status:` with nothing behind it mean the same.
        named = {key: {} if value is None and key != "scale" else value for key, value in full.items()}
        verbs = [key for key in full if key in mappings.VERBS and (full[key] is not None or len(full) == 1)]
        if len(verbs) != 1:
            known = ", ".join(mappings.VERBS)
            raise ValueError(f"one verb is needed, of {known}; found {', '.join(map(repr, full)) or 'none'}")
        if verbs[0] == "scale" and full["scale"] is None:
            raise ValueError("scale needs a number of replicas, like `scale: 4`")
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
        self._env = inherited_environment({**extra, **zone})
        self._cwd = target.settings.get("cwd")
        self._mode = mode
        self._cancellation = Cancellation()

    def identity(self) -> Identity:
        settings = {key: value for key, value in self._service.settings.items() if isinstance(value, str | int | bool)}
        words = json.dumps([self._service.settings, self._cwd], sort_keys=True, default=str)
        digest = hashlib.sha256(words.encode()).hexdigest()[:16]
        facts = {"kind": self._service.kind, "service": self._service.service, **settings, "settings": digest}
        return Identity(self._service.name, facts)

    def call(self, call: Call) -> Json:
        params = _params(call.request)
        verb, values = params.verb, _values(params)
        if self._mode == "read" and verb not in ("status", "logs"):
            raise Refused(f"service: {verb} changes {self._service.name}, and this session is for reading")
        limit = time.monotonic() + call.deadline
        try:
            if verb == "status":
                return {"status": self._status(limit), "logs": None, "lines": None, "affected": None}
            if verb == "logs":
                text = self._read(mappings.act_words(self._service, verb, values), limit, LOGS_CAP, both=True)
                return {"status": None, "logs": text, "lines": lines_of(text), "affected": None}
            return self._act(verb, values, call, limit)
        finally:
            self._cancellation.heard()

    def cancel(self) -> None:
        self._cancellation.ring()

    def close(self) -> None:
        self._cancellation.close()

    def _act(self, verb: str, values: mappings.Values, call: Call, limit: float) -> Json:
        words = mappings.act_words(self._service, verb, values)
        affected = None if call.affected is None else self._size(verb, values, limit)
        if affected is not None and call.affected is not None and affected > call.affected:
            raise Refused(
                f"service: {verb} would change {affected} processes of {self._service.name}, "
                f"more than the limit of {call.affected}"
            )
        finished = self._run(words, limit, keep=True)
        if finished.exit_code != 0:
            raise self._failed(words, finished)
        return {"status": None, "logs": finished.stdout, "lines": lines_of(finished.stdout), "affected": affected}

    def _size(self, verb: str, values: mappings.Values, limit: float) -> int | None:
        """How many processes an act would change, as far as the status tells."""
        try:
            running = self._status(limit, figures=False)["running"]
        except TargetError as error:
            raise TargetError(error.code, f"before {verb}: {error.message}", "no") from error
        if not isinstance(running, int):
            return None
        if verb == "scale":
            return abs((values.replicas or 0) - running)
        return None if verb == "start" else running

    def _status(self, limit: float, figures: bool = True) -> dict[str, Json]:
        match self._service.kind:
            case "command":
                return self._status_of_command(limit)
            case "compose":
                return self._status_of_compose(limit, figures)
            case "kubernetes":
                return self._status_of_kubernetes(limit)
            case _:
                shown = self._read(mappings.show_words(self._service), limit)
                return statuses.status_of_systemd(shown, self._service)

    def _status_of_command(self, limit: float) -> dict[str, Json]:
        words = mappings.command_words(self._service, "status")
        finished = self._run(words, limit)
        status = statuses.status_of_command(finished.exit_code, finished.stdout, words[0])
        if status is None:
            raise self._failed(words, finished)
        return status

    def _status_of_compose(self, limit: float, figures: bool) -> dict[str, Json]:
        listed = statuses.rows(
            statuses.read_json(self._read(mappings.compose_ps_words(self._service), limit), "docker")
        )
        ids = [str(row["ID"]) for row in listed if row.get("ID")]
        if not ids:
            return statuses.status_of_compose(listed, [], [])
        # A container may go between the two commands: then docker prints the others and exits with 1.
        inspected = self._run(mappings.inspect_words(ids), limit).stdout
        details = statuses.rows(statuses.read_json(inspected, "docker inspect"))
        running = [str(row["ID"]) for row in listed if row.get("State") == "running" and row.get("ID")]
        return statuses.status_of_compose(listed, details, self._stats(running, limit) if figures else [])

    def _stats(self, ids: Sequence[str], limit: float) -> list[Mapping[str, Json]]:
        """Figures that are nice to have: that they cannot be had must not cost the status."""
        if not ids or limit - time.monotonic() < STATS_NEED:
            return []
        try:
            finished = self._run(mappings.stats_words(ids), limit - 1.0)
            return statuses.rows(statuses.read_json(finished.stdout, "docker stats"))
        except TargetError as error:
            if error.code == "cancelled":
                raise
            return []

    def _status_of_kubernetes(self, limit: float) -> dict[str, Json]:
        words = mappings.deployment_words(self._service)
        found = statuses.read_json(self._read(words, limit), "kubectl")
        if not isinstance(found, dict):
            raise TargetError("protocol", f"{shlex.join(words)}: a deployment was expected")
        selector = statuses.selector_of(found)
        listed = statuses.read_json(self._read(mappings.pods_words(self._service, selector), limit), "kubectl")
        pods = listed.get("items") if isinstance(listed, dict) else []
        return statuses.status_of_kubernetes(found, statuses.rows(pods or []))

    def _read(self, words: list[str], limit: float, cap: int = 16 * LOGS_CAP, both: bool = False) -> str:
        """What it prints; `both` for logs, which programs write to either stream."""
        finished = self._run(words, limit, cap=cap)
        if finished.exit_code != 0:
            raise self._failed(words, finished)
        return finished.stdout + finished.stderr if both else finished.stdout

    def _run(self, words: list[str], limit: float, keep: bool = False, cap: int = 16 * LOGS_CAP) -> Finished:
        return run(
            words,
            env=self._env,
            deadline=max(0.05, limit - time.monotonic()),
            cwd=self._cwd,
            keep=keep,
            cancellation=self._cancellation,
            output_cap=cap,
        )

    def _failed(self, words: Sequence[str], finished: Finished) -> TargetError:
        spoken = last_line(finished.stderr) or last_line(finished.stdout) or "it said nothing"
        return TargetError("exit", f"{shlex.join(words[:6])}: exit {finished.exit_code}: {spoken}")


def _params(request: Json) -> Params:
    try:
        return Params.model_validate(request)
    except ValidationError as error:
        raise Refused(f"service: {error.errors()[0]['msg']}") from error


def _values(params: Params) -> mappings.Values:
    if params.scale is not None:
        return mappings.Values(replicas=_count(params.scale, "scale", 0, 1000))
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


def least_effect(params: Any) -> tuple[Effect, str]:
    """Reading, undone by scaling back, or dropping what is in flight."""
    verb = Params.model_validate(params).verb
    match verb:
        case "status" | "logs":
            return Effect.read, f"{verb} reads"
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
        case "logs":
            since = f" of the last {values.since} s" if values.since else ""
            return f"logs, the last {values.lines} lines{since}"
        case verb:
            return verb


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    """Settings: service, env, cwd, and one of command, compose, kubernetes, systemd."""
    return Session(target, mode)
