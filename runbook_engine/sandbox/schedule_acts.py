"""What goes wrong with schedules, done to the sandbox and taken back. `schedule_faults` says which fault does what."""

from __future__ import annotations

import signal
import time
from typing import Any

from .baseline import free_leader, repair_schedules, wait_until
from .identifiers import WORKSPACES, row_id
from .knobs import load_knobs
from .scheduler import BACKPRESSURE, FULL, LEADER, WORKSPACE_LIMIT
from .scripts import RELEASE
from .timing import SCHEDULERS, WORKERS
from .world import World

REPORTED = 17  # the schedule somebody complains about, daily, of workspace 17
EVERY = range(5, 50)  # the active ones; the first five are inactive
DAILY = [number for number in EVERY if number % 5]
REFUSED = "401 Unauthorized: the access token expired"
MOVE = "update schedules set next_run_at = now() + make_interval(secs => %s) where id = %s"
FORGET = "update schedules set next_run_at = null where id = %s"
RAN_BEFORE = "update schedules set last_run_at = now() - make_interval(secs => %s) where id = %s"
NEVER_MATCHES = """
insert into schedules (id, workflow_id, workspace_id, created_by, name, cron_expression, next_run_at)
values (%s, %s, %s, %s, 'Month end', '0 0 31 2 *', '0001-01-01 00:00:00+00')
"""
IMPORTED = """
insert into schedules (workflow_id, workspace_id, created_by, name, cron_expression, next_run_at)
select md5('workflow-' || (%(place)s + 20 * (n %% 10)))::uuid, md5('workspace-' || %(place)s)::uuid,
       md5('user-0')::uuid, 'Import ' || n, '0 */6 * * *', now() - make_interval(secs => %(least)s + n * %(step)s)
from generate_series(1, %(count)s) n
"""
DUE_STILL = "select count(*) from schedules where is_active and deleted_at is null and next_run_at < now()"
RAN = "select count(*) from schedules where last_run_at is not null and id = any(%s::uuid[])"
BLOCKED = """
select count(*) from pg_stat_activity where application_name = 'linkflow-scheduler' and wait_event_type = 'Lock'
"""
DONE = "select count(*) from executions where trigger_type = 'schedule' and status = 'failed' and created_at > %s"


def make_late(world: World) -> None:
    """As if it had been going on for minutes: some are late, one or two by more than stale recovery forgives."""
    pace = world.state.pace
    chosen = world.chance.sample(EVERY, world.chance.randint(6, 14))
    late = world.chance.randint(1, 2)
    with world.database() as connection:
        for place, number in enumerate(chosen):
            age = world.between(620, 900) if place < late else world.between(75, 400)
            connection.execute(MOVE, [-age * pace, row_id("schedule", number)])
    world.log(f"{len(chosen)} schedules are late, {late} by more than ten minutes")


def make_due(world: World) -> list[str]:
    chosen = [row_id("schedule", number) for number in world.chance.sample(EVERY, world.chance.randint(6, 14))]
    with world.database() as connection:
        for schedule in chosen:
            connection.execute(MOVE, [0, schedule])
        wait_until(lambda: number(connection, RAN, [chosen]) == len(chosen), "the schedules to be sent", 10)
    return chosen


def number(connection: Any, statement: str, arguments: list[Any] | None = None) -> int:
    return int(connection.execute(statement, arguments).fetchone()[0])


def kill_schedulers(world: World) -> None:
    world.act("scheduler", "kill", signal=signal.SIGKILL)
    make_late(world)


def start_schedulers(world: World) -> None:
    free_leader(world.state, everything=world.act("scheduler", "status")["running"] == 0)
    world.act("scheduler", "scale", replicas=SCHEDULERS)
    mend(world)


def take_lock(world: World) -> None:
    world.act("scheduler", "stop")
    with world.redis() as client:
        client.set(LEADER, f"ghost-{world.chance.randrange(10**9)}")
    world.act("scheduler", "start")
    make_late(world)


def take_lock_as_hash(world: World) -> None:
    world.act("scheduler", "stop")
    with world.redis() as client:
        client.delete(LEADER)
        client.hset(LEADER, mapping={"instance": f"ghost-{world.chance.randrange(10**9)}"})
    world.act("scheduler", "start")
    make_late(world)


def kill_leader(world: World) -> None:
    """The standby stays; it takes over when the lock has run out."""
    with world.redis() as client:
        leader = client.get(LEADER)
    assert isinstance(leader, bytes)
    before = world.act("scheduler", "status")["running"]
    world.turn(leader_dies=leader.decode())
    # It looks whenever it renews its lock.
    wait_until(lambda: world.act("scheduler", "status")["running"] < before, "the leader to die", 15)
    make_late(world)


def hang_polls(world: World) -> None:
    world.turn(poll_hangs_before=time.time())
    time.sleep(3 * world.timing.poll)
    make_late(world)


def lock_schedules(world: World) -> None:
    hang_polls(world)
    world.hold("F114")
    world.turn(poll_hangs_before=0.0)
    with world.database() as connection:
        wait_until(lambda: number(connection, BLOCKED) > 0, "the scheduler to wait for the lock", 10)


def unlock_schedules(world: World) -> None:
    world.release("F114")
    world.turn(poll_hangs_before=0.0)
    mend(world)


