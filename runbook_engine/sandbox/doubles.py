"""Two faults at once, as they come in real life: which cause is upstream, and where the other one must still show."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Double:
    """`faults` in the order in which they strike. `other` must be listed by `other_playbook`, often the same one."""

    faults: tuple[str, str]
    playbook: str
    top: str
    other_playbook: str
    other: str


def _in_one(faults: tuple[str, str], playbook: str, top: str, other: str) -> Double:
    return Double(faults, playbook, top, playbook, other)


DOUBLES = (
    _in_one(("F30", "F40"), "queue-backlog", "redis-not-writable", "no-workers"),
    Double(("F35b", "F80"), "lock-contention", "idle-in-transaction", "queue-backlog", "under-provisioned"),
    _in_one(("F111", "F13"), "schedules-not-running", "redis-not-writable", "immortal-lock"),
    Double(("F71", "F20"), "connection-pool-exhaustion", "idle-in-tx-leak", "high-latency", "missing-index"),
    Double(("F33", "F21"), "high-latency", "lock-waits", "queue-backlog", "slow-jobs"),
    Double(("F32", "F80"), "lock-contention", "idle-in-transaction", "queue-backlog", "queue-paused"),
    Double(("F30", "F10"), "high-error-rate", "db-unreachable", "queue-backlog", "no-workers"),
    Double(("F01", "F30"), "connection-refused", "down-clean", "queue-backlog", "no-workers"),
    Double(("F110", "F32"), "schedules-not-running", "no-scheduler", "queue-backlog", "queue-paused"),
    Double(("F32", "F90"), "redis-memory-full", "completed-retention", "queue-backlog", "queue-paused"),
)
