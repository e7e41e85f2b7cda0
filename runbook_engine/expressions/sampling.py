"""Functions over `samples`, the list of whole answers of one probe: what moved between the first and the last.

Never guesses over a reset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

from runbook_engine.units import format_duration

from .values import (
    Frame,
    Json,
    NotKnownError,
    Unknown,
    described,
    find_key,
    find_path,
    identity,
    is_list,
    items,
    number,
    same,
    show,
)

FEWEST_EVENTS = 20  # a rate over fewer is noise (unless nothing at all happened)


def rate(frame: Frame, path: str) -> Json:
    """Events a second between the first and the last sample."""
    seconds = _seconds(frame)
    change = delta(frame, path)
    if change < 0:
        raise NotKnownError(f"the counter {path} went backwards, by {show(-change)}: it was reset")
    if 0 < change < FEWEST_EVENTS:
        raise NotKnownError(f"only {show(change)} events of {path} in {format_duration(seconds)}, too few for a rate")
    return change / seconds


def delta(frame: Frame, path: str) -> int | float:
    """The last value minus the first."""
    values = [number(value, f"{path} in a sample") for value in _series(frame, path)]
    return values[-1] - values[0]


def rises(frame: Frame, path: str) -> int:
    """In how many successive samples the number rose."""
    values = [number(value, f"{path} in a sample") for value in _series(frame, path)]
    return sum(after > before for before, after in pairwise(values))


def changes(frame: Frame, path: str) -> int:
    """In how many successive samples the value was another one."""
    return sum(not same(frame, before, after) for before, after in pairwise(_series(frame, path)))


def diff(frame: Frame, path: str, key: str) -> list[Json]:
    """Rows of the last sample, numbers as differences to the row of the first with the same `key` (`a,b`: several).

    A row that is new counts as a whole; one that is gone is not listed.
    """
    series = _series(frame, path)
    columns = [column.strip() for column in key.split(",")]
    first, last = (_by_key(frame, rows, path, columns) for rows in (series[0], series[-1]))
    return [dict(_changed(frame, first.get(found), row, columns)) for found, row in last.items()]


def _seconds(frame: Frame) -> float:
    taken = _samples(frame)
    first, last = (number(find_key(taken[index], "at", "a sample"), "the time of a sample") for index in (0, -1))
    if last <= first:
        raise NotKnownError("no time passed between the samples")
    return last - first


def _series(frame: Frame, path: str) -> list[Json]:
    return [find_path(sample, path, f"sample {index}") for index, sample in enumerate(_samples(frame), start=1)]


def _samples(frame: Frame) -> list[Json]:
    if "samples" not in frame.scope:
        raise NotKnownError("there are no samples here; 'sample: {times: 2, every: 10s}' takes them")
    samples = frame.scope["samples"]
    if isinstance(samples, Unknown):
        raise NotKnownError(samples.reason)
    taken = items(frame, samples, "samples")
    if len(taken) < 2:
        raise NotKnownError(f"{show(taken)} of samples, at least two are needed")
    return taken


def _by_key(frame: Frame, rows: Json, path: str, columns: list[str]) -> dict[object, Mapping[str, Json]]:
    if not is_list(rows):
        raise NotKnownError(f"{path} is {described(rows)}, not a list of rows")
    found: dict[object, Mapping[str, Json]] = {}
    for row in items(frame, rows, path):
        values = tuple(identity(frame, find_key(row, column, f"a row of {path}")) for column in columns)
        if values in found:
            raise NotKnownError(f"several rows of {path} have the same {', '.join(columns)}")
        found[values] = row
    return found


def _changed(
    frame: Frame, before: Mapping[str, Json] | None, row: Mapping[str, Json], columns: list[str]
) -> Iterator[tuple[str, Json]]:
    frame.spend(len(row))
    for name, value in row.items():
        earlier = None if before is None or name in columns else before.get(name)
        yield name, value - earlier if _is_number(value) and _is_number(earlier) else value


def _is_number(value: Json) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


SAMPLED: dict[str, Callable[[Frame, str], Json]] = {"rate": rate, "delta": delta, "rises": rises, "changes": changes}
