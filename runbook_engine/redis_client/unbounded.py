"""Which reading commands take a whole key, however large it has grown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_WHOLE: Mapping[str, str] = {
    "SMEMBERS": "SCARD counts them, SSCAN or SRANDMEMBER with a count take a few",
    "HGETALL": "HLEN counts them, HMGET takes the fields you want, HSCAN a few",
    "HKEYS": "HLEN counts them, HSCAN takes a few",
    "HVALS": "HLEN counts them, HSCAN takes a few",
    "SINTER": "SINTERCARD counts them",
    "SUNION": "SCARD counts each",
    "SDIFF": "SCARD counts each",
}
_RANGES: Mapping[str, str] = {
    "LRANGE": "LLEN counts them, LRANGE key 0 99 takes a hundred",
    "ZRANGE": "ZCARD counts them, ZRANGE key 0 99 takes a hundred",
    "ZREVRANGE": "ZCARD counts them, ZREVRANGE key 0 99 takes a hundred",
}
_LIMITED: Mapping[str, tuple[str, str]] = {
    "ZRANGEBYSCORE": ("LIMIT", "ZCOUNT counts them, LIMIT 0 100 takes a hundred"),
    "ZREVRANGEBYSCORE": ("LIMIT", "ZCOUNT counts them, LIMIT 0 100 takes a hundred"),
    "ZRANGEBYLEX": ("LIMIT", "ZLEXCOUNT counts them, LIMIT 0 100 takes a hundred"),
    "ZREVRANGEBYLEX": ("LIMIT", "ZLEXCOUNT counts them, LIMIT 0 100 takes a hundred"),
    "XRANGE": ("COUNT", "XLEN counts them, COUNT 100 takes a hundred"),
    "XREVRANGE": ("COUNT", "XLEN counts them, COUNT 100 takes a hundred"),
}
# asynq keeps as many members in these as there are queues, schedulers, servers or fields of one task.
_SMALL = ("asynq:queues", "asynq:schedulers", "asynq:servers", "asynq:workers")


def unbounded(command: Sequence[Any]) -> str | None:
    """Why a command may answer more than anybody wants, and what to ask instead."""
    words = [str(word) for word in command]
    name = words[0].upper() if words else ""
    key = words[1] if len(words) > 1 else ""
    if key.startswith(_SMALL) or (key.startswith("asynq:{") and ":t:" in key):
        return None
    instead = _WHOLE.get(name)
    if name in _RANGES and words[2:4] == ["0", "-1"] and "LIMIT" not in map(str.upper, words[4:]):
        instead = _RANGES[name]
    if name in _LIMITED and _LIMITED[name][0] not in map(str.upper, words):
        instead = _LIMITED[name][1]
    return f"{name} takes all of {key}, however much that is. {instead}" if instead else None
