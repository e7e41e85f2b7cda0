"""Mends files in place: one mistake after the other, each judged anew, all else byte for byte as it was.

A file is written only when it has fewer complaints of the kind that were mended and no more of any that were known.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import unified_diff
from io import BytesIO
from pathlib import Path

from ..errors import Complaint, UsageError
from ..mends import mends
from .files import Source, sources
from .judging import judge
from .run import Libraries, library_finder
from .text import Edit, Text

MOST_JUDGED = 16 * 1024 * 1024  # bytes of one file, over all mends that are tried: each is judged by itself
MOST_TRIES = 1000
MOST_COMPLAINTS = 500  # of one file that are looked at
LONGEST_LINE = 2000  # a longer one was not written by hand, and the patterns of mends look back


def mend_files(names: Sequence[str], environ: Mapping[str, str], *, write: bool) -> Iterator[str]:
    """Mends every file that the names lead to, or only tells what it would mend: the lines of the differences."""
    find = library_finder(environ)
    for source in list(sources(names, BytesIO())):
        mended = _mended(source, find(source))
        if mended is None:
            continue
        before, after = source.content.decode().split("\n"), mended.split("\n")
        yield from unified_diff(before, after, source.path, source.path, lineterm="")
        if write:
            _replace(Path(source.path), source.content, mended.encode())


def _mended(source: Source, libraries: Libraries) -> str | None:
    """The text of the file with what has one right mend mended; None where nothing has."""
    if source.complaint is not None:
        return None
    try:
        text = Text(source.path, source.content.decode())
    except UnicodeDecodeError:
        return None
    mending = _Mending(libraries, min(MOST_TRIES, MOST_JUDGED // max(1, len(source.content))))
    original, found = text, judge(source.path, source.content, libraries)
    while (step := mending.next(text, found)) is not None:
        text, found = step
    return text.text if text.text != original.text else None


@dataclass(slots=True)
class _Mending:
    """One file's: how many mends may still be tried, and which complaints none mends."""

    libraries: Libraries
    tries: int
    refused: set[Complaint] = field(default_factory=set)

    def next(self, text: Text, found: list[Complaint]) -> tuple[Text, list[Complaint]] | None:
        """The text after the first mend that makes it better, and what is still wrong with it."""
        # A mistake in the shape hides what a later mend has to know.
        for complaint in sorted(found[:MOST_COMPLAINTS], key=_stage):
            if complaint.path != text.path or complaint.ignored or complaint in self.refused:
                continue
            for edits in _edits(complaint, text):
                if self.tries <= 0:
                    return None
                self.tries -= 1
                better = text.with_edits(edits)
                left = judge(text.path, better.text.encode(), self.libraries)
                if better.text != text.text and _is_better(complaint, found, left):
                    return better, left
            self.refused.add(complaint)
        return None


def _edits(complaint: Complaint, text: Text) -> Iterator[list[Edit]]:
    for each in mends() if len(text.line(complaint.line)) <= LONGEST_LINE else ():
        if complaint.code in each.CODES:
            edits = each.mend(complaint, text)
            if edits:
                yield edits


def _is_better(mended: Complaint, before: Sequence[Complaint], after: Sequence[Complaint]) -> bool:
    """This one is gone, and nothing new was done wrong.

    A mistake in the YAML or in the shape of a file hides what else is wrong with it, and any error hides warnings; what
    comes to light when it is mended was there before. So only complaints of the stages that had been reached count.
    """
    if _same(mended, after) >= _same(mended, before):
        return False
    reached = min((_stage(each) for each in before if each.severity == "error"), default=_WARNINGS)
    if reached == 0 and len(before) == 1:
        # The next mistake in the YAML itself may now be the one that hides the rest; one further up would be ours.
        return all(each.line > mended.line for each in after if _stage(each) == 0)
    left = sum(_stage(each) <= reached for each in after)
    known = sum(_stage(each) <= reached for each in before)
    return left < known or (left == known and any(_goes_on(mended, each) for each in after))


def _goes_on(mended: Complaint, next_one: Complaint) -> bool:
    """Of one expression only the first mistake is told: the next one on the line was there before."""
    same = (next_one.code, next_one.line) == (mended.code, mended.line)
    return mended.code == "RB201" and same and next_one.column > mended.column


_WARNINGS = 3


def _stage(complaint: Complaint) -> int:
    """0: the YAML, 1: shapes, 2: what is judged only when those are sound, 3: what is told only of a sound file."""
    if complaint.severity == "warning":
        return _WARNINGS
    number = int(complaint.code[2:])
    return 0 if number < 100 else 1 if number < 110 else 2


def _same(complaint: Complaint, among: Sequence[Complaint]) -> int:
    """How many complaints are this one, wherever it may have moved to."""
    return sum((each.code, each.message) == (complaint.code, complaint.message) for each in among)


def _replace(path: Path, before: bytes, after: bytes) -> None:
    """At once or not at all; the mode stays, a link stays a link, and what somebody wrote meanwhile is not lost."""
    real = path.resolve()
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(after)
                file.flush()
                os.fsync(descriptor)
            status = real.stat()
            os.chmod(made, status.st_mode & 0o7777)
            if (status.st_uid, status.st_gid) != (os.geteuid(), os.getegid()):
                os.chown(made, status.st_uid, status.st_gid)
            if real.read_bytes() != before:
                raise UsageError(f"{path} has changed while it was looked at. nothing was written: run it again")
            os.replace(made, real)
        except BaseException:
            os.unlink(made)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
