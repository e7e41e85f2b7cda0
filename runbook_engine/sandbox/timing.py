"""How long everything takes at a given pace. Holds numbers only; it never reads a clock."""

from __future__ import annotations

from dataclasses import dataclass

WORKERS = 2
SCHEDULERS = 2  # one leads, one stands by
CONCURRENCY = 5
JOBS_PER_SECOND = 5.0
REQUESTS_PER_SECOND = 5.0
MAXMEMORY = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds at pace 1 are asynq's and LinkFlow's own; a pace of 0.1 makes them ten times shorter."""

    pace: float

    @property
    def heartbeat(self) -> float:
        return 5 * self.pace

    @property
    def server_ttl(self) -> float:
        # asynq: 10 s. Never under 2 s, or one busy moment of a shared machine would look like a dead worker.
        return max(10 * self.pace, 2.0)

    @property
    def lease(self) -> float:
        return max(30 * self.pace, 2.0)

    @property
    def recover_every(self) -> float:
        return 60 * self.pace

    @property
    def forward_every(self) -> float:
        return 5 * self.pace

    @property
    def janitor_every(self) -> float:
        return 8 * self.pace

    @property
    def idle(self) -> float:
        return self.pace

    @property
    def job(self) -> float:
        return 0.2 * self.pace

    @property
    def retention(self) -> float:
        # LinkFlow keeps completed tasks 24 h; at a denser load that would fill 64 MB within the hour.
        return max(300 * self.pace, 5.0)

    @property
    def stop_grace(self) -> float:
        return 8 * self.pace

    @property
    def leader_ttl(self) -> float:
        return max(30 * self.pace, 2.0)

    @property
    def leader_renew(self) -> float:
        return 10 * self.pace

    @property
    def leader_try(self) -> float:
        return 5 * self.pace

    @property
    def poll(self) -> float:
        return self.pace

    @property
    def stale(self) -> float:
        return 600 * self.pace

    @property
    def stale_every(self) -> float:
        return 300 * self.pace

    @property
    def dispatch_window(self) -> float:
        return 60 * self.pace

    @property
    def webhook_every(self) -> float:
        return 2 * self.pace

    @property
    def jobs_rate(self) -> float:
        return JOBS_PER_SECOND / self.pace

    @property
    def requests_rate(self) -> float:
        return REQUESTS_PER_SECOND / self.pace

    def retry_delay(self, retried: int, chance: float) -> float:
        """asynq's own back-off, n⁴ + 15 + rand(30)·(n+1) seconds."""
        return (retried**4 + 15 + chance * 30 * (retried + 1)) * self.pace
