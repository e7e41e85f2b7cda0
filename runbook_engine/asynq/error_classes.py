"""Sorts error texts of a Go platform into the classes that tell causes apart, and strips what varies.

Pure. It must never take more than bounded time, however hostile the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST = 2000  # characters of an error text that are looked at
_FINGERPRINT = 160

CLASSES: Mapping[str, re.Pattern[str]] = {
    "db": re.compile(
        r"SQLSTATE|\bpq:|pgx|gorm|too many clients|connection slots|deadlock detected|canceling statement"
        r"|driver: bad connection|prepared statement"
    ),
    "redis": re.compile(r"\bredis:|NOAUTH|READONLY|OOM command|MISCONF|\bLOADING\b|connection pool timeout"),
    "downstream": re.compile(
        r"dial tcp (?![^\n]{0,200}(?:5432|6379))|no such host|TLS handshake|\bEOF\b|status code: 5\d\d"
    ),
    "rate_limit": re.compile(r"\b429\b|rate.?limit|too many requests|quota", re.IGNORECASE),
    "timeout": re.compile(r"context deadline exceeded|i/o timeout|timeout exceeded", re.IGNORECASE),
    "oom": re.compile(r"out of memory|cannot allocate", re.IGNORECASE),
    "panic": re.compile(r"panic|recovered|nil pointer|runtime error", re.IGNORECASE),
    "bind": re.compile(r"address already in use", re.IGNORECASE),
    "auth": re.compile(r"\b401\b|\b403\b|invalid_grant|unauthorized", re.IGNORECASE),
    "lease_expired": re.compile(r"asynq: task lease expired"),
    "config": re.compile(r"workflow not found|invalid workflow definition|not configured", re.IGNORECASE),
}

_VARIABLE = re.compile(
    r"(?P<uuid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    r"|(?P<hex>\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b)"
    r"|(?P<number>\d+)"
)


def classes_of(text: str) -> frozenset[str]:
    """Every class the text belongs to: `redis: i/o timeout` is two."""
    looked_at = text[:LONGEST]
    return frozenset(name for name, pattern in CLASSES.items() if pattern.search(looked_at))


def fingerprint(text: str) -> str:
    """The text without what differs from case to case: ids, addresses, numbers."""
    first_line = text[:LONGEST].strip().split("\n", 1)[0]
    return _VARIABLE.sub(_placeholder, first_line)[:_FINGERPRINT]


def _placeholder(found: re.Match[str]) -> str:
    return {"uuid": "<uuid>", "hex": "<hex>"}.get(found.lastgroup or "", "#")
