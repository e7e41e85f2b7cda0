"""`asynq:` queues, workers and failures of asynq in one look, and the bounded operations that mend them.

Looks must never run a script or change a key: they work in a read session.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    RootModel,
    StrictFloat,
    StrictInt,
    StrictStr,
    Tag,
    ValidationError,
)

from runbook_engine.errors import Refused
from runbook_engine.executor import Call, Effect, Identity, Json, Target

if TYPE_CHECKING:
    from runbook_engine.asynq.failures import Filter
    from runbook_engine.asynq.reading import Asking
    from runbook_engine.redis_client.session import RedisSession

KINDS = frozenset({"redis"})
ANSWERS: Mapping[str, str] = {
    "queues": "inspect: one entry for each queue, with the names below that belong to a queue",
    "servers": "inspect: live worker processes: id host pid concurrency queues strict status started_at active",
    "name": "the queue asked for",
    "exists": "inspect: whether the queue has left any trace; if not, its counts are null",
    "registered": "inspect: whether asynq:queues lists it",
    "pending": "inspect: jobs waiting for a worker",
    "active": "inspect, active: jobs taken by a worker",
    "scheduled": "inspect: jobs for later",
    "retry": "inspect, failures: jobs that failed and wait for their next attempt",
    "archived": "inspect, failures: jobs that failed for good",
    "completed": "inspect: records of finished jobs that are kept",
    "lease": "inspect: leases of active jobs",
    "lease_expired": "inspect: leases that have run out",
    "scheduled_due": "inspect: scheduled jobs that should be pending by now",
    "retry_due": "inspect: retries that should be pending by now",
    "completed_expired": "inspect: records that should be gone by now",
    "paused": "inspect: whether workers are told to leave the queue alone",
    "paused_since": "inspect: unix time of the pause",
    "oldest_pending": "inspect: seconds the oldest pending job has waited, 0 when none is, null when it does not say",
    "consumers": "inspect: live servers that take jobs of the queue",
    "capacity": "inspect: jobs these can run at once",
    "busy": "inspect: jobs these run now",
    "util": "inspect: busy / capacity, 0 without capacity",
    "processed": "inspect: attempts ended since ever, well or badly; for rate()",
    "failed": "inspect: attempts failed since ever",
    "processed_today": "inspect: attempts ended since midnight UTC",
    "failed_today": "inspect: attempts failed since midnight UTC",
    "processed_before": "inspect: attempts ended on the whole day before, null when the queue is younger",
    "enqueued": "inspect: jobs that ever entered, as far as they can be told; for rate()",
    "sampled": "active, failures: how many jobs were looked at",
    "longest_s": "active: seconds the longest job has run",
    "past_deadline": "active: running jobs that are past their deadline",
    "by_type": "active: type, count and share of what runs",
    "running": "active: the longest running jobs: id type workflow_id seconds worker",
    "running_count": "active: jobs that live workers say they run",
    "running_top": "active: the most frequent type and workflow: id count share",
    "orphans": "active: ids that no live worker holds and that asynq will not recover: no lease, or one long expired",
    "unheld": "active: ids that no live worker holds and whose lease nobody renews",
    "no_lease": "active: ids without a lease",
    "ghosts": "active: ids whose message is gone",
    "pending_missing_msg": "active: how many of the 50 oldest pending ids have no message",
    "pending_missing_ids": "active: these ids",
    "pending_top_workflow": "active: workflow_id, count and share of the workflow most pending jobs belong to",
    "fingerprints": "failures: type fingerprint classes count archived share first last",
    "rate_limit_share": "failures: share whose error says rate limit; null without failures, like all shares",
    "timeout_share": "failures: share that timed out",
    "lease_expired_share": "failures: share whose worker died",
    "db_share": "failures: share whose error is of PostgreSQL",
    "redis_share": "failures: share whose error is of Redis",
    "downstream_share": "failures: share that could not reach another service",
    "auth_share": "failures: share that was not let in",
    "panic_share": "failures: share that panicked",
    "config_share": "failures: share whose workflow is gone or not valid",
    "oom_share": "failures: share that ran out of memory",
    "payload_p50": "failures: median payload in bytes",
    "payload_max": "failures: largest payload in bytes",
    "retried_max": "failures: most attempts any of them has had",
    "newest_failure": "failures: unix time of the newest",
    "top_workflow": "failures: workflow_id, count and share of the workflow that fails most",
    "state": "tasks: the state asked for",
    "ids": "tasks: ids that fit, oldest first; retry_archived: ids given another attempt",
    "count": "tasks: how many",
    "total": "tasks: how many are in that state",
    "oldest": "tasks: unix time of the oldest",
    "newest": "tasks: unix time of the newest",
    "payload_bytes": "tasks: size of all payloads",
    "workflows": "tasks: how many workflows they belong to",
    "types": "tasks: their types",
    "affected": "operations: jobs or keys really touched",
    "asked": "operations: jobs they were asked to touch",
    "since": "pause: unix time since when the queue is paused",
    "quarantined": "quarantine: jobs that are set aside under this name",
    "dropped": "restore: ids that were no longer pending; repair: ids without message that were removed",
    "leased": "repair: orphans that asynq will now recover",
    "path": "export: the file",
    "sha256": "export: its digest",
    "lines": "export: jobs in it",
    "truncated": "inspect, tasks: there are more than are listed",
    "at": "unix time by the clock of Redis",
}

Number = StrictInt | StrictFloat | StrictStr  # a text is a template until it is rendered
Ids = list[StrictStr] | StrictStr


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskFilter(_Strict):
    """Which jobs are meant; `since` is unix seconds."""

    type: StrictStr | None = None
    fingerprint: StrictStr | None = None
    error_class: StrictStr | None = None
    workflow_id: StrictStr | None = None
    since: Number | None = None


class Inspect(_Strict):
    inspect: StrictStr | None


class Active(_Strict):
    active: StrictStr


class Failures(_Strict):
    failures: StrictStr
    since: Number | None = None


class Tasks(_Strict):
    tasks: StrictStr
    state: StrictStr = "archived"
    filter: TaskFilter = TaskFilter()
    limit: Number = 1000


class Export(_Strict):
    export: StrictStr
    state: StrictStr = "archived"
    path: StrictStr
    ids: Ids | None = None


class Pause(_Strict):
    pause: StrictStr


class Resume(_Strict):
    resume: StrictStr
    since: Number | None = None


class Quarantine(_Strict):
    quarantine: StrictStr
    id: StrictStr


class Restore(_Strict):
    restore: StrictStr
    id: StrictStr


class RetryArchived(_Strict):
    retry_archived: StrictStr
    filter: TaskFilter = TaskFilter()
    limit: Number = 200
    ids: Ids | None = None


class PurgeCompleted(_Strict):
    purge_completed: StrictStr
    before: Number | None = None


class Repair(_Strict):
    repair: StrictStr
    orphans: Ids = []
    ghosts: Ids = []


class DeleteArchived(_Strict):
    delete_archived: StrictStr
    ids: Ids


_EFFECTS: Mapping[str, tuple[Effect, str]] = {
    "inspect": (Effect.read, "looks at queues"),
    "active": (Effect.read, "looks at running jobs"),
    "failures": (Effect.read, "looks at failed jobs"),
    "tasks": (Effect.read, "lists jobs"),
    "export": (Effect.touch, "writes a file on this machine"),
    "pause": (Effect.reversible, "stops workers from taking jobs"),
    "resume": (Effect.reversible, "lets workers take jobs"),
    "quarantine": (Effect.reversible, "puts pending jobs aside"),
    "restore": (Effect.reversible, "puts jobs back"),
    "repair": (Effect.reversible, "gives lost jobs back and drops ids without a message"),
    "retry_archived": (Effect.disruptive, "runs failed jobs again, side effects may repeat"),
    "purge_completed": (Effect.destructive, "removes the records of finished jobs"),
    "delete_archived": (Effect.destructive, "removes failed jobs"),
}


def _form(value: Any) -> str | None:
    if isinstance(value, Mapping):
        return next((name for name in _EFFECTS if name in value), None)
    return next((name for name in _EFFECTS if hasattr(value, name)), None)


class Params(
    RootModel[
        Annotated[
            Annotated[Inspect, Tag("inspect")]
            | Annotated[Active, Tag("active")]
            | Annotated[Failures, Tag("failures")]
            | Annotated[Tasks, Tag("tasks")]
            | Annotated[Export, Tag("export")]
            | Annotated[Pause, Tag("pause")]
            | Annotated[Resume, Tag("resume")]
            | Annotated[Quarantine, Tag("quarantine")]
            | Annotated[Restore, Tag("restore")]
            | Annotated[RetryArchived, Tag("retry_archived")]
            | Annotated[PurgeCompleted, Tag("purge_completed")]
            | Annotated[Repair, Tag("repair")]
            | Annotated[DeleteArchived, Tag("delete_archived")],
            Discriminator(
                _form,
                custom_error_type="asynq_form",
                custom_error_message=(
                    f"expected one of {', '.join(_EFFECTS)} with the name of a queue, such as {{inspect: default}}"
                ),
            ),
        ]
    ]
):
    """What may stand under `asynq:`."""

    model_config = ConfigDict(frozen=True)


def least_effect(params: Any) -> tuple[Effect, str]:
    return _EFFECTS[_name(_read(params).root)]


def bound_names(params: Any) -> frozenset[str]:
    """None: values are templates."""
    return frozenset()


def show(call: Call) -> str:
    root = _read(call.request).root
    name = _name(root)
    rest = root.model_dump(exclude={name}, exclude_unset=True, exclude_none=True)
    lines = [f"asynq {name} {json.dumps(getattr(root, name), ensure_ascii=False)}"]
    return "\n".join([*lines, *(f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rest.items())])


def connect(target: Target, mode: Literal["read", "write"]) -> Session:
    from runbook_engine.redis_client import session as redis_session

    return Session(redis_session.connect(target, mode), target.pace, mode)


class Session:
    """One connection for one run."""

    def __init__(self, session: RedisSession, pace: float, mode: Literal["read", "write"]) -> None:
        self._session = session
        self._pace = pace
        self._mode = mode

    def identity(self) -> Identity:
        return self._session.identity()

    def call(self, call: Call) -> Json:
        from runbook_engine.asynq.reading import Asking

        root = _read(call.request).root
        name = _name(root)
        effect, why = _EFFECTS[name]
        if self._mode == "read" and effect > Effect.touch:
            raise Refused(f"asynq: {name} is not done in a read session: it {why}")
        asking = Asking(self._session, time.monotonic() + call.deadline, self._pace)
        perform = (_looks() if effect <= Effect.touch else _operations())[name]
        return perform(asking, root, call.affected)

    def cancel(self) -> None:
        self._session.cancel()

    def close(self) -> None:
        self._session.close()


_Perform = Callable[["Asking", Any, int | None], Json]


def _looks() -> Mapping[str, _Perform]:
    from runbook_engine.asynq.active import active
    from runbook_engine.asynq.export import export
    from runbook_engine.asynq.failures import failures, tasks
    from runbook_engine.asynq.inspect import inspect

    return {
        "inspect": lambda asking, root, most: inspect(asking, root.inspect),
        "active": lambda asking, root, most: active(asking, root.active),
        "failures": lambda asking, root, most: failures(asking, root.failures, _optional(root.since, "since")),
        "tasks": lambda asking, root, most: tasks(
            asking, root.tasks, root.state, _filter(root.filter), _limit(root.limit)
        ),
        "export": lambda asking, root, most: export(asking, root.export, root.state, root.path, _ids(root.ids)),
    }


def _operations() -> Mapping[str, _Perform]:
    from runbook_engine.asynq import operations

    return {
        "pause": lambda asking, root, most: operations.pause(asking, root.pause),
        "resume": lambda asking, root, most: operations.resume(asking, root.resume, root.since),
        "quarantine": lambda asking, root, most: operations.quarantine(asking, root.quarantine, root.id, most),
        "restore": lambda asking, root, most: operations.restore(asking, root.restore, root.id, most),
        "retry_archived": lambda asking, root, most: operations.retry_archived(
            asking, root.retry_archived, _filter(root.filter), _limit(root.limit), _ids(root.ids), most
        ),
        "purge_completed": lambda asking, root, most: operations.purge_completed(
            asking, root.purge_completed, _optional(root.before, "before"), most
        ),
        "repair": lambda asking, root, most: operations.repair(
            asking, root.repair, _ids(root.orphans) or [], _ids(root.ghosts) or [], most
        ),
        "delete_archived": lambda asking, root, most: operations.delete_archived(
            asking, root.delete_archived, _ids(root.ids) or [], most
        ),
    }


def _read(params: Any) -> Params:
    if isinstance(params, Params):
        return params
    try:
        return Params.model_validate(params)
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise Refused(f"asynq: {where + ': ' if where else ''}{first['msg']}") from fault


def _name(root: Any) -> str:
    return next(name for name in _EFFECTS if name in type(root).model_fields)


def _filter(given: TaskFilter) -> Filter:
    from runbook_engine.asynq.failures import Filter

    return Filter(
        type=given.type,
        fingerprint=given.fingerprint,
        error_class=given.error_class,
        workflow_id=given.workflow_id,
        since=_optional(given.since, "filter.since"),
    )


def _optional(value: Any, name: str) -> float | None:
    try:
        number = None if value is None else float(value)
    except ValueError as fault:
        raise Refused(f"asynq: {name} is {value!r}; expected seconds as a number") from fault
    if number is not None and not 0 <= number < 1e12:
        raise Refused(f"asynq: {name} is {value!r}; expected seconds as a number, not negative")
    return number


def _limit(value: Any) -> int:
    if not str(value).isdecimal() or not 1 <= int(value) <= 10_000:
        raise Refused(f"asynq: limit is {value!r}; expected a whole number from 1 to 10000")
    return int(value)


def _ids(value: Any) -> list[str] | None:
    if isinstance(value, str):
        raise Refused(f"asynq: ids is the text {value!r}; expected a list of ids")
    return None if value is None else list(value)
