"""Faults after which the API refuses, hangs or answers with errors (F01 to F16). Each shows before it counts as in."""

from __future__ import annotations

import contextlib
import signal
import socket
import time

from ..errors import TargetError
from .baseline import mend_api, probe_health, wait_until
from .redis_care import restore_redis
from .releases import deploy, withdraw
from .supervisor import free_ports
from .world import Act, Fault, World

ENOUGH_REQUESTS = 110  # before a share of errors means anything
WAITS_FOR_LOCK = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query ilike 'alter table%'"
END_SESSIONS = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'linkflow-api'"


def stop_api(world: World) -> None:
    world.act("api", "stop")
    wait_silent(world)


def start_api(world: World) -> None:
    world.act("api", "start")


def squat(world: World) -> None:
    """Somebody else has the port; the API was started once more, and could not open it."""
    world.act("api", "stop")
    world.hold("F02")
    with contextlib.suppress(TargetError):
        world.act("api", "start")


def evict(world: World) -> None:
    world.release("F02")
    start_api(world)


def move_api(world: World) -> None:
    world.turn(api_port=free_ports(1)[0])
    world.act("api", "restart")
    wait_silent(world)


def move_back(world: World) -> None:
    world.turn(api_port=None)
    world.act("api", "restart")


def freeze(world: World) -> None:
    world.signal("api", signal.SIGSTOP)


def thaw(world: World) -> None:
    mend_api(world.state)


def crash_loop(world: World) -> None:
    """PostgreSQL is gone, and whatever watches over the API starts it again and again."""
    before = world.act("api", "status")["restarts"]
    world.act("postgres", "stop")
    world.act("api", "replace", after=max(world.between(2, 4) * world.state.pace, 0.3))
    world.act("api", "kill", signal=signal.SIGKILL)
    wait_until(lambda: world.act("api", "status")["restarts"] >= before + 2, "the API to crash again", 15)


def end_crash_loop(world: World) -> None:
    world.act("postgres", "start")
    world.act("api", "replace", after=None)
    start_api(world)


def block_migration(world: World) -> None:
    world.hold("F06")
    renew_api(world)
    with world.database() as connection:
        wait_until(lambda: connection.execute(WAITS_FOR_LOCK).fetchone()[0], "the migration to wait", 10)


def free_migration(world: World) -> None:
    world.release("F06")
    wait_until(lambda: probe_health(world.state) == 200, "the API to listen", 15)


def renew_api(world: World) -> None:
    """A new process that nobody waits for, as a watchdog would start it."""
    world.act("api", "replace", after=0.05)
    world.act("api", "kill", signal=signal.SIGTERM)
    wait_until(lambda: world.act("api", "status")["running"], "the new API process", 10)
    world.act("api", "replace", after=None)


def deafen(world: World) -> None:
    world.turn(deaf_before=time.time() + 60)
    renew_api(world)
    wait_until(lambda: is_deaf(world), "connections to be dropped", 15)
    world.turn(deaf_before=time.time())


def is_deaf(world: World) -> bool:
    """Not refused, and not accepted."""
    try:
        with socket.create_connection(("127.0.0.1", world.state.api_port), 0.5):
            return False
    except TimeoutError:
        return True
    except OSError:
        return False


def hear(world: World) -> None:
    world.turn(deaf_before=0.0)
    world.act("api", "restart")


def stop_postgres(world: World) -> None:
    world.act("postgres", "stop")


def start_postgres(world: World) -> None:
    world.act("postgres", "start")


def stop_redis(world: World) -> None:
    world.act("redis", "stop")


def start_redis(world: World) -> None:
    world.act("redis", "start")


def fill_redis(world: World) -> None:
    """Far below what is used: what janitors may still delete does not make room."""
    with world.redis() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * world.between(0.3, 0.5)))


def demote_redis(world: World) -> None:
    with world.redis() as client:
        client.replicaof("127.0.0.1", str(free_ports(1)[0]))


def mend_redis(world: World) -> None:
    restore_redis(world.state)


def take_slots(world: World) -> None:
    """The API renews its connections now and then; there is none to be had any more."""
    world.hold("F14")

    def api_left_out() -> bool:
        with world.database() as connection:
            had_some = connection.execute(END_SESSIONS).fetchall()
        return probe_health(world.state) == 503 and not had_some

    wait_until(api_left_out, "the API to get no connection", 15)


def give_slots(world: World) -> None:
    world.release("F14")


def panic(world: World) -> None:
    deploy(world, "api", bug=True)


def mend_code(world: World) -> None:
    withdraw(world, "api")


def fail_downstream(world: World) -> None:
    world.hold("F16")


def forget_downstream(world: World) -> None:
    world.turn(downstream=None)
    world.release("F16")


def wait_silent(world: World) -> None:
    wait_until(lambda: probe_health(world.state) == 0, "the port to be closed", 10)


