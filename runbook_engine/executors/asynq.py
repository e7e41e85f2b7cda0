"""`asynq:` queues, workers and failures of asynq in one look, and the bounded operations that mend them.

Looks must never run a script or change a key: they work in a read session.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Discriminator, RootModel, Tag, ValidationError

from runbook_engine.asynq.answers import ANSWERS as ANSWERS
from runbook_engine.asynq.requests import (
    Active,
    ArchiveTask,
    Deaths,
    DeleteArchived,
    DeletePending,
    DropGhosts,
    Export,
    Failures,
    ImportJobs,
    Inspect,
    Outcomes,
    Pause,
    PurgeCompleted,
    PurgeUnreferenced,
    Quarantine,
    Repair,
    Restore,
    Resume,
    RetryArchived,
    TaskFilter,
    Tasks,
    Unreferenced,
)
from runbook_engine.errors import Refused
from runbook_engine.executor import Call, Effect, Identity, Json, Target

if TYPE_CHECKING:
    from runbook_engine.asynq.failures import Filter
    from runbook_engine.asynq.reading import Asking
    from runbook_engine.redis_client.session import RedisSession

KINDS = frozenset({"redis"})

_EFFECTS: Mapping[str, tuple[Effect, str]] = {
    "inspect": (Effect.read, "looks at queues"),
    "active": (Effect.read, "looks at running jobs"),
    "failures": (Effect.read, "looks at failed jobs"),
    "deaths": (Effect.read, "looks at jobs whose worker died"),
    "tasks": (Effect.read, "lists jobs"),
    "outcomes": (Effect.read, "looks at jobs by their id"),
    "export": (Effect.touch, "writes a file on this machine"),
    "unreferenced": (Effect.read, "looks for task hashes that nothing holds"),
    "pause": (Effect.reversible, "stops workers from taking jobs"),
    "resume": (Effect.reversible, "lets workers take jobs"),
    "quarantine": (Effect.reversible, "puts pending jobs aside"),
    "restore": (Effect.reversible, "puts jobs back"),
    "repair": (Effect.reversible, "gives lost jobs back and drops ids without a message"),
    "archive_task": (Effect.reversible, "puts single jobs where nobody runs them"),
    "import_jobs": (Effect.reversible, "puts exported jobs back"),
    "drop_ghosts": (Effect.reversible, "drops ids whose job is gone"),
    "retry_archived": (Effect.disruptive, "runs failed jobs again, side effects may repeat"),
    "purge_completed": (Effect.destructive, "removes the records of finished jobs"),
    "purge_unreferenced": (Effect.destructive, "removes task hashes that nothing holds, after copying them"),
    "delete_pending": (Effect.destructive, "removes waiting jobs"),
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
            | Annotated[Deaths, Tag("deaths")]
            | Annotated[Tasks, Tag("tasks")]
            | Annotated[Outcomes, Tag("outcomes")]
            | Annotated[Export, Tag("export")]
            | Annotated[Unreferenced, Tag("unreferenced")]
            | Annotated[Pause, Tag("pause")]
            | Annotated[Resume, Tag("resume")]
            | Annotated[Quarantine, Tag("quarantine")]
            | Annotated[Restore, Tag("restore")]
            | Annotated[DropGhosts, Tag("drop_ghosts")]
            | Annotated[ArchiveTask, Tag("archive_task")]
            | Annotated[ImportJobs, Tag("import_jobs")]
            | Annotated[RetryArchived, Tag("retry_archived")]
            | Annotated[PurgeCompleted, Tag("purge_completed")]
            | Annotated[Repair, Tag("repair")]
            | Annotated[PurgeUnreferenced, Tag("purge_unreferenced")]
            | Annotated[DeletePending, Tag("delete_pending")]
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
    rest = {**root.model_dump(exclude={name}, exclude_unset=True, exclude_none=True), **_file(root)}
    lines = [f"asynq {name} {json.dumps(getattr(root, name), ensure_ascii=False)}"]
    return "\n".join([*lines, *(f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in rest.items())])


def _file(root: Any) -> Mapping[str, str]:
    """Where the copy of what is deleted will stand: who gives consent has to know."""
    state, name = getattr(root, "state", "archived"), getattr(root, "export_as", None)
    if isinstance(root, ImportJobs):
        name = root.name
    if isinstance(root, PurgeUnreferenced):
        state = "unreferenced"
    if name is None:
        return {}
    from runbook_engine.asynq.files import export_file

    try:
        return {"file": str(export_file(root.path, getattr(root, _name(root)), state, name))}
    except Refused:
        return {}  # the call itself says what is wrong with the name


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
        if self._mode == "read" and name == "export" and getattr(root, "path", None) is None:
            raise Refused("asynq: an export in a read session names its folder, in `path:`")
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
    from runbook_engine.asynq.deaths import deaths
    from runbook_engine.asynq.export import export
    from runbook_engine.asynq.failures import failures, tasks
    from runbook_engine.asynq.inspect import inspect
    from runbook_engine.asynq.outcomes import outcomes
    from runbook_engine.asynq.unreferenced import unreferenced

    return {
        "inspect": lambda asking, root, most: inspect(asking, root.inspect),
        "active": lambda asking, root, most: active(asking, root.active),
        "failures": lambda asking, root, most: failures(asking, root.failures, _optional(root.since, "since")),
        "deaths": lambda asking, root, most: deaths(asking, root.deaths, _optional(root.since, "since")),
        "outcomes": lambda asking, root, most: outcomes(
            asking, root.outcomes, _ids(root.ids) or [], _optional(root.since, "since")
        ),
        "tasks": lambda asking, root, most: tasks(
            asking, root.tasks, root.state, _filter(root.filter), _limit(root.limit)
        ),
        "unreferenced": lambda asking, root, most: unreferenced(asking, root.unreferenced),
        "export": lambda asking, root, most: export(
            asking, root.export, root.state, root.path, root.name, _ids(root.ids)
        ),
    }


def _operations() -> Mapping[str, _Perform]:
    from runbook_engine.asynq import operations
    from runbook_engine.asynq.deleting import archive_task, delete_archived, delete_pending
    from runbook_engine.asynq.ghosts import drop_ghosts
    from runbook_engine.asynq.importing import import_jobs
    from runbook_engine.asynq.unreferenced import purge_unreferenced

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
        "purge_unreferenced": lambda asking, root, most: purge_unreferenced(
            asking, root.purge_unreferenced, _optional(root.apart, "apart") or 0.0, (root.path, root.export_as), most
        ),
        "drop_ghosts": lambda asking, root, most: drop_ghosts(asking, root.drop_ghosts, most),
        "archive_task": lambda asking, root, most: archive_task(asking, root.archive_task, _ids(root.ids) or [], most),
        "import_jobs": lambda asking, root, most: import_jobs(
            asking, root.import_jobs, root.state, (root.path, root.name), most
        ),
        "delete_pending": lambda asking, root, most: delete_pending(
            asking,
            root.delete_pending,
            root.state,
            _ids(root.ids),
            _count(root.oldest),
            (root.path, root.export_as),
            most,
        ),
        "delete_archived": lambda asking, root, most: (
            operations.delete_archived(asking, root.delete_archived, _ids(root.ids) or [], most)
            if root.export_as is None
            else delete_archived(asking, root.delete_archived, _ids(root.ids) or [], (root.path, root.export_as), most)
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


def _count(value: Any) -> int | None:
    if value is not None and (not str(value).isdecimal() or int(value) < 1):
        raise Refused(f"asynq: oldest is {value!r}; expected how many jobs, as a whole number from 1 on")
    return None if value is None else int(value)


def _ids(value: Any) -> list[str] | None:
    if isinstance(value, str):
        raise Refused(f"asynq: ids is the text {value!r}; expected a list of ids")
    return None if value is None else list(value)
