"""Plays files of tests side by side, each in a process that is sealed before it reads the first of them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import executors
from ..cases import Case
from ..coverage import Coverage
from ..errors import Complaint, PlaybookError, RunbookError, UsageError
from ..playing import Result, asked_steps, play
from ..runner import used_executors
from ..sealed import seal
from ..story import story
from .files import TestFile, cassette_of, open_tests

Json = Any


@dataclass(frozen=True, slots=True)
class Tested:
    """One test that was played. `story` is told where it failed; `found` is what came out, None where it broke off."""

    number: int
    name: str
    place: str  # file:line
    differences: tuple[str, ...]
    notes: tuple[str, ...] = ()
    story: tuple[str, ...] = ()
    found: Mapping[str, Json] | None = None

    @property
    def passed(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """The tests of one file."""

    path: Path
    playbook: str
    tests: Sequence[Tested]
    coverage: Coverage
    seconds: float
    sources: Sequence[Path] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A file whose tests cannot be played: what is wrong with it, or with its playbook."""

    path: Path
    complaints: tuple[Complaint, ...] = ()
    says: str = ""

    def told(self) -> list[str]:
        return [*map(str, self.complaints), *([self.says] if self.says else [])]

    @property
    def sources(self) -> tuple[Path, ...]:
        return (self.path, *(Path(each.path) for each in self.complaints))


def rehearse_all(files: Sequence[Path], only: str, environ: Mapping[str, str]) -> list[Rehearsed | Refused]:
    """Every file, several at a time where there are several processors. The order is that of the files."""
    tempfile.gettempdir()  # found out by writing: later that is not allowed any more
    for name in executors.names():
        executors.find(name)  # imported once, for all processes
    gc.collect()
    gc.freeze()  # what is known by now is shared with the processes, and never looked at again
    try:
        return _side_by_side(files, only, environ)
    finally:
        gc.unfreeze()


def _side_by_side(files: Sequence[Path], only: str, environ: Mapping[str, str]) -> list[Rehearsed | Refused]:
    jobs = min(len(os.sched_getaffinity(0)), len(files))
    longest_first = sorted(range(len(files)), key=lambda n: -_size(files[n]))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork"), initializer=_begin) as pool:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            futures = {number: pool.submit(rehearse, files[number], only, dict(environ)) for number in longest_first}
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        try:
            return [futures[number].result() for number in range(len(files))]
        except BrokenProcessPool as broken:
            raise RunbookError(f"a process that rehearsed ended by itself: {broken}") from broken
        except KeyboardInterrupt:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the others
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    gc.set_threshold(50_000, 20, 100)  # a story leaves little behind that refers to itself
    seal()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def rehearse(path: Path, only: str, environ: Mapping[str, str]) -> Rehearsed | Refused:
    """The tests of one file whose name contains `only`."""
    began = time.monotonic()
    try:
        file = open_tests(path, environ)
    except PlaybookError as error:
        return Refused(path, error.complaints)
    except UsageError as error:
        return Refused(path, says=str(error))
    coverage = Coverage.of(file.loaded)
    tests = [tested(file, number, case, coverage) for number, case in enumerate(file.cases.tests) if only in case.name]
    seconds = round(time.monotonic() - began, 2)
    return Rehearsed(path, file.loaded.playbook.name, tests, coverage, seconds, file.sources())


def tested(file: TestFile, number: int, case: Case, coverage: Coverage) -> Tested:
    """One test of a file."""
    used = used_executors(file.loaded)
    try:
        cassette = cassette_of(file.path, case.cassette, file.loaded.playbook.name)
        result, events = play(file.loaded, file.cases, case, cassette, used)
    except UsageError as error:
        result, events = Result(case, (str(error),), {}), []
    coverage.add(result.document, events)
    told: list[str] = []
    if not result.passed and events:
        told = story(case.expect, events, asked_steps(events), broken=not result.document)
    found = result.found if not result.passed else None
    return Tested(number, case.name, file.place(number), result.differences, result.notes, tuple(told), found)