def wait_failing(world: World) -> None:
    wait_until(lambda: is_failing(world), "requests to fail", 10 + 40 * world.state.pace)


def is_failing(world: World) -> bool:
    lines = world.state.log_file("api").read_text(errors="replace").splitlines()
    done = [line for line in lines if '"request completed"' in line]
    return len(done) >= ENOUGH_REQUESTS and sum('"status": 5' in line for line in done) >= 8


def refused(
    id_: str,
    title: str,
    imitates: str,
    expect: tuple[str, ...],
    acts: tuple[Act, Act],
    *,
    helps: tuple[str, ...] = (),
    harmful: tuple[str, ...] = (),
) -> Fault:
    return Fault(id_, title, "refused", imitates, "connection-refused", expect, helps, harmful, *acts)


def failing(
    id_: str,
    title: str,
    imitates: str,
    expect: tuple[str, ...],
    acts: tuple[Act, Act],
    *,
    helps: tuple[str, ...] = (),
    harmful: tuple[str, ...] = (),
) -> Fault:
    def inject(world: World) -> None:
        acts[0](world)
        wait_failing(world)

    return Fault(id_, title, "5xx", imitates, "high-error-rate", expect, helps, harmful, inject, acts[1])


STARTING = ("start-api", "restart-api", "start-postgres", "start-redis")

FAULTS = (
    refused(
        "F01",
        "The API is stopped",
        "a deploy stopped it and did not start the new one",
        ("down-clean",),
        (stop_api, start_api),
        helps=("start-api",),
        harmful=("restart-api", "start-postgres", "start-redis"),
    ),
    refused(
        "F02",
        "Another program has the API's port",
        "somebody started a web server of their own on 8090 while the API was down",
        ("port-conflict",),
        (squat, evict),
        harmful=STARTING,
    ),
    refused(
        "F03",
        "The API listens on another port",
        "PORT is set in its environment, or it did not find its configuration and took its default",
        ("wrong-port",),
        (move_api, move_back),
        harmful=STARTING,
    ),
    refused(
        "F04",
        "The API hangs",
        "every goroutine waits, or somebody stopped the process: connections are accepted and nothing answers",
        ("hung",),
        (freeze, thaw),
        helps=("restart-api",),
        harmful=("start-api", "start-postgres", "start-redis"),
    ),
    refused(
        "F05",
        "The API crashes as PostgreSQL is down",
        "it exits when it cannot connect, and is started again and again",
        ("crash-loop-database",),
        (crash_loop, end_crash_loop),
        helps=("start-postgres",),
        harmful=("start-api", "restart-api", "start-redis"),
    ),
    refused(
        "F06",
        "The API waits for a lock before it listens",
        "its migration stands behind a forgotten transaction",
        ("migration-blocked",),
        (block_migration, free_migration),
        harmful=STARTING,
    ),
    refused(
        "F08",
        "The API accepts no connection",
        "its accept loop is stuck, and its backlog is full",
        ("hung", "network-path"),
        (deafen, hear),
        helps=("restart-api",),
        harmful=("start-api", "start-postgres", "start-redis"),
    ),
    failing(
        "F10",
        "PostgreSQL is down",
        "its process ended, and nothing started it again",
        ("db-unreachable",),
        (stop_postgres, start_postgres),
        helps=("start-postgres",),
        harmful=("start-redis",),
    ),
    failing(
        "F11",
        "Redis is down",
        "its process ended, and nothing started it again",
        ("redis-unavailable",),
        (stop_redis, start_redis),
        helps=("start-redis",),
        harmful=("start-postgres",),
    ),
    failing(
        "F12",
        "Redis is full, and the API says that it is healthy",
        "maxmemory is reached: PING answers, every write is refused",
        ("redis-full",),
        (fill_redis, mend_redis),
        harmful=("start-postgres", "start-redis"),
    ),
    failing(
        "F13",
        "Redis has become a read-only replica",
        "a failover made another server the master, and the API still talks to this one",
        ("redis-refuses-writes",),
        (demote_redis, mend_redis),
        harmful=("start-postgres", "start-redis"),
    ),
    failing(
        "F14",
        "Every connection of PostgreSQL is taken",
        "a report opens connections and never gives one back",
        ("db-slots-exhausted",),
        (take_slots, give_slots),
        harmful=("start-postgres", "start-redis"),
    ),
    failing(
        "F15",
        "A release panics in one route",
        "a nil pointer in the handler of the newest image",
        ("bad-deploy", "panic-route"),
        (panic, mend_code),
        harmful=("start-postgres", "start-redis"),
    ),
    failing(
        "F16",
        "A service that workflows call fails",
        "an integration answers 503 or not at all",
        ("downstream-failure",),
        (fail_downstream, forget_downstream),
        harmful=("start-postgres", "start-redis"),
    ),
)
