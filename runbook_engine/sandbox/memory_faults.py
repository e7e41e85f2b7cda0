"""Faults after which Redis is full (F90 to F98). Each fills it with one kind of key, and then the limit is reached."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace

import redis

from ..asynq.wire import encode_task_message
from .baseline import live_servers, wait_until
from .broker import key
from .timing import MAXMEMORY, Timing
from .webhooks import GROUP, STREAM, entry
from .world import Act, Fault, World

DAY = 86400
BATCH = 5000
PADDING = 700  # bytes of a task's input, as workflows have them

# KEYS the list or set that holds the jobs, or none. ARGV prefix of the task hashes, message before and after its id,
# state, first half of the ids, first number, count, lowest score, highest score, unix ns
FILL = """
local before, after, state, half = ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local first, count, low, high = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
for n = first, first + count - 1 do
  local id = string.format('%s%012d', half, n)
  redis.call('hset', ARGV[1] .. id, 'msg', before .. id .. after, 'state', state)
  if state == 'pending' then
    redis.call('hset', ARGV[1] .. id, 'pending_since', ARGV[10])
    redis.call('lpush', KEYS[1], id)
  elseif KEYS[1] then
    redis.call('zadd', KEYS[1], string.format('%.0f', low + (high - low) * (n - first) / count), id)
  end
end
"""
CACHE = """
local value = string.rep('x', tonumber(ARGV[3]))
for n = tonumber(ARGV[1]), tonumber(ARGV[1]) + tonumber(ARGV[2]) - 1 do
  redis.call('set', 'session:cache:' .. n, value)
