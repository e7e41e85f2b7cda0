"""Faults after which jobs pile up. Each leaves a backlog that does not go away by itself, but for the one that must."""

from __future__ import annotations

import json
import signal
import time
import uuid

from ..asynq.wire import encode_task_message
from .baseline import wait_until
from .broker import Broker, key
from .identifiers import WORKFLOWS, WORKSPACES, row_id
from .timing import CONCURRENCY, MAXMEMORY, WORKERS
from .world import Act, Fault, World

SLOTS = WORKERS * CONCURRENCY
LIMITED = "429 Too Many Requests: rate limit exceeded, retry after 60s"
RUNAWAY = "Nightly sync"
INSERT_RUNAWAY = """
insert into schedules (id, workflow_id, workspace_id, created_by, name, cron_expression, input_data, next_run_at)
values (%s, %s, %s, %s, %s, '*/5 * * *', %s, now())
"""


def kill_workers(world: World) -> None:
    world.pile_up(500, 600)
    with world.redis() as client:  # some were at work: their jobs stay behind as orphans
        wait_until(lambda: client.llen(key("default", "active")) >= CONCURRENCY, "busy workers", 10)
    world.act("worker", "kill", signal=signal.SIGKILL)
    world.pile_up(1500, 2500)
    world.wait_no_servers()


def stop_workers(world: World) -> None:
    world.act("worker", "stop")
    world.pile_up(1500, 2500)


def start_workers(world: World) -> None:
    world.act("worker", "start")


def pause_queue(world: World) -> None:
    with world.redis() as client:
        client.setnx(key("default", "paused"), int(time.time() - world.between(60, 3600)))
    world.pile_up(1500, 2500)


def unpause_queue(world: World) -> None:
    with world.redis() as client:
        client.delete(key("default", "paused"))


def slow_jobs(world: World) -> None:
    # Slow enough for any eye, fast enough that ten slots finish 20 jobs in 10 s: a rate over fewer is not known.
    world.turn(job_seconds=world.between(2.6, 3.4) * world.state.pace)
    world.pile_up(1500, 2500)
    world.wait_active(SLOTS)


def normal_jobs(world: World) -> None:
    world.turn(job_seconds=None, job_error=None, hang_before=0.0, flows=())


def limit_jobs(world: World) -> None:
    world.turn(job_error=LIMITED, job_seconds=0.4 * world.state.pace)
    world.pile_up(2000, 2600)
    with world.redis() as client:
        pipe = client.pipeline(transaction=False)
        for _ in range(world.chance.randint(5500, 6500)):
            failed = world.message(
                retried=world.chance.randint(1, 2), error_msg=LIMITED, last_failed_at=int(time.time())
            )
            due = time.time() + world.between(16, 300) * world.state.pace
            pipe.hset(key("default", f"t:{failed.id}"), mapping={"msg": encode_task_message(failed), "state": "retry"})
            pipe.zadd(key("default", "retry"), {failed.id: due})
        pipe.execute()


def surge(world: World) -> None:
    world.flow("default", world.between(50, 56))
    world.pile_up(1300, 1800)


def starve(world: World) -> None:
    world.turn(concurrency=1)
    world.act("worker", "restart")
    world.flow("default", world.between(7.5, 8.5))
    world.pile_up(1500, 2000)


def feed(world: World) -> None:
    world.turn(concurrency=None, flows=())
    world.act("worker", "scale", replicas=WORKERS)
    world.act("worker", "restart")


def send_emails(world: World) -> None:
    world.flow("emails", world.between(1.5, 2.5), task_type="email:send")
    world.pile_up(1200, 2000, "emails", task_type="email:send")


def drop_emails(world: World) -> None:
    world.turn(flows=())
    with world.redis() as client:
        for _ in range(20):  # whoever sends them may not have heard yet that it should stop
            names = list(client.scan_iter("asynq:{emails}:*", count=1000))
            for start in range(0, len(names), 1000):
                client.unlink(*names[start : start + 1000])
            client.srem("asynq:queues", "emails")
            if not names:
                return
            time.sleep(0.1)


def hang_jobs(world: World) -> None:
    """The running ones are webhooks whose deadline is near, so that it can be seen to pass."""
    pause_queue_now(world)
    world.wait_active(0)
    world.turn(hang_before=time.time())
    deadline = int(time.time()) + 2
    stuck = [world.message(task_type="webhook:delivery", deadline=deadline) for _ in range(SLOTS)]
    with world.redis() as client:
        Broker(client).enqueue(stuck)
        for message in stuck:  # to the end from which workers take
            client.lrem(key("default", "pending"), 1, message.id)
            client.rpush(key("default", "pending"), message.id)
    unpause_queue(world)
    world.wait_active(SLOTS)
    world.pile_up(1500, 2500)
    world.sleep_until(deadline + 0.5)


def pause_queue_now(world: World) -> None:
    with world.redis() as client:
        client.set(key("default", "paused"), int(time.time()))


def fill_redis(world: World) -> None:
    """Below half of what is used: the little that workers and janitors may still delete does not make room."""
    world.pile_up(3000, 3500)
    with world.redis() as client:
        used = client.info("memory")["used_memory"]
        client.config_set("maxmemory", int(used * world.between(0.45, 0.5)))
    world.wait_no_servers()


def empty_redis(world: World) -> None:
    with world.redis() as client:
        client.config_set("maxmemory", MAXMEMORY)


def crash_workers(world: World) -> None:
    before = world.act("worker", "status")["restarts"]
    world.act("worker", "replace", after=max(world.state.pace, 0.3))
    world.pile_up(2200, 3000)
    world.turn(crash_every=max(10 * world.state.pace, 1.5) * world.between(0.9, 1.1))
    patience = 10 + 15 * world.state.pace
    wait_until(lambda: world.act("worker", "status")["restarts"] >= before + 2, "workers to crash", patience)


