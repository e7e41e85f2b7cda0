"""LinkFlow's limiter of its public routes, weakness included: every request renews the window, so it never ends."""

from __future__ import annotations

from email.message import Message

import redis

LIMIT = 100
WINDOW = 60.0
PUBLIC = ("/api/v1/health", "/api/v1/health/live", "/api/v1/health/ready", "/api/v1/billing/plans")


def is_public(path: str, headers: Message[str, str]) -> bool:
    """Who has signed in belongs to another group of routes, which nobody limits."""
    return path in PUBLIC and not headers.get("Authorization")


def key_of(headers: Message[str, str], address: tuple[str, int]) -> str:
    """A client behind a proxy has one key; one that comes directly has another with every connection."""
    return f"ratelimit:ip:{headers.get('X-Forwarded-For') or f'{address[0]}:{address[1]}'}"


def is_limited(client: redis.Redis, key: str, window: float) -> bool:
    pipe = client.pipeline(transaction=False)
    pipe.incr(key)
    pipe.expire(key, max(1, round(window)))
    try:
        count = int(pipe.execute()[0])
    except redis.RedisError:
        return False  # it fails open
    return count > LIMIT