end
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs of one state; `held` says whether the list or set of that state holds them. Scores are unix times."""

    state: str
    held: bool = True
    low: float = 0.0
    high: float = 0.0


def fill(world: World, kind: Kind, count: int, padding: int = PADDING) -> None:
    """That many jobs of the default queue as asynq would have left them, written by the server itself."""
    half = f"{world.chance.getrandbits(32):08x}-{world.chance.getrandbits(16):04x}-4000-8000-"
    mark = f"{half}{0:012d}"
    plain = world.message(id=mark)
    payload = {**json.loads(plain.payload), "input_data": {"rows": "x" * padding}}
    before, after = encode_task_message(replace(plain, payload=json.dumps(payload).encode())).split(mark.encode())
    keys = [key("default", kind.state)] if kind.held else []
    with world.redis() as client:
        script = client.register_script(FILL)
        for first in range(0, count, BATCH):
            part = (first, min(BATCH, count - first), kind.low, kind.high, time.time_ns())
            script(keys, [key("default", "t:"), before, after, kind.state, half, *part])
    world.log(f"{count} {kind.state} jobs{'' if kind.held else ' that nothing holds'}")


def reach_limit(world: World, low: float = 0.93, high: float = 0.96) -> None:
    """The limit a little below what is used: what workers and janitors may still remove does not make room."""
    with world.redis() as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * world.between(low, high)))
        wait_until(lambda: refuses(client), "Redis to refuse writes", 5)


def refuses(client: redis.Redis) -> bool:
    try:
        client.set("rb:full", "1", px=10)
    except redis.exceptions.OutOfMemoryError:
        return True
    return False


def keep_results(world: World) -> None:
    """LinkFlow keeps what a job returned for a day; at this pace a day is as much shorter as everything else."""
    now, day = time.time(), DAY * world.state.pace
    fill(world, Kind("completed", low=now + 0.02 * day, high=now + day), world.chance.randint(36_000, 42_000))
    reach_limit(world)


def stop_janitors(world: World) -> None:
    """Only a worker removes what has expired."""
    world.act("worker", "stop")
    now = time.time()
    fill(world, Kind("completed", low=now - 600, high=now - 1), world.chance.randint(36_000, 42_000))
    reach_limit(world)


def leak_sessions(world: World) -> None:
    count, size = world.chance.randint(18_000, 22_000), world.chance.randint(1900, 2100)
    with world.redis() as client:
        script = client.register_script(CACHE)
        for first in range(0, count, BATCH):
            script([], [first, min(BATCH, count - first), size])
    world.log(f"{count} sessions of {size} bytes that never expire")
    reach_limit(world)


def flood_stream(world: World) -> None:
    """Entries that were all taken and acknowledged, and that nobody has ever removed."""
    count = world.chance.randint(14_000, 17_000)
    with world.redis() as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(count):
            pipe.xadd(STREAM, entry(world.chance, 1500))
            if len(pipe) >= 1000:
                pipe.execute()
        pipe.execute()
        wait_until(lambda: not client.xreadgroup(GROUP, "faults", {STREAM: ">"}, count=2000, noack=True), "readers", 20)
    world.log(f"{count} webhooks of 1.5 kB in {STREAM}")
    reach_limit(world)


def pile_up_payloads(world: World) -> None:
    fill(world, Kind("pending"), world.chance.randint(28_000, 33_000))
    reach_limit(world)


def fail_for_good(world: World) -> None:
    now = time.time()
    fill(world, Kind("archived", low=now - 3 * DAY, high=now - 60), world.chance.randint(9_000, 9_900), 4 * PADDING)
    reach_limit(world)


def lose_hashes(world: World) -> None:
    """As asynq 0.24 leaves them when it trims its archive."""
    fill(world, Kind("archived", held=False), world.chance.randint(27_000, 32_000))
    reach_limit(world)


def shrink_limit(world: World) -> None:
    """Far below what an ordinary day takes; the records that expire meanwhile do not make room for long."""
    reach_limit(world, 0.4, 0.5)
    world.wait_no_servers()


def evict(world: World) -> None:
    world.pile_up(3000, 3500)
    with world.redis() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] * world.between(0.6, 0.7)))
        wait_until(lambda: client.info("stats")["evicted_keys"] > 500, "evictions", 10)


def relax(world: World) -> None:
    with world.redis() as client:
        client.config_set("maxmemory", MAXMEMORY)
        client.config_set("maxmemory-policy", "noeviction")


def remove_jobs(*states: str) -> Act:
    """Room first, then away with what was filled in."""

    def heal(world: World) -> None:
        relax(world)
        with world.redis() as client:
            ids = [name for name in client.scan_iter(key("default", "t:*"), count=5000) if b"-4000-8000-" in name]
            for start in range(0, len(ids), 2000):
                client.unlink(*ids[start : start + 2000])
            for state in states:
                client.unlink(key("default", state))
        wait_workers(world)

    return heal


def start_workers(world: World) -> None:
    remove_jobs("completed")(world)
    world.act("worker", "start")


def remove_sessions(world: World) -> None:
    relax(world)
    with world.redis() as client:
        names = list(client.scan_iter("session:cache:*", count=5000))
        for start in range(0, len(names), 2000):
            client.unlink(*names[start : start + 2000])
    wait_workers(world)


def trim_stream(world: World) -> None:
    relax(world)
    with world.redis() as client:
        client.xtrim(STREAM, maxlen=100, approximate=False)
    wait_workers(world)


def wait_workers(world: World) -> None:
    """Those that run are seen again once they can write their heartbeat."""
    if world.act("worker", "status")["running"]:
        wait_until(
            lambda: live_servers(world.state), "the workers' heartbeats", 5 + 2 * Timing(world.state.pace).heartbeat
        )


BRIDGE = ("raise-maxmemory",)
NEVER = ("purge-prefix", "trim-stream", "purge-unreferenced", "delete-archived")


def memory(
    id_: str,
    title: str,
    imitates: str,
    expect: str,
    inject: Act,
    heal: Act,
    *helps: str,
) -> Fault:
    harmful = tuple(action for action in NEVER if action not in helps)
    return Fault(id_, title, "memory", imitates, "redis-memory-full", (expect,), helps, harmful, inject, heal)


FAULTS: tuple[Fault, ...] = (
    memory(
        "F90",
        "Finished jobs fill Redis",
        "every result is kept for a day, and the days have become busier",
        "completed-retention",
        keep_results,
        remove_jobs("completed"),
        "purge-completed",
        *BRIDGE,
    ),
    memory(
        "F91",
        "Expired jobs are not removed",
        "the workers, who remove what has expired, have been stopped",
        "completed-retention",
        stop_janitors,
        start_workers,
        "start-workers",
        "purge-expired",
        *BRIDGE,
    ),
    memory(
        "F92",
        "Sessions that never expire",
        "a new release writes session:cache:* without a time to live",
        "nonqueue-leak",
        leak_sessions,
        remove_sessions,
        "purge-prefix",
        *BRIDGE,
    ),
    memory(
        "F93",
        "The stream of webhooks is never trimmed",
        "a hundred thousand webhooks, all of them processed, stay in stream:webhooks",
        "stream-backlog",
        flood_stream,
        trim_stream,
        "trim-stream",
        *BRIDGE,
    ),
    memory(
        "F94",
        "Waiting jobs fill Redis",
        "a customer imports everything at once, with large inputs",
        "queue-backlog-memory",
        pile_up_payloads,
        remove_jobs("pending"),
        *BRIDGE,
    ),
    memory(
        "F95",
        "Task hashes that nothing holds",
        "asynq 0.24 trims its archive and leaves the jobs' hashes behind",
        "orphan-hashes",
        lose_hashes,
        remove_jobs(),
        "purge-unreferenced",
        *BRIDGE,
    ),
    memory(
        "F96",
        "Failed jobs with large payloads",
        "an integration failed for days; every job of it is kept for ninety",
        "archived-payloads",
        fail_for_good,
        remove_jobs("archived"),
        "delete-archived",
        *BRIDGE,
    ),
    memory(
        "F97",
        "The limit is too low",
        "somebody took a configuration of a small machine over",
        "limit-too-low",
        shrink_limit,
        relax,
        *BRIDGE,
    ),
    memory(
        "F98",
        "Redis evicts jobs",
        "somebody followed the guide and set allkeys-lru",
        "evicting",
        evict,
        relax,
        "stop-evicting",
        "set-noeviction",
    ),
)