def mend_workers(world: World) -> None:
    world.act("worker", "replace", after=None)
    world.turn(crash_every=None)
    world.act("worker", "restart")


def burst(world: World) -> None:
    world.pile_up(5500, 6500)


def nothing(world: World) -> None:
    """It heals itself."""


def run_away(world: World) -> None:
    """LinkFlow leaves `next_run_at` unchanged when it cannot read the expression: the schedule fires at every poll."""
    workflow = world.chance.randrange(WORKFLOWS)
    schedule = str(uuid.UUID(int=world.chance.getrandbits(128), version=4))
    with world.database() as connection:
        owner = (row_id("workflow", workflow), row_id("workspace", workflow % WORKSPACES), row_id("user", 0))
        given = json.dumps({"fan_out": world.chance.randint(50, 58)})
        connection.execute(INSERT_RUNAWAY, (schedule, *owner, RUNAWAY, given))
    trigger = {"type": "schedule", "data": {"schedule_id": schedule}}
    world.pile_up(1300, 1800, workflow=workflow, trigger=trigger)


def remove_schedule(world: World) -> None:
    with world.database() as connection:
        connection.execute("delete from schedules where name = %s", (RUNAWAY,))


def backlog(
    id_: str,
    title: str,
    imitates: str,
    expect: str,
    inject: Act,
    heal: Act,
    *,
    helps: tuple[str, ...] = (),
    harmful: tuple[str, ...] = (),
) -> Fault:
    def inject_and_wait(world: World) -> None:
        inject(world)
        world.wait_pending("emails" if id_ == "F36" else "default")

    return Fault(id_, title, "backlog", imitates, "queue-backlog", (expect,), helps, harmful, inject_and_wait, heal)


SCALING = ("start-workers", "scale-workers", "restart-workers")
MUTATING = (*SCALING, "unpause", "pause-queue", "quarantine", "disable-schedule")

FAULTS = (
    backlog(
        "F30",
        "All workers are killed",
        "the kernel's OOM killer takes every worker, and nothing starts them again",
        "no-workers",
        kill_workers,
        start_workers,
        helps=("start-workers",),
        harmful=("pause-queue", "quarantine", "scale-workers"),
    ),
    backlog(
        "F31",
        "All workers are stopped",
        "a deploy stopped the workers and did not start the new ones",
        "no-workers",
        stop_workers,
        start_workers,
        helps=("start-workers",),
        harmful=("pause-queue", "quarantine", "scale-workers"),
    ),
    backlog(
        "F32",
        "The queue is paused",
        "somebody paused the queue for maintenance and forgot it",
        "queue-paused",
        pause_queue,
        unpause_queue,
        helps=("unpause",),
        harmful=("scale-workers", "restart-workers", "quarantine"),
    ),
    backlog(
        "F33",
        "Jobs take fifteen times longer",
        "a service that every workflow calls answers after 3 s",
        "slow-jobs",
        slow_jobs,
        normal_jobs,
        helps=("scale-workers", "pause-queue"),
        harmful=("restart-workers", "quarantine", "start-workers"),
    ),
    backlog(
        "F34",
        "A service refuses with 429",
        "an integration's quota is used up; every attempt is refused and tried again",
        "external-rate-limit",
        limit_jobs,
        normal_jobs,
        helps=("pause-queue",),
        harmful=SCALING,
    ),
    backlog(
        "F35a",
        "Ten times as many jobs arrive",
        "a customer imports everything at once",
        "producer-surge",
        surge,
        normal_jobs,
        helps=("scale-workers", "quarantine"),
        harmful=("restart-workers", "disable-schedule"),
    ),
    backlog(
        "F35b",
        "Too few workers for the ordinary load",
        "the business grew, the worker fleet was scaled down to save money",
        "under-provisioned",
        starve,
        feed,
        helps=("scale-workers",),
        harmful=("restart-workers", "pause-queue", "quarantine"),
    ),
    backlog(
        "F36",
        "A queue that nobody serves",
        "LinkFlow's e-mails go to `emails`, which no worker is configured for",
        "queue-not-served",
        send_emails,
        drop_emails,
        helps=("quarantine",),
        harmful=SCALING,
    ),
    backlog(
        "F38",
        "Jobs hang for ever",
        "every worker waits on a connection that will never answer",
        "hung-jobs",
        hang_jobs,
        normal_jobs,
        helps=("restart-workers",),
        harmful=("start-workers", "scale-workers", "quarantine"),
    ),
    backlog(
        "F40",
        "Redis is full",
        "maxmemory is reached: nothing new can be written, and workers cannot even say that they live",
        "redis-not-writable",
        fill_redis,
        empty_redis,
        harmful=MUTATING,
    ),
    backlog(
        "F41",
        "Workers crash again and again",
        "a leak: each worker is killed with 137 seconds after its start, and restarted",
        "worker-crashing",
        crash_workers,
        mend_workers,
        harmful=SCALING,
    ),
    backlog(
        "F42",
        "A burst that drains by itself",
        "a batch of ordinary jobs, gone within minutes",
        "not-a-backlog",
        burst,
        nothing,
        harmful=MUTATING,
    ),
    backlog(
        "F43",
        "A schedule fires at every poll",
        "a cron expression that LinkFlow accepted and cannot read",
        "runaway-schedule",
        run_away,
        remove_schedule,
        helps=("disable-schedule",),
        harmful=("scale-workers", "restart-workers", "start-workers"),
    ),
)
