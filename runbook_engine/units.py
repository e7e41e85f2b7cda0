"""Durations are seconds and sizes are bytes everywhere inside; this reads and writes the forms that people use.

Never guesses a unit.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

LONGEST_TEXT = 40
LARGEST = 1e15  # seconds or bytes: beyond it somebody mistyped

_SECONDS = {
    "w": Decimal(604800),
    "d": Decimal(86400),
    "h": Decimal(3600),
    "m": Decimal(60),
    "s": Decimal(1),
    "ms": Decimal("0.001"),
}
_BYTES: dict[str, int] = {
    "B": 1,
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGTP", start=1)},
    **{f"{letter}B": 1000**power for power, letter in enumerate("KMGTP", start=1)},
    "kB": 1000,
}
_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|[wdhms]) ?")
_SIZE = re.compile(rf"({_NUMBER}) ?([A-Za-z]*)")


def parse_duration(value: str | int | float) -> float:
    """`5m`, `1h30m`, `250ms`, or a plain number of seconds, as seconds."""
    if isinstance(value, str):
        seconds = _duration_from_text(value.strip())
    else:
        seconds = _plain_number(value, "a duration", "a number of seconds or text like '5m', '1h30m', '250ms'")
    if not seconds <= LARGEST:
        raise ValueError(f"the duration {str(value)[:LONGEST_TEXT]!r} is too long")
    return float(seconds)


def parse_size(value: str | int | float) -> int:
    """`64MiB`, `1GB`, `512`, as bytes. `MiB` is 1024 x 1024, `MB` is a million."""
    size: float | Decimal
    if not isinstance(value, str):
        size = _plain_number(value, "a size", "a number of bytes or text like '512', '64MiB', '1GB'")
    else:
        size = _size_from_text(value.strip())
    if not size <= LARGEST:
        raise ValueError(f"the size {str(value)[:LONGEST_TEXT]!r} is too large")
    if size != int(size):
        raise ValueError(f"the size {value!r} is not a whole number of bytes")
    return int(size)


def format_duration(seconds: float) -> str:
    """Short text of at most two units: `250ms`, `2.5s`, `1m 30s`, `3d 4h`."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if not math.isfinite(seconds):
        return "for ever" if seconds > 0 else "not a number"
    if seconds < 0.9995:
        return f"{_trim(f'{seconds * 1000:.0f}')}ms" if seconds else "0s"
    if seconds < 9.95:
        return f"{_trim(f'{seconds:.1f}')}s"
    return _two_units(round(seconds))


def format_size(size: float) -> str:
    """Short text in powers of 1024: `512 B`, `64 MiB`, `1.5 GiB`."""
    if size < 0:
        return "-" + format_size(-size)
    if not math.isfinite(size):
        return format_number(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if round(size, 1) < 1024:
            return f"{_trim(f'{size:.1f}')} {unit}"
        size /= 1024
    return f"{_trim(f'{size:,.1f}')} PiB"


def format_number(value: float) -> str:
    """`5,003`, `33.333`, `0.00123`: thousands apart, three decimals that mean something."""
    if isinstance(value, int):
        return f"{value:,}" if abs(value) < 2**128 else f"a number of {value.bit_length()} bits"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    if value == 0:
        return "0"
    if abs(value) >= 1e15 or abs(value) < 0.1:
        return f"{value:.3g}"
    return _trim(f"{value:,.3f}")


def _duration_from_text(text: str) -> float:
    if len(text) <= LONGEST_TEXT and re.fullmatch(_NUMBER, text, re.ASCII):
        return float(text)
    total, largest, position = Decimal(0), Decimal("Infinity"), 0
    while position < len(text) <= LONGEST_TEXT:
        part = _DURATION_PART.match(text, position)
        if part is None or _SECONDS[part[2]] >= largest:
            break
        largest, position = _SECONDS[part[2]], part.end()
        total += Decimal(part[1]) * largest
    if not text or position < len(text):
        raise ValueError(
            f"{text[:LONGEST_TEXT]!r} is not a duration. Valid are numbers with w, d, h, m, s or ms, largest first, "
            "like '5m', '1h30m', '250ms', or plain seconds"
        )
    return float(total)


def _size_from_text(text: str) -> Decimal:
    match = _SIZE.fullmatch(text) if len(text) <= LONGEST_TEXT else None
    if match is None or (match[2] or "B") not in _BYTES:
        raise ValueError(
            f"{text[:LONGEST_TEXT]!r} is not a size. Valid are a number of bytes, or one with KiB, MiB, GiB, TiB, PiB "
            "(powers of 1024) or kB, MB, GB, TB, PB (powers of 1000), like '64MiB'"
        )
    return Decimal(match[1]) * _BYTES[match[2] or "B"]


def _plain_number(value: int | float, what: str, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{str(value)[:LONGEST_TEXT]} is not {what}; expected {expected}")
    if isinstance(value, int) and value > LARGEST:
        raise ValueError(f"a number of {value.bit_length()} bits is too large for {what}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{value} is not {what}: it must not be negative; expected {expected}")
    return value


def _two_units(seconds: int) -> str:
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, length)
        if count or parts:
            parts.append(f"{count}{unit}" if count else "")
    return " ".join(part for part in parts[:2] if part)


def _trim(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
