"""Brings the sandbox's Redis back to what it was started as, whatever a fault or a fix has done to it.

It must never keep a server that cannot be asked: such a one is ended and started anew, empty.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .broker import connect_redis
from .redis_server import data_folder
from .service import request
from .state import State
from .timing import MAXMEMORY
from .webhooks import create_group

# What may have been set while it runs, each with the value of a clean start.
CLEAN = {
    "maxmemory": str(MAXMEMORY),
    "maxmemory-policy": "noeviction",
    "maxclients": "10000",
    "save": "",
    "min-replicas-to-write": "0",
    "replica-serve-stale-data": "yes",
    "stop-writes-on-bgsave-error": "yes",
    "lua-time-limit": "5000",
    "activedefrag": "no",
}


def connect_once(state: State, timeout: float) -> redis.Redis:
    """A client that takes the first answer: redis-py would ask a server that loads again and again, for seconds."""
    return redis.Redis(
        host="127.0.0.1",
        port=state.redis_port,
        password=state.passwords["redis"],
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
    )


def restore_redis(state: State) -> None:
    """Clean settings where they can still be given, a fresh server where they cannot."""
    request(state, {"service": "redis", "action": "start"})
    if not _cleaned(state):
        renew_redis(state)
    with contextlib.closing(connect_redis(state)) as client:
        create_group(client)


def renew_redis(state: State) -> None:
    """Another process, with nothing in it. Not asked to stop: it may hang, load, or run a script without end."""
    request(state, {"service": "redis", "action": "kill", "signal": signal.SIGKILL})
    for dump in data_folder(state).glob("*"):
        dump.unlink()
    request(state, {"service": "redis", "action": "start"})


def _cleaned(state: State) -> bool:
    try:
        with contextlib.closing(connect_once(state, 1.0)) as client:
            client.client_unpause()
            client.replicaof("no", "one")
            for name, value in CLEAN.items():
                _set(client, name, value)
            return _healthy(client, state)
    except (redis.RedisError, OSError):
        return False


def _set(client: redis.Redis, name: str, value: str) -> None:
    """Only what differs: not every build of Redis takes every setting."""
    found = client.config_get(name)
    if name in found and found[name] != value:
        client.config_set(name, value)


def _healthy(client: redis.Redis, state: State) -> bool:
    facts = client.info("persistence")
    same_folder = data_folder(state).exists() and _folder_of(client).exists()
    return bool(facts["rdb_last_bgsave_status"] == "ok" and not facts["loading"] and same_folder)


def _folder_of(client: redis.Redis) -> Path:
    """Where the process itself stands: a folder that was removed has no name any more."""
    return Path(os.readlink(f"/proc/{client.info('server')['process_id']}/cwd"))
