"""What LinkFlow's Go clients say when PostgreSQL or Redis fails. Texts only; it connects to nothing."""

from __future__ import annotations

import re

import psycopg
import redis

_FATAL = (
    ("53300", r"too many clients already|remaining connection slots|too many connections for"),
    ("57P03", r"starting up|shutting down|in recovery mode|not yet accepting"),
    ("28P01", r"password authentication failed"),
    ("3D000", r'database ".*" does not exist'),
    ("55000", r"not currently accepting connections"),
)
_REDIS_WORDS = {
    redis.exceptions.OutOfMemoryError: "OOM",
    redis.exceptions.ReadOnlyError: "READONLY",
    redis.exceptions.BusyLoadingError: "LOADING",
    redis.exceptions.MasterDownError: "MASTERDOWN",
    redis.exceptions.NoPermissionError: "NOPERM",
}


def of_database(error: Exception, port: int) -> str:
    """As pgx words it."""
    if isinstance(error, psycopg.Error) and error.sqlstate:
        return f"ERROR: {error.diag.message_primary} (SQLSTATE {error.sqlstate})"
    text = str(error).strip()
    place = f"failed to connect to `user=linkflow database=linkflow`: 127.0.0.1:{port} (127.0.0.1)"
    for code, pattern in _FATAL:
        if found := re.search(f"[^:]*(?:{pattern}).*", text):
            return f"{place}: server error: FATAL: {found[0].strip()} (SQLSTATE {code})"
    if "refused" in text:
        return f"{place}: dial error: dial tcp 127.0.0.1:{port}: connect: connection refused"
    return "driver: bad connection"


def of_redis(error: redis.RedisError, port: int) -> str:
    """As go-redis words it; the driver here strips the first word of an answer, which is put back."""
    if isinstance(error, redis.exceptions.TimeoutError):
        return f"redis: read tcp 127.0.0.1:{port}: i/o timeout"
    word = next((word for kind, word in _REDIS_WORDS.items() if isinstance(error, kind)), "")
    text = re.sub(r"^Command # \d+ .* of pipeline caused error: ", "", str(error).strip(), flags=re.DOTALL)
    if word:
        return text if text.startswith(word) else f"{word} {text}"
    if isinstance(error, redis.exceptions.AuthenticationError):
        return "NOAUTH Authentication required."
    if isinstance(error, redis.exceptions.ConnectionError):
        return (
            "redis: connection pool: failed to dial after 5 attempts: "
            f"dial tcp 127.0.0.1:{port}: connect: connection refused"
        )
    return text


def of_enqueue(error: redis.RedisError, port: int) -> str:
    """As asynq's client wraps it."""
    return f"failed to enqueue task: UNKNOWN: redis command error: EVALSHA failed: {of_redis(error, port)}"
