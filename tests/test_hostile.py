"""Every file of the hostile corpus is answered: with complaints that have a place and a mend, never a traceback."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Callable

import pytest
from hostile import FAMILIES, Hostile, corpus
from hostile.answering import Answer, answer

SMALL_STACK = 256 * 1024  # bytes: what a thread gets on some systems (safety A1)
HARMLESS = {"\n", "\t"}


def of_family(family: str) -> list[Hostile]:
    return [file for file in corpus() if file.family == family]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_hostile_file_is_answered(family: str) -> None:
    for file in of_family(family):
        said = answer(file)
        for complaint in said.complaints:
            assert complaint.line >= 1 and complaint.column >= 1, file.label
            assert re.fullmatch(r"RB\d{3}", complaint.code), f"{file.label}: {complaint}"
            assert complaint.message.strip(), file.label
        assert_printable(file, said)


def assert_printable(file: Hostile, said: Answer) -> None:
    """Nothing of what is printed acts on a terminal, whatever the file says (safety D3)."""
    for text in said.printed:
        acting = {sign for sign in text if unicodedata.category(sign) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - HARMLESS
        assert not acting, f"{file.label}: {acting!r}"


@pytest.mark.parametrize("family", ["bombs", "nesting", "expressions", "patterns", "sql", "scripts", "dependencies"])
def test_a_small_stack_is_enough(family: str) -> None:
    unanswered: list[str] = []

    def answer_all() -> None:
        for file in of_family(family):
            try:
                answer(file)
            except BaseException as error:
                unanswered.append(f"{file.label}: {type(error).__name__}: {error}")

    in_thread(answer_all, SMALL_STACK)
    assert not unanswered


def in_thread(act: Callable[[], None], stack: int) -> None:
    before = threading.stack_size(stack)
    try:
        thread = threading.Thread(target=act)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()


def test_the_corpus_is_large_and_each_of_its_files_another() -> None:
    files = corpus()
    assert len(files) >= 300  # safety A1
    assert len({file.label for file in files}) == len(files)
    assert len({(file.content, file.reader) for file in files}) == len(files)


@pytest.mark.parametrize("family", ["bombs", "nesting", "tags", "encodings", "libraries"])
def test_most_of_these_are_refused(family: str) -> None:
    """A reader that swallows everything would pass the rest of these tests."""
    files = of_family(family)
    refused = [file for file in files if answer(file).complaints]
    assert len(refused) >= len(files) / 2
