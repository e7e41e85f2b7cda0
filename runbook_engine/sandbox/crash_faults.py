"""Faults after which workers crash, jobs are lost, or jobs fail (F39, F45, F50 to F54, F60 to F62).

Each leaves the machine in peace: what eats memory ends itself early, what eats a core does so politely and for a while.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import redis

from ..asynq.wire import TaskMessage, encode_task_message
from ..errors import TargetError
from .baseline import live_servers, wait_until
from .broker import ARCHIVE_SIZE, LEASE_EXPIRED, key
from .identifiers import WORKFLOWS, row_id
from .timing import MAXMEMORY, WORKERS
from .world import Act, Fault, World

BATCH = 500
LARGE = 5 << 20
ROOM = 96 << 20
LEAK = 1 << 18
DENIED = "401 Unauthorized: invalid_grant: token has been expired or revoked"
GONE = "Workflow not found"
OVERLOADED = 'Post "https://crm.example.com/v2/leads": unexpected status code: 503'
POLICY = "maxmemory-policy"


def evict_jobs(world: World) -> None:
    """As an operator who reads that allkeys-lru helps against a full Redis: it throws jobs away, their ids stay."""
    with world.redis() as client:
        for _ in range(5):
            world.pile_up(4500, 5000)
            time.sleep(1.2)  # LRU counts in seconds: what is in use must look younger than what waits
            evict(client, world.between(0.25, 0.35))
            if client.llen(key("default", "pending")) > BATCH:
                break  # else the list of waiting ids was evicted as well, and nothing would be seen of it
        wait_until(lambda: missing_share(client) > 0.1, "ids without a job", 5)
    world.wait_pending()


def evict(client: redis.Redis, wanted: float) -> None:
    """Less and less memory, until that share of the oldest jobs is gone."""
    client.config_set(POLICY, "allkeys-lru")
    used = client.info("memory")["used_memory"]
    for share in range(80, 20, -5):
        client.config_set("maxmemory", int(used * share / 100))
        if missing_share(client) >= wanted or not client.llen(key("default", "pending")):
            break
    client.config_set("maxmemory", MAXMEMORY)


def missing_share(client: redis.Redis) -> float:
    """How many of the oldest waiting ids have lost their job."""
    ids = [job.decode() for job in client.lrange(key("default", "pending"), -200, -1) if isinstance(job, bytes)]
    pipe = client.pipeline(transaction=False)
    for job in ids:
        pipe.hexists(key("default", f"t:{job}"), "msg")
    there = pipe.execute()
    return there.count(False) / len(there) if there else 0.0


def keep_jobs(world: World) -> None:
    with world.redis() as client:
        client.config_set("maxmemory", MAXMEMORY)
        client.config_set(POLICY, "noeviction")


def lose_leases(world: World) -> None:
    """The workers are killed at work and come back; the leases of what they held are gone, as after a failover."""
    world.pile_up(500, 600)
    with world.redis() as client:
        wait_until(lambda: client.llen(key("default", "active")) >= 4, "busy workers", 10)
        kill_and_replace(world, 0.3)
        client.delete(key("default", "lease"))
    wait_until(lambda: world.act("worker", "status")["running"] == WORKERS, "new workers", 10)
    world.act("worker", "replace", after=None)
    time.sleep(world.timing.server_ttl)  # until then the dead still say that they hold them
    wait_until(lambda: len(live_servers(world.state)) == WORKERS, "their heartbeats", 5)
    with world.redis() as client:
        assert client.llen(key("default", "active")) > 0


def kill_and_replace(world: World, after: float) -> None:
    world.act("worker", "replace", after=after)
    world.act("worker", "kill", signal=signal.SIGKILL)


def keep_replacing(world: World) -> None:
    """Whoever ends is started again, as a container runtime does."""
    world.act("worker", "replace", after=max(world.state.pace, 0.3) * world.between(0.8, 1.2))


def kills_noted_before(world: World, count: int, **fields: Any) -> list[TaskMessage]:
    """Jobs of one workflow that have already cost a worker each: asynq has noted it, and tries them again."""
    workflow = world.chance.randrange(WORKFLOWS)
    noted: dict[str, Any] = {"retried": 1, "error_msg": LEASE_EXPIRED, "last_failed_at": int(time.time())}
    return [world.message(workflow=workflow, **noted, **fields) for _ in range(count)]


def take_next(world: World, messages: list[TaskMessage]) -> None:
    """Straight to the end of the queue from which workers take, as what a stopping worker gives back."""
    time.sleep(0.1)  # workers look at their knobs 20 times a second
    with world.redis() as client:
        pipe = client.pipeline(transaction=True)
        for message in messages:
            fields: dict[Any, Any] = {
                "msg": encode_task_message(message),
                "state": "pending",
                "pending_since": time.time_ns(),
            }
            pipe.hset(key("default", f"t:{message.id}"), mapping=fields)
            pipe.rpush(key("default", "pending"), message.id)
        pipe.execute()


def wait_crashes(world: World, count: int) -> None:
    wait_until(
        lambda: world.act("worker", "status")["restarts"] >= count, f"{count} crashes", 10 + 20 * world.state.pace
    )


def send_large(world: World) -> None:
    """One customer's import: every attempt makes many copies of five megabytes."""
    keep_replacing(world)
    world.turn(memory_room=LARGE * 8)
    filler = "x" * round(LARGE * world.between(0.9, 1.1))
    trigger = {"type": "api", "data": {"rows": filler}}
    take_next(world, kills_noted_before(world, 2, trigger=trigger))
    wait_crashes(world, 1)
    time.sleep(world.timing.server_ttl)  # until then the dead still say that they hold them


