"""What a healthy sandbox looks like, waiting for it, and the way back to it. It looks from outside only."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import redis

from ..asynq.wire import decode_server_info
from ..errors import TargetError
from . import recovery
from .broker import QUEUES, connect_redis, key
from .cron import plan_schedules
from .history import write_counters
from .identifiers import row_id
from .knobs import KNOBS_FILE
from .postgres import connect_superuser
from .redis_care import restore_redis
from .releases import put_back
from .scheduler import LEADER
from .service import request
from .state import State
from .table_care import mend_role, mend_tables
from .timing import CONCURRENCY, SCHEDULERS, WORKERS
from .webhooks import create_group

CALM = 100  # pending jobs; the constant load alone never leaves that many

OURS = ("linkflow-api", "linkflow-worker", "linkflow-scheduler", "runbook-sandbox")
ADRIFT = """
select pg_terminate_backend(pid) from pg_stat_activity
where datname = 'linkflow' and backend_type = 'client backend' and pid <> pg_backend_pid() and usename = 'linkflow'
and (application_name <> all(%s) or wait_event_type = 'Lock' or state like 'idle in transaction%%')
"""
INVALID = """
select indexrelid::regclass::text from pg_index join pg_class on pg_class.oid = indexrelid
where not indisvalid and relnamespace = 'public'::regnamespace
"""
FORGET = """
delete from executions
where status in ('failed', 'running', 'timeout') and created_at > now() - interval '25 hours'
"""
OURS_AGAIN = "update schedules set is_active = true where starts_with(name, 'Schedule ') and id <> all(%s::uuid[])"
AS_PLANNED = "update schedules set is_active = id <> all(%s::uuid[]), deleted_at = null, last_run_at = null"
EMPTY = """
for _, name in ipairs(redis.call('keys', '*')) do
  if name ~= ARGV[1] and string.sub(name, 1, 13) ~= 'asynq:servers' and string.sub(name, 1, 13) ~= 'asynq:workers' then
    redis.call('unlink', name)
  end
