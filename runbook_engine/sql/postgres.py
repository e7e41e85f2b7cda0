"""What PostgreSQL says, in our words: why a connection failed, and a value as plain JSON. Pure; must never import the
driver.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable

from ..executor import Json

_CONNECT_FAILURES = (
    ("too_many", r"too many clients already|remaining connection slots are reserved|too many connections for"),
    ("too_many", r"no more connections allowed"),  # PgBouncer
    ("not_ready", r"starting up|in recovery mode|shutting down|not yet accepting|system is not accepting"),
    ("db_closed", r"not currently accepting connections"),
    ("no_db", r'database ".*" does not exist|no such database'),
    ("auth", r"authentication failed|no pg_hba\.conf entry|pg_hba\.conf rejects|no password supplied"),
    ("auth", r'not permitted to log in|role ".*" does not|permission denied for database'),
    ("dns", r"could not translate host name|Name or service not known|name resolution|failed to resolve host"),
    ("tls", r"SSL|certificate|TLS"),
    ("refused", r"Connection refused|No such file or directory"),
    ("timeout", r"timeout|timed out"),
    ("unreachable", r"No route to host|Network is unreachable|Host is unreachable"),
    ("reset", r"reset by peer|closed the connection unexpectedly|Broken pipe"),
)


def connect_failure(message: str) -> str:
    """The class of a failed connect. By text: libpq gives no SQLSTATE before a session exists."""
    for code, pattern in _CONNECT_FAILURES:
        if re.search(pattern, message):
            return code
    return "unreachable"


def first_line(message: str) -> str:
    """The first line that says something, without libpq's prefix."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return re.sub(r"^(?:connection failed: |FATAL: +|ERROR: +)+", "", lines[0]) if lines else "no message"


_TIMESTAMP = re.compile(r"(\d{4,}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?(?:([+-]\d\d)(:\d\d)?(:\d\d)?)?")


def timestamp(text: str) -> Json:
    """ISO with microseconds. `infinity` and years before Christ stay as the server wrote them."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        return text
    zone = f"{found[4]}{found[5] or ':00'}{found[6] or ''}" if found[4] else ""
    return f"{found[1]}T{found[2]}.{(found[3] or '').ljust(6, '0')}{zone}"


def exact_number(text: str) -> Json:
    """An integer when written without a point, else a float; NaN and infinities stay text, JSON has none."""
    if re.fullmatch(r"-?\d+", text):
        return int(text)
    return plain(float(text)) if re.fullmatch(r"-?[\d.]+(?:e[+-]?\d+)?", text) else text


_UNIT_SECONDS = {"year": 365.25 * 86400, "mon": 30 * 86400, "day": 86400}
_UNITS = re.compile(r"([+-]?\d+) (year|mon|day)s?")
_CLOCK = re.compile(r"([+-]?)(\d+):(\d\d):(\d\d(?:\.\d+)?)$")


def interval(text: str) -> Json:
    """Seconds, counted as the server's own `extract(epoch from …)` does."""
    units, clock = list(_UNITS.finditer(text)), _CLOCK.search(text)
    if not units and not clock:
        return text
    seconds = sum(int(found[1]) * _UNIT_SECONDS[found[2]] for found in units)
    if clock:
        part = int(clock[2]) * 3600 + int(clock[3]) * 60 + float(clock[4])
        seconds += -part if clock[1] == "-" else part
    return int(seconds) if seconds == int(seconds) else seconds


# Types that the driver hands over as the server wrote them, since its own loaders refuse `infinity`.
FROM_TEXT: dict[str, Callable[[str], Json]] = {
    "timestamp": timestamp,
    "timestamptz": timestamp,
    "date": str,
    "time": str,
    "timetz": str,
    "interval": interval,
    "numeric": exact_number,
}


def plain(value: object) -> Json:
    """Any value the driver loaded, as JSON."""
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode("ascii")
        case list() | tuple():
            return [plain(item) for item in value]
        case dict():
            return {str(key): plain(item) for key, item in value.items()}
        case _:
            return str(value)


def converted(value: object, convert: Callable[[str], Json]) -> Json:
    """A value that came as text, or an array of them."""
    if isinstance(value, list):
        return [converted(item, convert) for item in value]
    return convert(value) if isinstance(value, str) else plain(value)
