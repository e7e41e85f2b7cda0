"""`# runbook: ignore[RBnnn] reason`: a warning that its author has looked at and keeps, and why. Pure.

It silences warnings of its line and of the whole text that begins there; alone on a line it is about the next one. What
refuses a playbook it never silences.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from .errors import Complaint
from .layout.tree import long_texts, placed_comments
from .loading.source_text import complaint_at, split_lines
from .loading.suggestions import suggest

UNHEEDED, NEEDLESS = "RB620", "RB621"
CODES = {
    UNHEEDED: "An ignore comment that is not heeded: it has no reason, no known code, or one of an error.",
    NEEDLESS: "An ignore comment that silences nothing: what it was for is gone, or stands on another line.",
}
FORM = "# runbook: ignore[RBnnn] why it does not matter here"
MOST_CODES = 20  # of one comment that are read
MOST_SUGGESTIONS = 100  # a file with more of them was not mistyped

_MARK = re.compile(r"#[ \t]*runbook:[ \t]*ignore\b[ \t]*", re.IGNORECASE)
_CODES = re.compile(r"\[([^\]]*)\][ \t]*:?[ \t]*")
_CODE = re.compile(r"[^\s,]+")
_COMMENT_OR_NOTHING = re.compile(r"[ \t]*(?:#.*)?")


@dataclass(frozen=True, slots=True)
class Ignore:
    """One code of one comment: where that code stands, and the lines for which it counts."""

    code: str
    reason: str
    line: int
    column: int
    first: int
    last: int

    def places(self) -> Iterator[tuple[str, int]]:
        return ((self.code, line) for line in range(self.first, self.last + 1))


@dataclass(frozen=True)
class Ignores:
    """Those of one text, and what is wrong with those that are not heeded."""

    path: str
    lines: Sequence[str]
    heeded: tuple[Ignore, ...]
    unheeded: tuple[Complaint, ...]

    def marked(self, complaints: Iterable[Complaint]) -> list[Complaint]:
        """The complaints, each that is silenced with the reason."""
        return [replace(each, ignored=self.reason(each)) for each in complaints]

    def reason(self, complaint: Complaint) -> str:
        """Why a complaint is ignored; nothing when it is not."""
        found = self._by_place.get((complaint.code, complaint.line))
        silenced = found is not None and complaint.path == self.path and complaint.severity == "warning"
        return found.reason if found is not None and silenced else complaint.ignored

    def needless(self, complaints: Iterable[Complaint], elsewhere: Collection[str]) -> Iterator[Complaint]:
        """Those that silence none of the complaints; codes judged elsewhere, with other files, are left out."""
        own = {(each.code, each.line) for each in complaints if each.path == self.path}
        for each in self.heeded:
            if each.code not in elsewhere and not any(place in own for place in each.places()):
                message = f"nothing here to ignore: {each.code} is not complained of. remove it"
                yield _complaint(self.path, self.lines, (each.line, each.column), message, NEEDLESS)

    @cached_property
    def _by_place(self) -> dict[tuple[str, int], Ignore]:
        return {place: each for each in reversed(self.heeded) for place in each.places()}


def ignores_in(text: str, path: str, warnings: Collection[str], errors: Collection[str]) -> Ignores:
    """What the comments of a text ask to ignore; `warnings` and `errors` are the codes there are."""
    lines = split_lines(text)
    heeded: list[Ignore] = []
    unheeded: list[Complaint] = []
    if _MARK.search(text) is None:
        return Ignores(path, lines, (), ())
    longer, meant = long_texts(text), _meant(lines)
    for (row, column), comment in placed_comments(text):
        mark = _MARK.match(comment)
        if mark is None:
            continue
        first = meant[row]
        reading = _Reading(comment, mark.end(), (row + 1, column + 1), (first + 1, longer.get(first, first) + 1))
        near = warnings if len(unheeded) < MOST_SUGGESTIONS else ()
        for at, message in reading.problems(warnings, errors, near):
            unheeded.append(_complaint(path, lines, at, message, UNHEEDED))
        heeded += reading.ignores(warnings)
    return Ignores(path, lines, tuple(heeded), tuple(unheeded))


@dataclass(frozen=True, slots=True)
class _Reading:
    """One comment: its text from `#` on, where its codes should begin, where it stands and what it is about."""

    comment: str
    start: int
    place: tuple[int, int]
    about: tuple[int, int]

    def problems(
        self, warnings: Collection[str], errors: Collection[str], near: Collection[str]
    ) -> Iterator[tuple[tuple[int, int], str]]:
        codes = list(self._codes())
        if not codes:
            yield self.place, f"this ignores nothing: it names no code. write {FORM}"
        for at, code in codes:
            if code in errors:
                yield at, f"{code} cannot be ignored: it is an error, and the playbook would not be run. mend it"
            elif code in CODES:
                yield at, f"{code} cannot be ignored: it is about ignoring"
            elif code not in warnings:
                yield at, f"there is no code {code[:20]!r} to ignore{suggest(code, near)}"
        if codes and not self._reason():
            yield self.place, f"an ignore needs its reason, for whoever reads it next: {FORM}"

    def ignores(self, warnings: Collection[str]) -> Iterator[Ignore]:
        if self._reason():
            for at, code in self._codes():
                if code in warnings and code not in CODES:
                    yield Ignore(code, self._reason(), *at, *self.about)

    def _codes(self) -> Iterator[tuple[tuple[int, int], str]]:
        found = _CODES.match(self.comment, self.start)
        if found is None:
            return
        for code in islice(_CODE.finditer(self.comment, found.start(1), found.end(1)), MOST_CODES):
            yield (self.place[0], self.place[1] + code.start()), code[0].upper()

    def _reason(self) -> str:
        found = _CODES.match(self.comment, self.start)
        return self.comment[found.end() :].strip() if found else ""


def _meant(lines: Sequence[str]) -> list[int]:
    """The line that a comment on each line is about: that one, or the next where it holds nothing else."""
    meant = list(range(len(lines)))
    for row in range(len(lines) - 2, -1, -1):
        if _COMMENT_OR_NOTHING.fullmatch(lines[row]):
            meant[row] = meant[row + 1]
    return meant


def _complaint(path: str, lines: Sequence[str], at: tuple[int, int], message: str, code: str) -> Complaint:
    return replace(complaint_at(list(lines), path, *at, message, code), severity="warning")
