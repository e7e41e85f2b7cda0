"""What may stand under `asynq:`, one shape for each look and operation. Pure: validates, and asks nobody.

Values may still be templates; what they have to be once they are rendered is checked by who carries them out.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, StrictFloat, StrictInt, StrictStr

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


class Deaths(_Strict):
    """`since`: seconds back; without it as far as the sample goes."""

    deaths: StrictStr
    since: Number | None = None


class Outcomes(_Strict):
    """`since`: unix seconds; a job archived after it has failed again."""

    outcomes: StrictStr
    ids: Ids
    since: Number | None = None


class Export(_Strict):
    """`path`: a folder, without it `exports` in the user's state folder; `name`: of the file, the moment without it."""

    export: StrictStr
    state: StrictStr = "archived"
    path: StrictStr | None = None
    name: StrictStr | None = None
    ids: Ids | None = None


class Unreferenced(_Strict):
    """Task hashes that nothing holds."""

    unreferenced: StrictStr


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


class PurgeUnreferenced(_Strict):
    """`export_as` names their copy, `path` its folder; `apart`: seconds between the two looks that must agree."""

    purge_unreferenced: StrictStr
    export_as: StrictStr
    path: StrictStr | None = None
    apart: Number = 60


class DropGhosts(_Strict):
    drop_ghosts: StrictStr


class ArchiveTask(_Strict):
    archive_task: StrictStr
    ids: Ids


class DeletePending(_Strict):
    """`state`: pending, or rbq:NAME for what a quarantine holds. `export_as` names the file written first."""

    delete_pending: StrictStr
    state: StrictStr = "pending"
    ids: Ids | None = None
    oldest: Number | None = None
    export_as: StrictStr
    path: StrictStr | None = None


class DeleteArchived(_Strict):
    """With `export_as` they are written into a file of that name first."""

    delete_archived: StrictStr
    ids: Ids
    export_as: StrictStr | None = None
    path: StrictStr | None = None


class ImportJobs(_Strict):
    """`name` is that of the export: the files it has left hold what is put back."""

    import_jobs: StrictStr
    state: StrictStr = "archived"
    name: StrictStr
    path: StrictStr | None = None
