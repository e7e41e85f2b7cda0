"""The outside world: constant requests to the API and jobs from elsewhere, and the surges that faults ask for.

Arrivals are evenly spaced, so that a rate measured over a second or two is the rate.
"""

from __future__ import annotations

import http.client
import json
import random
import time
from dataclasses import dataclass

import redis

from .api_start import connect_redis
from .broker import Broker, key, new_message
from .identifiers import WORKFLOWS, row_id
from .knobs import Flow, KnobReader
from .standin import StandIn
from .timing import Timing
from .visitors import Visitors

EXECUTIONS_SHARE = 0.2  # of the requests; each sends one of the jobs
SIGNED_IN = {"Authorization": "Bearer sandbox"}  # the limiter of the public routes is not for these clients


@dataclass(slots=True)
class Meter:
    """How many things are due by now at a given rate; what was missed while waiting for somebody is not caught up."""

    last: float = 0.0
    owed: float = 0.0

    def due(self, rate: float, now: float) -> int:
        self.owed = min(self.owed + (now - self.last) * rate, max(1.0, rate)) if self.last else 1.0
        self.last = now
        count = int(self.owed)
        self.owed -= count
        return count


class Load:
    def __init__(self, process: StandIn) -> None:
        self.process = process
        self.timing = Timing(process.state.pace)
        self.knobs = KnobReader(process.state.folder)
        self.chance = random.Random(process.state.seed)
        self.client = connect_redis(process.state)
        self.broker = Broker(self.client)
        self.http = http.client.HTTPConnection("127.0.0.1", process.state.api_port, timeout=2)
        self.requests, self.jobs = Meter(), Meter()
        self.flows: dict[Flow, Meter] = {}
        self._asked = 0

    def run(self) -> None:
        self.process.ready()
        # Several arrivals a turn when they are dense: waking up for each would cost more than the work.
        turn = max(0.02, min(0.2, 1 / self.timing.requests_rate))
        jobs_rate = self.timing.jobs_rate - self.timing.requests_rate * EXECUTIONS_SHARE
        while not self.process.stopping.wait(turn):
            now = time.monotonic()
            self._send("default", self.jobs.due(jobs_rate, now))
            for flow in self.knobs.now().flows:
                self._flow(flow, now)
            for _ in range(self.requests.due(self.timing.requests_rate, now)):
                self._ask()

    def _flow(self, flow: Flow, now: float) -> None:
        count = self.flows.setdefault(flow, Meter()).due(flow.rate, now)
        try:
            full = self.client.llen(key(flow.queue, "pending")) >= flow.most
        except redis.RedisError:
            full = True
        if not full:
            self._send(flow.queue, count, flow)

    def _send(self, queue: str, count: int, flow: Flow | None = None) -> None:
        if not count:
            return
        kind = flow.task_type if flow else "workflow:execution"
        chosen = flow.workflow if flow else None
        try:
            self.broker.enqueue(
                [
                    new_message(
                        queue,
                        workflow=self.chance.randrange(WORKFLOWS) if chosen is None else chosen,
                        retention=self.timing.retention,
                        task_type=kind,
                    )
                    for _ in range(count)
                ]
            )
        except redis.RedisError as error:
            self.process.log("error", "enqueue failed", error=str(error))

    def _ask(self) -> None:
        self._asked += 1
        workflow = row_id("workflow", self.chance.randrange(WORKFLOWS))
        turns = round(1 / EXECUTIONS_SHARE)
        try:
            if self._asked % turns == 0:
                self.http.request("POST", "/exec", json.dumps({"workflow_id": workflow}), SIGNED_IN)
            elif self._asked % turns == 1:
                self.http.request("GET", f"/exec?workflow_id={workflow}", headers=SIGNED_IN)
            else:
                self.http.request("GET", "/api/v1/billing/plans", headers=SIGNED_IN)
            self.http.getresponse().read()
        except (OSError, http.client.HTTPException):
            self.http.close()


def main() -> None:
    process = StandIn("load")
    Visitors(process).begin()
    Load(process).run()


if __name__ == "__main__":
    main()
