"""What the guide's own commands would conclude, taken literally: the baseline that a diagnosis has to beat.

One rule for each group of faults. It names the cause in the playbooks' words, or `healthy` where it sees nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psycopg
import redis

from .baseline import live_servers, probe_health
from .broker import connect_redis
from .postgres import connect_superuser
from .state import State

HEALTHY = "healthy"
SLOW = "select max(mean_exec_time) from pg_stat_statements"
# The guide's join: whoever holds any granted lock on a relation that somebody waits for is "the blocker".
BLOCKERS = """
select distinct blocking.pid from pg_locks blocked join pg_locks blocking
  on blocking.locktype = blocked.locktype and blocking.database is not distinct from blocked.database
 and blocking.relation is not distinct from blocked.relation and blocking.page is not distinct from blocked.page
 and blocking.pid <> blocked.pid
where not blocked.granted
"""
SESSIONS = "select count(*) from pg_stat_activity"


def conclude(state: State, group: str) -> str:
    """The answer of the guide's rule for this group; what it cannot even ask counts as `down`."""
    rule = RULES.get(group)
    if rule is None:
        return "none"
    try:
        return rule(state)
    except (redis.RedisError, psycopg.Error, OSError):
        return "down"


def backlog(state: State) -> str:
    """`LLEN asynq:{default}`: the key has not existed since asynq 0.18, so there is never a backlog."""
    with contextlib.closing(connect_redis(state)) as client:
        if client.llen("asynq:{default}") < 1000:
            return HEALTHY
    return "no-workers" if not live_servers(state) else "under-provisioned"


def crashes(state: State) -> str:
    """Containers that run are healthy."""
    return HEALTHY if live_servers(state) else "memory-leak"


def locks(state: State) -> str:
    """Right only when the one it would end is the only one it names."""
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        found = connection.execute(BLOCKERS).fetchall()
    return HEALTHY if not found else "idle-in-transaction" if len(found) == 1 else "several-blockers"


def latency(state: State) -> str:
    """`mean_exec_time` high: a slow query."""
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        (slowest,) = connection.execute(SLOW).fetchone()
    return "slow-query" if (slowest or 0) > 100 else HEALTHY


def pool(state: State) -> str:
    """More sessions than 80 % of max_connections, background processes counted: raise the pool."""
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        (count,) = connection.execute(SESSIONS).fetchone()
    return "client-side-starvation" if count > 24 else HEALTHY


def redis_answers(state: State) -> str:
    """PING says PONG: Redis is fine."""
    with contextlib.closing(connect_redis(state)) as client:
        client.ping()
    return HEALTHY


def scheduler(state: State) -> str:
    """`GET scheduler:leader` is not empty: a scheduler leads."""
    with contextlib.closing(connect_redis(state)) as client:
        return HEALTHY if client.get("scheduler:leader") else "no-scheduler"


def api(state: State) -> str:
    """The health check is green, or it is down: restart it."""
    status = probe_health(state)
    return HEALTHY if status == 200 else "down-clean" if status == 0 else "db-unreachable"


RULES: dict[str, Callable[[State], str]] = {
    "backlog": backlog,
    "crash": crashes,
    "locks": locks,
    "latency": latency,
    "pool": pool,
    "memory": redis_answers,
    "redis": redis_answers,
    "schedules": scheduler,
    "refused": api,
    "5xx": api,
}