def switch_off(world: World) -> None:
    with world.database() as connection:
        connection.execute("update schedules set is_active = false where id = %s", [row_id("schedule", REPORTED)])


def delete_schedule(world: World) -> None:
    with world.database() as connection:
        statement = "update schedules set deleted_at = now() - make_interval(secs => %s) where id = %s"
        connection.execute(statement, [world.between(60, 86400), row_id("schedule", REPORTED)])


def delete_workflow(world: World) -> None:
    with world.database() as connection:
        connection.execute("update workflows set deleted_at = now() where id = %s", [row_id("workflow", REPORTED)])


def forget_next(world: World) -> None:
    with world.database() as connection:
        for chosen in world.chance.sample(EVERY, world.chance.randint(1, 3)):
            connection.execute(FORGET, [row_id("schedule", chosen)])


def put_off(world: World) -> None:
    with world.database() as connection:
        for chosen in world.chance.sample(DAILY, world.chance.randint(1, 3)):
            connection.execute(MOVE, [world.between(3, 300) * 86400, row_id("schedule", chosen)])


def never_match(world: World) -> None:
    place = world.chance.choice(EVERY)
    owner = (row_id("workflow", place), row_id("workspace", place % WORKSPACES), row_id("user", 0))
    schedule = row_id("schedule", world.chance.randrange(1000, 10**9))
    with world.database() as connection:
        connection.execute(NEVER_MATCHES, [schedule, *owner])
        fired = "select run_count from schedules where id = %s"
        wait_until(lambda: number(connection, fired, [schedule]) >= 3, "it to fire at every poll", 10)


def fill_wrong_list(world: World) -> None:
    with world.redis() as client:
        for _ in range(world.chance.randint(10, 14)):
            client.rpush(BACKPRESSURE, *(f"job-{world.chance.randrange(10**9)}" for _ in range(FULL // 10)))
    time.sleep(3 * world.timing.poll)
    make_late(world)


def import_schedules(world: World) -> None:
    """One workspace may start 100 runs a minute: several hundred that are due at once take their time."""
    place = world.chance.randrange(WORKSPACES)
    count = world.chance.randint(700, 900)
    pace = world.state.pace
    with world.database() as connection:
        connection.execute(IMPORTED, {"place": place, "least": 75 * pace, "step": 0.05 * pace, "count": count})
    limit = WORKSPACE_LIMIT + row_id("workspace", place)
    with world.redis() as client:
        wait_until(lambda: client.zcard(limit) >= 100, "the workspace's limit", 10)


def stop_workers(world: World) -> None:
    world.act("worker", "stop")
    make_due(world)
    time.sleep(world.between(35, 45) * world.state.pace)


def start_workers(world: World) -> None:
    world.act("worker", "scale", replicas=WORKERS)
    mend(world)


def refuse_jobs(world: World) -> None:
    world.turn(job_error=REFUSED)
    time.sleep(2.5)  # a run that went well up to two seconds before counts as one of the same firing
    began = time.time()
    count = len(make_due(world))
    with world.database() as connection:
        wait_until(lambda: number(connection, DONE.replace("%s", "to_timestamp(%s)"), [began]) >= count, "failures", 10)
    time.sleep(world.between(35, 45) * world.state.pace)


def accept_jobs(world: World) -> None:
    world.turn(job_error=None)
    mend(world)


def miss_runs(world: World) -> None:
    """What stale recovery does at the start of a scheduler that was away for longer than ten minutes."""
    world.act("scheduler", "stop")
    free_leader(world.state, everything=True)
    with world.database() as connection:
        for chosen in world.chance.sample(DAILY, world.chance.randint(4, 9)):
            schedule = row_id("schedule", chosen)
            connection.execute(MOVE, [-world.between(620, 1800) * world.state.pace, schedule])
            connection.execute(RAN_BEFORE, [world.between(27, 40) * 3600, schedule])
        world.act("scheduler", "start")
        wait_until(lambda: number(connection, DUE_STILL) == 0, "stale recovery", 10)


def foreign_lock(world: World) -> None:
    world.act("scheduler", "stop")
    world.hold("F127")
    make_late(world)


def give_lock_back(world: World) -> None:
    world.release("F127")
    start_schedulers(world)


def almost_due(world: World) -> None:
    """Seconds of lateness are ordinary: a scheduler that lives sends them at its next poll."""
    with world.database() as connection:
        for chosen in world.chance.sample(EVERY, world.chance.randint(5, 15)):
            connection.execute(MOVE, [-world.between(0, 20) * world.state.pace, row_id("schedule", chosen)])


def mend(world: World) -> None:
    repair_schedules(world.state)


def wake_polls(world: World) -> None:
    world.turn(poll_hangs_before=0.0)
    mend(world)


def empty_wrong_list(world: World) -> None:
    with world.redis() as client:
        client.delete(BACKPRESSURE)
    mend(world)


def replace_leader(world: World) -> None:
    dead = load_knobs(world.state.folder).leader_dies
    with world.redis() as client:
        client.eval(RELEASE, 1, LEADER, dead or "")  # else the next to start would wait for its lock
    world.turn(leader_dies=None)
    world.act("scheduler", "scale", replicas=SCHEDULERS)
    mend(world)
