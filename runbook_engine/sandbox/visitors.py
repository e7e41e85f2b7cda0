"""People who look at one page of LinkFlow again and again, as many at once as a fault wants: each waits for its answer.

With nobody to play, it costs one look at the knobs every now and then.
"""

from __future__ import annotations

import http.client
import random
import threading

from .identifiers import WORKFLOWS, WORKSPACES, row_id
from .knobs import KnobReader, Knobs
from .standin import StandIn

PATIENCE = 30.0  # seconds one waits for a page
LOOK_EVERY = 0.1
SIGNED_IN = {"Authorization": "Bearer sandbox"}


class Visitors:
    def __init__(self, process: StandIn) -> None:
        self._process = process
        self._knobs = KnobReader(process.state.folder)
        self._there: set[int] = set()

    def begin(self) -> None:
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while not self._process.stopping.wait(LOOK_EVERY):
            for number in set(range(self._knobs.now().visitors)) - self._there:
                self._there.add(number)
                threading.Thread(target=self._visit, args=(number,), daemon=True).start()

    def _visit(self, number: int) -> None:
        """As long as so many are wanted that this one is among them."""
        chance = random.Random(self._process.state.seed * 1009 + number)
        client = http.client.HTTPConnection("127.0.0.1", self._process.state.api_port, timeout=PATIENCE)
        while (knobs := self._knobs.now()).visitors > number and not self._process.stopping.is_set():
            try:
                method, path = target(knobs, chance)
                client.request(method, path, headers=SIGNED_IN)
                client.getresponse().read()
            except (OSError, http.client.HTTPException):
                client.close()
            self._process.stopping.wait(knobs.visit_pause * chance.uniform(0.5, 1.5))
        client.close()
        self._there.discard(number)


def target(knobs: Knobs, chance: random.Random) -> tuple[str, str]:
    """`GET /api/v1/workflows/{workflow}/queued` with somebody's id."""
    method, path = knobs.visits.split(" ", 1)
    workflow, workspace = chance.randrange(WORKFLOWS), chance.randrange(WORKSPACES)
    return method, path.format(workflow=row_id("workflow", workflow), workspace=row_id("workspace", workspace))