def leak_memory(world: World) -> None:
    """Whatever the job, a little stays behind. The workers that run have been leaking for a while."""
    keep_replacing(world)
    world.turn(memory_room=ROOM, leak=LEAK, leak_since=time.time())
    wait_crashes(world, 2)


def misplace_redis(world: World) -> None:
    """A deploy gives the workers a port on which nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world.turn(worker_redis_port=port)
    world.act("worker", "stop")
    keep_replacing(world)
    with suppress(TargetError):  # it does not get ready
        world.act("worker", "start")
    wait_crashes(world, 2)
    world.wait_no_servers()


def loop_jobs(world: World) -> None:
    """Two jobs of one workflow never end and use a core each; what is near their deadline can be seen to pass it."""
    workflow, deadline = world.chance.randrange(WORKFLOWS), int(time.time()) + 2
    messages = [world.message(workflow=workflow, deadline=deadline) for _ in range(world.chance.randint(3, 4))]
    world.turn(doomed={message.id: "spin" for message in messages})
    take_next(world, messages)
    with world.redis() as client:
        held = [key("default", f"t:{message.id}") for message in messages]
        wait_until(lambda: all(client.hget(name, "state") == b"active" for name in held), "looping jobs", 10)
    world.sleep_until(deadline + 1.0)


def poison(world: World) -> None:
    """Jobs of one workflow on which the program overflows its stack; asynq cannot recover from that."""
    keep_replacing(world)
    messages = kills_noted_before(world, world.chance.randint(2, 3))
    world.turn(doomed={message.id: "exit" for message in messages})
    take_next(world, messages)
    wait_crashes(world, 1)
    time.sleep(world.timing.server_ttl)  # until then the dead still say that they hold them


def cure_workers(world: World) -> None:
    world.act("worker", "replace", after=None)
    world.turn(
        doomed={}, memory_room=None, leak=0, leak_since=0.0, worker_redis_port=None, workflow_errors={}, flows=()
    )
    world.act("worker", "restart")


def deny(world: World) -> None:
    """The credential that one workflow uses has expired."""
    fail_one_workflow(world, world.chance.randrange(WORKFLOWS), DENIED)


def delete_workflow(world: World) -> None:
    """Somebody deletes a workflow whose schedule and clients go on."""
    workflow = world.chance.randrange(5, 50)  # one that has an active schedule
    with world.database() as connection:
        connection.execute("update workflows set deleted_at = now() where id = %s", (row_id("workflow", workflow),))
    fail_one_workflow(world, workflow, f"{GONE}: {row_id('workflow', workflow)}")


def fail_one_workflow(world: World, workflow: int, error: str) -> None:
    """Its jobs fail, those that come as well as those on their last attempt, which asynq then archives."""
    world.turn(workflow_errors={row_id("workflow", workflow): error})
    world.flow("default", world.between(1.5, 2.5), workflow=workflow)
    last = [world.message(workflow=workflow, retried=3, error_msg=error) for _ in range(world.chance.randint(60, 90))]
    take_next(world, last)
    with world.redis() as client:
        wait_until(lambda: client.zcard(key("default", "archived")) >= len(last), "archived jobs", 10)


def heal_workflow(world: World) -> None:
    world.turn(workflow_errors={}, flows=())
    with world.database() as connection:
        connection.execute("update workflows set deleted_at = null where deleted_at is not null")


def overflow_archive(world: World) -> None:
    """A long outage of a service, over by now. asynq 0.24 trims its archive and leaves the hashes behind."""
    count = ARCHIVE_SIZE + world.chance.randint(250, 400)
    over = int(time.time() - 30 - 120 * world.state.pace)
    with world.redis() as client:
        for start in range(0, count, BATCH):
            pipe = client.pipeline(transaction=False)
            for number in range(start, min(count, start + BATCH)):
                add_archived(world, pipe, over - (count - number) // 100)
            pipe.execute()
        client.zremrangebyrank(key("default", "archived"), 0, -ARCHIVE_SIZE - 1)


def add_archived(world: World, pipe: redis.client.Pipeline, failed_at: int) -> None:
    message = world.message(retried=3, error_msg=OVERLOADED, last_failed_at=failed_at)
    pipe.hset(key("default", f"t:{message.id}"), mapping={"msg": encode_task_message(message), "state": "archived"})
    pipe.zadd(key("default", "archived"), {message.id: failed_at})


def empty_archive(world: World) -> None:
    with world.redis() as client:
        client.delete(key("default", "archived"))
        for batch in pages(client, key("default", "t:*")):
            pipe = client.pipeline(transaction=False)
            for name in batch:
                pipe.hget(name, "state")
            states = zip(batch, pipe.execute(), strict=True)
            if archived := [name for name, state in states if state == b"archived"]:
                client.unlink(*archived)


def pages(client: redis.Redis, pattern: str) -> Iterator[list[bytes]]:
    cursor = 0
    while True:
        cursor, names = client.scan(cursor, match=pattern, count=BATCH)
        if names:
            yield [name for name in names if isinstance(name, bytes)]
        if cursor == 0:
            return


def fault(
    id_: str,
    title: str,
    playbook: str,
    imitates: str,
    expect: tuple[str, ...],
    inject: Act,
    heal: Act,
    *,
    helps: tuple[str, ...] = (),
    harmful: tuple[str, ...] = (),
) -> Fault:
    return Fault(id_, title, "crash", imitates, playbook, expect, helps, harmful, inject, heal)


RESTARTS = ("start-workers", "restart-workers")
RETRIES = ("retry-archived", "delete-archived")

FAULTS: tuple[Fault, ...] = (
    fault(
        "F39",
        "Redis has evicted jobs",
        "queue-backlog",
        "allkeys-lru throws the jobs away and keeps their ids: workers draw blanks",
        ("ghost-tasks",),
        evict_jobs,
        keep_jobs,
        helps=("stop-evicting", "drop-ghosts"),
        harmful=("scale-workers", "restart-workers", "quarantine", "pause-queue"),
    ),
    fault(
        "F45",
        "Jobs without a lease",
        "worker-crashes",
        "workers were killed and the leases of their jobs are gone: asynq never takes these jobs up again",
        ("orphaned-jobs",),
        lose_leases,
        cure_workers,
        helps=("requeue-orphans",),
        harmful=(*RESTARTS, "archive-tasks"),
    ),
    fault(
        "F50",
        "A job of five megabytes kills its worker",
        "worker-crashes",
        "a customer's import: the worker makes copies of it until the kernel ends the process, again and again",
        ("large-payload",),
        send_large,
        cure_workers,
        helps=("archive-tasks",),
        harmful=RESTARTS,
    ),
    fault(
        "F51",
        "Workers leak memory",
        "worker-crashes",
        "every job leaves something behind, whichever it is; the kernel ends each worker in its turn",
        ("memory-leak",),
        leak_memory,
        cure_workers,
        helps=("restart-workers",),
        harmful=("start-workers", "archive-tasks"),
    ),
    fault(
        "F52",
        "Workers look for Redis on the wrong port",
        "worker-crashes",
        "a deploy with a wrong address: each worker ends with 1 right after its start",
        ("dependency-fatal",),
        misplace_redis,
        cure_workers,
        harmful=(*RESTARTS, "archive-tasks"),
    ),
    fault(
        "F53",
        "Jobs loop for ever",
        "worker-crashes",
        "a workflow whose loop never ends: it holds slots and a core, and its deadline changes nothing",
        ("infinite-loop",),
        loop_jobs,
        cure_workers,
        helps=("stop-loop",),
        harmful=("start-workers",),
    ),
    fault(
        "F54",
        "A job ends every worker that takes it",
        "worker-crashes",
        "a stack overflow: Go ends the program, and asynq gives the job to the next worker",
        ("poison-task",),
        poison,
        cure_workers,
        helps=("archive-tasks",),
        harmful=RESTARTS,
    ),
    fault(
        "F60",
        "A credential has expired",
        "job-failures",
        "every job of one workflow is refused with 401",
        ("auth",),
        deny,
        heal_workflow,
        helps=("disable-schedules",),
        harmful=RETRIES,
    ),
    fault(
        "F61",
        "A deleted workflow is still called",
        "job-failures",
        "its row is gone, its schedule and its clients are not",
        ("config",),
        delete_workflow,
        heal_workflow,
        helps=("disable-schedules", "delete-archived"),
        harmful=("retry-archived",),
    ),
    fault(
        "F62",
        "The archive is full",
        "job-failures",
        "an outage that is over has left ten thousand failed jobs, and hashes that nothing refers to",
        ("archive-full",),
        overflow_archive,
        empty_archive,
        helps=("retry-archived",),
        harmful=("disable-schedules",),
    ),
)