end
"""
WAITING = "select count(*) from pg_stat_activity where datname = 'linkflow' and wait_event_type = 'Lock'"


@dataclass(frozen=True, slots=True)
class Facts:
    servers: int
    capacity: int
    pending: int
    leader: bool
    health: int
    waiting: int

    @property
    def healthy(self) -> bool:
        calm = self.pending <= CALM and self.waiting == 0
        return (
            calm
            and self.leader
            and self.health == 200
            and (self.servers, self.capacity) == (WORKERS, WORKERS * CONCURRENCY)
        )


def look(state: State) -> Facts:
    servers = live_servers(state)
    with contextlib.closing(connect_redis(state)) as client:
        pending = sum(client.llen(key(queue, "pending")) for queue in (*QUEUES, "emails"))
        leader = bool(client.exists(LEADER))
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        waiting = connection.execute(WAITING).fetchone()[0]
    return Facts(len(servers), sum(servers), pending, leader, probe_health(state), waiting)


def live_servers(state: State) -> list[int]:
    """The concurrency of every worker process whose heartbeat has not run out."""
    with contextlib.closing(connect_redis(state)) as client:
        names = client.zrangebyscore("asynq:servers", time.time(), "+inf")
        raws = [client.get(name) for name in names if isinstance(name, bytes)]
    return [decode_server_info(raw).concurrency for raw in raws if isinstance(raw, bytes)]


def probe_health(state: State) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", state.api_port, timeout=5)
    try:
        connection.request("GET", "/api/v1/health")
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def wait_healthy(state: State, timeout: float = 20.0) -> None:
    wait_until(lambda: look(state).healthy, "the sandbox to be healthy", timeout, lambda: look(state))


def wait_until(claim: Callable[[], Any], what: str, timeout: float, explain: Callable[[], Any] = lambda: "") -> Any:
    """The first true answer. Whoever is down answers nothing meanwhile."""
    deadline = time.monotonic() + timeout
    last: object = ""
    while time.monotonic() < deadline:
        try:
            if found := claim():
                return found
        except (redis.RedisError, psycopg.Error, OSError) as error:
            last = error
        time.sleep(0.05)
    with contextlib.suppress(redis.RedisError, psycopg.Error, OSError):
        last = explain()
    raise TargetError("timeout", f"waited {timeout:g} s for {what} in vain. {last}".strip())


def restore(state: State, log: Callable[[str], None]) -> None:
    from .faults import heal

    heal(state, None, log)
    (state.folder / KNOBS_FILE).unlink(missing_ok=True)
    release_holders(state)
    request(state, {"service": "postgres", "action": "start"})
    free_redis(state)
    recovery.restore(state)
    free_database(state)
    mend_tables(state)
    put_back(state)
    set_processes(state)
    empty_queues(state)
    forget_failures(state)
    repair_schedules(state)
    write_counters(state)
    wait_healthy(state)
    empty_logs(state)


def release_holders(state: State) -> None:
    for name in request(state, {"action": "overview"}):
        if name.startswith("holder-"):
            request(state, {"action": "release", "name": name})


def empty_logs(state: State) -> None:
    """As a log rotation would: what an earlier fault wrote is not evidence of the next one."""
    for log_file in (state.folder / "logs").glob("*.log"):
        os.truncate(log_file, 0)


def free_redis(state: State) -> None:
    """As it was started, whatever was done to it, and without a lock that would never be given up."""
    restore_redis(state)
    free_leader(state)


def free_leader(state: State, *, everything: bool = False) -> None:
    """Remove a lock that would never be given up; with `everything` also one that only has to run out."""
    with contextlib.closing(connect_redis(state)) as client:
        if everything or client.pttl(LEADER) == -1:
            client.delete(LEADER)


def free_database(state: State) -> None:
    """End sessions that hold or wait for what they should not, and drop what an interrupted index build left."""
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        connection.execute(ADRIFT, (list(OURS),))
        for (index,) in connection.execute(INVALID).fetchall():
            connection.execute(f"drop index {index}")
        connection.execute(OURS_AGAIN, (inactive(),))
        connection.execute("delete from schedules where not starts_with(name, 'Schedule ')")


def forget_failures(state: State) -> None:
    """Executions that failed, or that a killed worker has left running: who looks at the last hour would see them."""
    for _ in range(5):  # a worker may write the same rows just now, in another order
        with (
            connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection,
            contextlib.suppress(psycopg.errors.DeadlockDetected),
        ):
            connection.execute(FORGET)
            return


def repair_schedules(state: State) -> None:
    """As in the template, with the next times that LinkFlow would compute now. Who ran when is forgotten: the jobs may
    have been emptied away with the queues, and would be missed."""
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        connection.execute("delete from schedules where not starts_with(name, 'Schedule ')")
        connection.execute(AS_PLANNED, (inactive(),))
        connection.execute("update workflows set deleted_at = null, status = 'active' where deleted_at is not null")
        plan_schedules(connection)


def inactive() -> list[str]:
    return [row_id("schedule", number) for number in range(5)]


def set_processes(state: State) -> None:
    """The usual number of each, workers renewed when a fault's setting may still be in them."""
    overview = request(state, {"action": "overview"})
    capacity = sum(live_servers(state))
    for service, desired in (("worker", WORKERS), ("scheduler", SCHEDULERS), ("api", 1), ("load", 1)):
        request(state, {"service": service, "action": "replace", "after": None})
        if overview[service]["running"] != desired or overview[service]["desired"] != desired:
            request(state, {"service": service, "action": "scale", "replicas": desired})
    mend_role(state)
    mend_api(state)
    if capacity != WORKERS * CONCURRENCY and overview["worker"]["running"] == WORKERS:
        request(state, {"service": "worker", "action": "restart"})


def mend_api(state: State) -> None:
    """One that was stopped goes on; one that does not answer, or answers elsewhere, is started anew."""
    request(state, {"service": "api", "action": "signal", "signal": signal.SIGCONT})
    if probe_health(state) == 0:
        request(state, {"service": "api", "action": "restart"})


def empty_queues(state: State) -> None:
    """Every task of every queue, and whatever an action set aside; who lives and who leads stays.

    In one script: between two commands a worker would take an id whose message is already gone.
    """
    with contextlib.closing(connect_redis(state)) as client:
        client.eval(EMPTY, 0, LEADER)
        create_group(client)  # in LinkFlow a worker makes it when it starts, and not again
