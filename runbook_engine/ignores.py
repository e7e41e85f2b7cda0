"""`# runbook: ignore[RBnnn] reason`: a warning that its author has looked at and keeps, and why. Pure.

It silences warnings of its line and of the whole text that begins there; alone on a line it is about the next one. What
refuses a playbook it never silences.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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

    def silences(self, complaint: Complaint) -> bool:
        warning = complaint.severity == "warning"
        return warning and self.code == complaint.code and self.first <= complaint.line <= self.last


@dataclass(frozen=True, slots=True)
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
        found = (each.reason for each in self.heeded if complaint.path == self.path and each.silences(complaint))
        return next(found, complaint.ignored)

    def needless(self, complaints: Collection[Complaint], elsewhere: Collection[str]) -> Iterator[Complaint]:
        """Those that silence none of the complaints; codes judged elsewhere, with other files, are left out."""
        own = [each for each in complaints if each.path == self.path]
        for each in self.heeded:
            if each.code not in elsewhere and not any(each.silences(complaint) for complaint in own):
                message = f"nothing here to ignore: {each.code} is not complained of. remove it"
                yield _complaint(self.path, self.lines, (each.line, each.column), message, NEEDLESS)


def ignores_in(text: str, path: str, warnings: Collection[str], errors: Collection[str]) -> Ignores:
    """What the comments of a text ask to ignore; `warnings` and `errors` are the codes there are."""
    lines = split_lines(text)
    heeded: list[Ignore] = []
    unheeded: list[Complaint] = []
    if _MARK.search(text) is None:
        return Ignores(path, lines, (), ())
    longer = long_texts(text)
    for (row, column), comment in placed_comments(text):
        mark = _MARK.match(comment)
        if mark is None:
            continue
        first = _meant(lines, row)
        reading = _Reading(comment, mark.end(), (row + 1, column + 1), (first + 1, longer.get(first, first) + 1))
        for at, message in reading.problems(warnings, errors):
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

    def problems(self, warnings: Collection[str], errors: Collection[str]) -> Iterator[tuple[tuple[int, int], str]]:
        codes = list(self._codes())
        if not codes:
            yield self.place, f"this ignores nothing: it names no code. write {FORM}"
        for at, code in codes:
            if code in errors:
                yield at, f"{code} cannot be ignored: it is an error, and the playbook would not be run. mend it"
            elif code in CODES:
                yield at, f"{code} cannot be ignored: it is about ignoring"
            elif code not in warnings:
                yield at, f"there is no code {code[:20]!r} to ignore{suggest(code, warnings)}"
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
        for code in _CODE.finditer(self.comment, found.start(1), found.end(1)):
            yield (self.place[0], self.place[1] + code.start()), code[0].upper()

    def _reason(self) -> str:
        found = _CODES.match(self.comment, self.start)
        return self.comment[found.end() :].strip() if found else ""


def _meant(lines: Sequence[str], row: int) -> int:
    """The line that a comment is about: its own, or the next that is more than a comment where it stands alone."""
    while row < len(lines) - 1 and _COMMENT_OR_NOTHING.fullmatch(lines[row]):
        row += 1
    return row


def _complaint(path: str, lines: Sequence[str], at: tuple[int, int], message: str, code: str) -> Complaint:
    return replace(complaint_at(list(lines), path, *at, message, code), severity="warning")
