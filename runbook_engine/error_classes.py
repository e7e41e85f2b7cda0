"""Sorts error texts of a Go platform into the classes that tell causes apart, and strips what varies.

Pure. It must never take more than bounded time, however hostile the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

LONGEST = 2000  # characters of an error text that are looked at
_FINGERPRINT = 160
_ANY_CASE = re.IGNORECASE | re.ASCII

CLASSES: Mapping[str, re.Pattern[str]] = {
    "db": re.compile(
        r"SQLSTATE|\bpq:|pgx|gorm|too many clients|connection slots|deadlock detected|canceling statement"
        r"|driver: bad connection|prepared statement"
    ),
    "redis": re.compile(r"\bredis:|NOAUTH|READONLY|OOM command|MISCONF|\bLOADING\b|connection pool timeout"),
    "downstream": re.compile(
        r"dial tcp (?![^\n]{0,200}(?:5432|6379))|no such host|TLS handshake|\bEOF\b|status code: 5\d\d"
    ),
    "rate_limit": re.compile(r"\b429\b|rate.?limit|too many requests|quota", _ANY_CASE),
    "timeout": re.compile(r"context deadline exceeded|i/o timeout|timeout exceeded", _ANY_CASE),
    "oom": re.compile(r"out of memory|cannot allocate", _ANY_CASE),
    "panic": re.compile(r"panic|recovered|nil pointer|runtime error", _ANY_CASE),
    "bind": re.compile(r"address already in use", _ANY_CASE),
    "auth": re.compile(r"\b401\b|\b403\b|invalid_grant|unauthorized", _ANY_CASE),
    "lease_expired": re.compile(r"asynq: task lease expired"),
    "config": re.compile(r"workflow not found|invalid workflow definition|not configured", _ANY_CASE),
}

# A text in which none of a class's words stands, in lower case, is not of that class. Looking for a word is ten times
# faster than the pattern, and logs have many lines.
WORDS: Mapping[str, tuple[str, ...]] = {
    "db": (
        *("sqlstate", "pq:", "pgx", "gorm", "too many clients", "connection slots", "deadlock detected"),
        *("canceling statement", "driver: bad connection", "prepared statement"),
    ),
    "redis": ("redis:", "noauth", "readonly", "oom command", "misconf", "loading", "connection pool timeout"),
    "downstream": ("dial tcp ", "no such host", "tls handshake", "eof", "status code: 5"),
    "rate_limit": ("429", "limit", "too many requests", "quota"),
    "timeout": ("context deadline exceeded", "i/o timeout", "timeout exceeded"),
    "oom": ("out of memory", "cannot allocate"),
    "panic": ("panic", "recovered", "nil pointer", "runtime error"),
    "bind": ("address already in use",),
    "auth": ("401", "403", "invalid_grant", "unauthorized"),
    "lease_expired": ("asynq: task lease expired",),
    "config": ("workflow not found", "invalid workflow definition", "not configured"),
}
_BY_WORD = tuple((word, name) for name, words in WORDS.items() for word in words)

_VARIABLE = re.compile(
    r"(?P<uuid>[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})"
    r"|(?P<hex>\b0x[0-9a-fA-F]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{12,}\b)"
    # Cut into letters and numbers, a key or a token could no more be known for what it is, and masked.
    r"|(?P<token>\beyJ[A-Za-z0-9_-]{8,2000}(?:\.[A-Za-z0-9_-]{1,2000}){0,2}"
    r"|(?<![A-Za-z0-9_-])(?=[A-Za-z_-]{0,300}\d)(?=[0-9_-]{0,300}[A-Za-z])[A-Za-z0-9_-]{20,})"
    r"|(?P<number>\d+)"
)
_NO_CLASS: frozenset[str] = frozenset()


def classes_of(text: str) -> frozenset[str]:
    """Every class the text belongs to: `redis: i/o timeout` is two."""
    looked_at = text[:LONGEST]
    lowered = looked_at.lower()
    possible = {name for word, name in _BY_WORD if word in lowered}
    return frozenset(name for name in possible if CLASSES[name].search(looked_at)) if possible else _NO_CLASS


def fingerprint(text: str, longest: int = _FINGERPRINT) -> str:
    """The text without what differs from case to case: ids, addresses, numbers."""
    first_line = text[:LONGEST].strip().split("\n", 1)[0]
    return _VARIABLE.sub(_placeholder, first_line)[:longest]


def _placeholder(found: re.Match[str]) -> str:
    return {"uuid": "<uuid>", "hex": "<hex>", "token": "<token>"}.get(found.lastgroup or "", "#")
