"""What LinkFlow's API does to one schedule: pause and resume. Resuming computes the next time anew.

It changes the row and nothing else; sending jobs is the scheduler's.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from .cron import next_run

PATH = re.compile(r"/api/v1/workspaces/([0-9a-f-]{36})/schedules/([0-9a-f-]{36})/(pause|resume)")
FIND = "select cron_expression from schedules where workspace_id = %s and id = %s and deleted_at is null"
PAUSE = "update schedules set is_active = false, updated_at = now() where id = %s"
RESUME = "update schedules set is_active = true, next_run_at = %s, updated_at = now() where id = %s"


def change(connection: Any, path: str) -> dict[str, Any] | None:
    """The schedule as it is now; None when the path names none. A cron line that cannot be read is a ValueError."""
    asked = PATH.fullmatch(path)
    if asked is None:
        return None
    workspace, schedule, word = asked.groups()
    row = connection.execute(FIND, [workspace, schedule]).fetchone()
    if row is None:
        return None
    if word == "pause":
        connection.execute(PAUSE, [schedule])
        return {"id": schedule, "is_active": False}
    coming = next_run(row[0], datetime.now(UTC))
    connection.execute(RESUME, [coming, schedule])
    return {"id": schedule, "is_active": True, "next_run_at": coming.isoformat()}
