"""Everything that is wrong with one file, whatever its kind; many files on every processor there is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from .. import executors as installed
from ..cases import Cases
from ..errors import Complaint, PlaybookError
from ..linter import run as lint
from ..loader import kind_of_file, load_library, load_playbook, validate_document
from ..targets import Configuration

Libraries = dict[str, tuple[str, str]]
Work = tuple[str, bytes, Libraries]  # path, content, the libraries that it uses
WORTH_A_PROCESS = 64  # files: fewer are judged sooner than another process has begun
MOST_PROCESSES = 8
AT_ONCE = 16


def judge(path: str, content: bytes, libraries: Libraries) -> list[Complaint]:
    """What is wrong with a file, in the order of the file."""
    try:
        match kind_of_file(content.decode("utf-8", errors="replace"), path):
            case "library":
                load_library(content, path)
            case "environments":
                validate_document(content, path, Configuration, {})
            case "cases":
                validate_document(content, path, Cases, {})
            case _:
                return lint(load_playbook(content, path, libraries=libraries))
    except PlaybookError as error:
        return list(error.complaints)
    return []


def judge_all(work: Sequence[Work]) -> Iterator[list[Complaint]]:
    """The verdicts in the order of the work."""
    processes = min(len(os.sched_getaffinity(0)), MOST_PROCESSES, len(work) // WORTH_A_PROCESS)
    done = 0
    if processes > 1:
        try:
            with ProcessPoolExecutor(processes, get_context("fork"), _leave_interrupts_to_the_parent) as pool:
                try:
                    for verdict in pool.map(_judge, work, chunksize=AT_ONCE):
                        yield verdict
                        done += 1
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        except (BrokenProcessPool, OSError):
            pass  # a process was killed or could not begin; what is left is judged here
    for each in work[done:]:
        yield _judge(each)


def depends_on_third_parties(content: bytes) -> bool:
    """Whether an executor of another package has a say: its code may change without a sign that we could see."""
    return any(f"{name}:".encode() in content for name in installed.installed_names())


def _judge(work: Work) -> list[Complaint]:
    return judge(*work)


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
