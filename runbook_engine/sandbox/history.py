"""The day before: a platform that has run for a while has executions and daily counters that say what is usual."""

from __future__ import annotations

import contextlib
import time

from .broker import connect_redis, key
from .postgres import connect_superuser
from .state import State
from .timing import JOBS_PER_SECOND, Timing

DAY = 86400
EXECUTIONS = """
insert into executions (workflow_id, workspace_id, status, trigger_type, queued_at, started_at, completed_at,
                        nodes_total, nodes_completed, created_at)
select md5('workflow-' || n %% 200)::uuid, md5('workspace-' || n %% 20)::uuid, 'completed', 'webhook', at,
       at + interval '1 ms', at + interval '1 ms' + make_interval(secs => %(job)s * (0.7 + 0.6 * random())), 2, 2, at
from (select n, now() - interval '20 minutes' - n * interval '100 seconds' as at from generate_series(1, 800) n) day
"""


def write_history(state: State) -> None:
    """Eight hundred executions of the last day, and yesterday's count of jobs, both at this sandbox's pace."""
    job = Timing(state.pace).job
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        # What the template holds was made at pace 1, and at some other day.
        connection.execute("delete from executions where created_at > now() - interval '25 hours'")
        connection.execute(EXECUTIONS, {"job": job})
    write_counters(state)


def write_counters(state: State) -> None:
    """Yesterday's count of jobs. Also after the queues were emptied: what was usual does not change by that."""
    yesterday = time.strftime("%Y-%m-%d", time.gmtime(time.time() - DAY))
    with contextlib.closing(connect_redis(state)) as client:
        client.set(key("default", f"processed:{yesterday}"), int(JOBS_PER_SECOND / state.pace * DAY), ex=89 * DAY)
        client.set(key("default", f"failed:{yesterday}"), 120, ex=89 * DAY)
