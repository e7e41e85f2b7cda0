"""When a five-field cron expression is due next, in UTC. Minutes at best, as in LinkFlow; it never runs anything."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

# What Go's zero time is in PostgreSQL: LinkFlow stores it for an expression that never matches.
NEVER = datetime(1, 1, 1, tzinfo=UTC)
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


class CronError(ValueError):
    """The expression cannot be read."""


def next_run(expression: str, after: datetime) -> datetime:
    """The first whole minute later than `after` that matches; NEVER when none does within five years."""
    parts = expression.split()
    if len(parts) != len(FIELDS):
        raise CronError(f"expected exactly 5 fields, found {len(parts)}: [{expression}]")
    minutes, hours, days, months, weekdays = (
        _values(part, *limits) for part, limits in zip(parts, FIELDS, strict=True)
    )
    moment = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    end = moment + timedelta(days=5 * 366)
    while moment < end:
        if moment.day not in days or moment.month not in months or moment.isoweekday() % 7 not in weekdays:
            moment = moment.replace(hour=0, minute=0) + timedelta(days=1)
        elif moment.hour not in hours:
            moment = moment.replace(minute=0) + timedelta(hours=1)
        elif moment.minute not in minutes:
            moment += timedelta(minutes=1)
        else:
            return moment
    return NEVER


def plan_schedules(connection: Any) -> None:
    """Give every schedule the time at which it is due next, as if LinkFlow had run all along."""
    now = datetime.now(UTC)
    rows = connection.execute("select id, cron_expression from schedules").fetchall()
    for schedule, expression in rows:
        connection.execute("update schedules set next_run_at = %s where id = %s", (next_run(expression, now), schedule))


def _values(field: str, low: int, high: int) -> set[int]:
    values: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        try:
            start = low if span == "*" else int(first)
            end = high if span == "*" or (step and not dash) else int(last or first)
            values |= set(range(start, end + 1, int(step or 1)))
        except ValueError as error:
            raise CronError(f"failed to parse field {field!r}: {error}") from error
    if not values or min(values) < low or max(values) > high:
        raise CronError(f"field {field!r} is outside {low} to {high}")
    return values
