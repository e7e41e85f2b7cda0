"""The catalogue of faults, and the record of which are active."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
import redis

from ..errors import TargetError, UsageError
from . import (
    api_faults,
    backlog_faults,
    crash_faults,
    latency_faults,
    lock_faults,
    memory_faults,
    pool_faults,
    recovery_faults,
    redis_faults,
    schedule_faults,
)
from .control import active_faults
from .state import State, write_private
from .world import Act, Fault, World

GROUPS = (
    api_faults,
    latency_faults,
    backlog_faults,
    crash_faults,
    pool_faults,
    lock_faults,
    memory_faults,
    redis_faults,
    schedule_faults,
    recovery_faults,
)
CATALOGUE: tuple[Fault, ...] = tuple(fault for group in GROUPS for fault in group.FAULTS)
BY_ID = {fault.id: fault for fault in CATALOGUE}


def find_fault(fault_id: str) -> Fault:
    for fault in CATALOGUE:
        if fault.id.lower() == str(fault_id).lower():
            return fault
    raise UsageError(f"no fault {fault_id!r}. Known: {', '.join(BY_ID)}")


def inject(state: State, fault_id: str, seed: int, log: Callable[[str], None]) -> int:
    fault = find_fault(fault_id)
    log(f"{fault.id} {fault.title} (seed {seed})")
    active = active_faults(state)
    if any(entry["id"] == fault.id for entry in active):
        raise UsageError(f"{fault.id} is active already. `runbook sandbox heal {fault.id}` takes it back")
    # Written down first: a fault that got only half way must be healed as well.
    remember(state, [*active, {"id": fault.id, "seed": seed, "at": datetime.now(UTC).isoformat(timespec="seconds")}])
    chance = random.Random(seed)
    time.sleep(chance.uniform(0.0, state.pace))  # the phase: where heartbeats and polls are when it strikes
    attempt(fault.inject, fault, World(state, chance, log))
    return seed


def attempt(act: Act, fault: Fault, world: World) -> None:
    try:
        act(world)
    except (redis.RedisError, psycopg.Error) as error:
        raise TargetError("fault", f"{fault.id} could not be changed: {str(error).strip()}") from error


def heal(state: State, fault_id: str | None, log: Callable[[str], None]) -> tuple[str, ...]:
    wanted = find_fault(fault_id).id if fault_id else None
    active = active_faults(state)
    healed = []
    for entry in reversed(active):
        if wanted in (None, entry["id"]) and entry["id"] not in healed:
            fault = BY_ID[entry["id"]]
            attempt(fault.heal, fault, World(state, random.Random(entry["seed"]), log))
            healed.append(entry["id"])
            log(f"{entry['id']} healed")
    remember(state, [entry for entry in active if entry["id"] not in healed])
    return tuple(healed)


def remember(state: State, active: list[dict[str, object]]) -> None:
    write_private(state.folder / "faults.json", json.dumps(active))
