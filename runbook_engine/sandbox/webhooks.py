"""LinkFlow's stream of webhooks: entries come in, a consumer group of the workers takes and acknowledges them.

As in LinkFlow the group is made when a worker starts and not again, and nothing is ever deleted but by MAXLEN.
"""

from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import redis

STREAM = "stream:webhooks"
GROUP = "webhook-processors"
MOST = 20_000  # LinkFlow keeps about 100,000; the sandbox is a small one
PAYLOAD = 160


def create_group(client: redis.Redis) -> None:
    with contextlib.suppress(redis.ResponseError):  # it is there
        client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)


def receive(client: redis.Redis, chance: random.Random) -> None:
    """One webhook from outside."""
    client.xadd(STREAM, entry(chance), maxlen=MOST, approximate=True)


def entry(chance: random.Random, size: int = PAYLOAD) -> dict[Any, Any]:
    body = {"event": "order.created", "data": f"{chance.getrandbits(4 * size):0{size}x}"}
    return {"workflow_id": f"{chance.getrandbits(64):016x}", "body": json.dumps(body)}


def process(client: redis.Redis, consumer: str) -> int:
    """Take what is new, and acknowledge it. How many there were."""
    found: Any = client.xreadgroup(GROUP, consumer, {STREAM: ">"}, count=100)
    ids = [id_ for _, entries in found or () for id_, _ in entries]
    if ids:
        client.xack(STREAM, GROUP, *ids)
    return len(ids)
