"""Faults after which Redis refuses, waits or is not there (F100 and its letters), each with a word of its own."""

from __future__ import annotations

import contextlib
import shutil
import signal

import redis

from .baseline import wait_until
from .redis_care import connect_once, renew_redis, restore_redis
from .redis_server import data_folder, version_of
from .state import State
from .world import Act, Fault, World

LOADED_KEYS = 20_000
SCRIPT_SECONDS = 45
PAUSE_MS = 60_000
BUSY = """
local till = tonumber(redis.call('time')[1]) + tonumber(ARGV[1])
while tonumber(redis.call('time')[1]) < till do end
"""
FILL = """
local value = string.rep('x', 2000)
for n = 1, tonumber(ARGV[1]) do redis.call('set', 'execution:cache:' .. n, value) end
"""


def refusal(state: State) -> str:
    """The word with which a new client's write is refused, or nothing. Not answering is a word as well."""
    try:
        with contextlib.closing(connect_once(state, 0.5)) as client:
            client.set("rb:probe", "1", px=10)
    except redis.exceptions.TimeoutError:
        return "timeout"
    except redis.exceptions.AuthenticationError:
        return "auth"
    except (redis.RedisError, OSError) as error:
        return str(error) or type(error).__name__
    return ""


def wait_refused(world: World) -> None:
    wait_until(lambda: refusal(world.state), "Redis to refuse", 10)


def stop(world: World) -> None:
    world.act("redis", "stop")


def load_slowly(world: World) -> None:
    """Started anew over a data set that takes a while to read.

    A server that loads answers after every 2 MB; Redis 7 can be told to do so more often.
    """
    with world.redis() as client:
        client.config_set("rdbcompression", "no")
        client.eval(FILL, 0, LOADED_KEYS)
        client.save()
    world.act("redis", "kill", signal=signal.SIGKILL)
    often = ["loading-process-events-interval-bytes 65536"] if version_of(world.state.redis_binary) >= (7, 0) else []
    world.turn(redis_settings=[f"key-load-delay {int(world.between(950, 1150))}", *often])
    world.act("redis", "start")


def change_password(world: World) -> None:
    """Connections that are open stay so: only whoever comes anew is turned away."""
    with world.redis() as client:
        client.config_set("requirepass", f"{world.chance.getrandbits(64):016x}")


def take_connections(world: World) -> None:
    world.hold("F100d")
    with world.redis() as client:
        # The client that says so is one of them: when it goes, there is exactly no room.
        client.config_set("maxclients", int(client.info("clients")["connected_clients"]) - 1)


def lose_master(world: World) -> None:
    with world.redis() as client:
        client.replicaof("127.0.0.1", "1")  # nobody listens there: ports below 1024 are not given out


def lose_master_and_data(world: World) -> None:
    with world.redis() as client:
        client.config_set("replica-serve-stale-data", "no")
    lose_master(world)


def want_replicas(world: World) -> None:
    with world.redis() as client:
        client.config_set("min-replicas-to-write", world.chance.randint(1, 2))


def remove_folder(world: World) -> None:
    """As a disk that was unmounted: the next snapshot fails, and Redis takes no more writes."""
    shutil.rmtree(data_folder(world.state))
    with world.redis() as client:
        client.config_set("save", "3600 1")
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", "a failed snapshot", 5)


def run_script(world: World) -> None:
    with world.redis() as client:
        client.config_set("lua-time-limit", 100)
    world.hold("F100i")


def stand_still(world: World) -> None:
    world.signal("redis", signal.SIGSTOP)


def pause_writes(world: World) -> None:
    """What a failover does while it hands over, and then died halfway."""
    with world.redis() as client:
        client.client_pause(PAUSE_MS, all=False)


def mend(world: World) -> None:
    world.release("F100d")
    world.release("F100i")
    world.turn(redis_settings=())
    if refusal(world.state) in ("", "timeout"):
        world.signal("redis", signal.SIGCONT)
    restore_redis(world.state)


def mend_anew(world: World) -> None:
    """A server that cannot be told to go on as before."""
    world.release("F100i")
    world.turn(redis_settings=())
    renew_redis(world.state)
    restore_redis(world.state)


def connection(
    letter: str,
    title: str,
    imitates: str,
    expect: str,
    inject: Act,
    *helps: str,
    heal: Act = mend,
) -> Fault:
    def inject_and_wait(world: World) -> None:
        inject(world)
        wait_refused(world)

    harmful = tuple(action for action in ("restart-redis", "promote", "kill-script") if action not in helps)
    id_ = f"F100{letter}"
    return Fault(
        id_, title, "redis", imitates, "redis-connection-issues", (expect,), helps, harmful, inject_and_wait, heal
    )


FAULTS: tuple[Fault, ...] = (
    connection("a", "Redis is stopped", "somebody stopped it for a change and left", "down", stop, "start-redis"),
    connection(
        "b",
        "Redis reads its data set",
        "it was restarted, and its data set is large",
        "loading",
        load_slowly,
        "wait-for-loading",
        heal=mend_anew,
    ),
    connection("c", "The password was changed", "a rotation reached Redis and not LinkFlow", "auth", change_password),
    connection(
        "d",
        "Every connection is taken",
        "a job leaks a connection each time it runs",
        "too-many-clients",
        take_connections,
        "raise-maxclients",
        "close-idle-clients",
        "make-room",
    ),
    connection(
        "e", "Redis is a replica of nobody", "a failover went halfway", "readonly-replica", lose_master, "promote"
    ),
    connection(
        "f",
        "A replica that will not serve old data",
        "its master is gone, and replica-serve-stale-data is off",
        "masterdown",
        lose_master_and_data,
        "promote",
    ),
    connection(
        "g",
        "Too few replicas",
        "the replica was taken away, min-replicas-to-write stayed",
        "min-replicas",
        want_replicas,
        "lower-min-replicas",
    ),
    connection(
        "h",
        "Snapshots fail",
        "the disk that holds the snapshots is gone",
        "persist-failing",
        remove_folder,
        "allow-writes",
        heal=mend_anew,
    ),
    connection(
        "i",
        "A script runs without end",
        "somebody's report walks over every key in one Lua script",
        "busy-script",
        run_script,
        "kill-script",
        heal=mend_anew,
    ),
    connection(
        "j",
        "Redis stands still",
        "its process is stopped by a debugger that somebody left",
        "hung",
        stand_still,
        "restart-redis",
    ),
    connection(
        "k",
        "Writes are paused",
        "a tool paused the clients for a failover, and died",
        "writes-paused",
        pause_writes,
        "unpause-writes",
    ),
)
