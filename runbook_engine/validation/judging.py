"""Everything that is wrong with one file, whatever its kind; many files on every processor there is."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from .. import executors as installed
from ..case_names import misnamed, without_playbook
from ..cases import Cases
from ..errors import Complaint, PlaybookError
from ..linter import ignores
from ..linter import run_all as lint
from ..loader import LoadedPlaybook, kind_of_file, load_library, load_playbook, validate_document
from ..loading import yaml_reader
from ..loading.source_text import split_lines
from ..runner import used_executors
from ..targets import Configuration
from .files import PLAYBOOK
from .together import SAME_ALERT
from .verdicts import Claim, Verdict

Libraries = dict[str, tuple[str, str]]
Work = tuple[str, bytes, Libraries]  # path, content, the libraries that it uses
SHAPES = "RB100"  # the codes below are about the text itself: where they stand, comments cannot be told from it
WORTH_A_PROCESS = 64  # files: fewer are judged sooner than another process has begun
MOST_PROCESSES = 8
_FORK = get_context("fork")


def judge(path: str, content: bytes, libraries: Libraries) -> list[Complaint]:
    """What is wrong with a file by itself, in the order of the file."""
    return list(verdict(path, content, libraries).complaints)


def verdict(path: str, content: bytes, libraries: Libraries) -> Verdict:
    """The same, and what counts where several files are judged together."""
    text = content.decode("utf-8", errors="replace")
    try:
        match kind_of_file(text, path):
            case "library":
                load_library(content, path)
            case "environments":
                validate_document(content, path, Configuration, {})
            case "cases":
                _judge_tests(path, content, libraries)
            case _:
                loaded = load_playbook(content, path, libraries=libraries)
                return Verdict(tuple(lint(loaded)), tuple(_claims(loaded)))
    except PlaybookError as error:
        readable = not any(each.code < SHAPES for each in error.complaints)
        unheeded = ignores(text, path).unheeded if readable else ()
        return Verdict((*error.complaints, *unheeded))
    return Verdict(ignores(text, path).unheeded)


def _judge_tests(path: str, content: bytes, libraries: Libraries) -> None:
    """Their shape, then the names that their playbook does not have; one that is broken is judged by itself."""
    cases = validate_document(content, path, Cases, {})
    if PLAYBOOK not in libraries:
        return
    others = {name: each for name, each in libraries.items() if name != PLAYBOOK}
    place, text = libraries[PLAYBOOK]
    written = content.decode()
    if not place:  # there is none, and the text says so
        root = yaml_reader.read(written, path)
        raise PlaybookError((without_playbook(text, root, split_lines(written)),))
    try:
        loaded = load_playbook(text, place, libraries=others)
    except PlaybookError:
        return
    wrong = misnamed(loaded, cases, yaml_reader.read(written, path), split_lines(written), used_executors(loaded))
    if wrong:
        raise PlaybookError(tuple(wrong))


def _claims(loaded: LoadedPlaybook) -> Iterator[Claim]:
    asked = ignores(loaded.text, loaded.path)
    for index, labels in enumerate(loaded.playbook.alerts):
        place = loaded.complaint(("alerts", index), SAME_ALERT, "")
        if labels:
            place = replace(place, ignored=asked.reason(place))
            yield Claim(loaded.playbook.name, tuple(sorted(labels.items())), place)


def judge_all(work: Sequence[Work]) -> Iterator[Verdict]:
    """The verdicts in the order of the work. What another process does not answer is judged here."""
    count = min(len(os.sched_getaffinity(0)), MOST_PROCESSES, len(work) // WORTH_A_PROCESS)
    if count < 2:
        yield from (verdict(*each) for each in work)
        return
    helpers = [_helper(work[index::count]) for index in range(count)]
    try:
        for index, each in enumerate(work):
            try:
                yield helpers[index % count][1].recv()
            except (EOFError, OSError):
                yield verdict(*each)
    finally:
        for process, answers in helpers:
            answers.close()
            process.kill()
            process.join()


def _helper(work: Sequence[Work]) -> tuple[BaseProcess, Connection]:
    """A process that judges its share, and where its verdicts come from."""
    answers, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_share, args=(work, sender), daemon=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        sender.close()  # so that its end is seen, and no later process holds it open
    return process, answers


def _share(work: Sequence[Work], sender: Connection) -> None:
    # Ctrl-C reaches all processes: the parent says so, this one just ends.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # A bug shows once more, and properly, where the parent judges what was not answered.
    with contextlib.suppress(Exception):
        for each in work:
            sender.send(verdict(*each))


def depends_on_third_parties(content: bytes) -> bool:
    """Whether an executor of another package has a say: its code may change without a sign that we could see."""
    return any(f"{name}:".encode() in content for name in installed.installed_names())
