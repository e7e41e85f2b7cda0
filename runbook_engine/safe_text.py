"""Makes text that came from elsewhere harmless to show: on a terminal, on one line, in Markdown.

Pure. Every byte not written by us passes here at the edge, once; nothing here may let a control, bidi or invisible
character through.
"""

from __future__ import annotations

import functools
import re
import unicodedata

MARKS_IN_A_ROW = 4
_SHORT = 16  # runs that short repeat, and are remembered
TAB_WIDTH = 4

# Letters and marks by category, yet drawn as nothing: they hide text or forge the width of a column.
_INVISIBLE = frozenset(
    [0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, *range(0x180B, 0x1810), *range(0xE0000, 0xE1000)]
)
_FORBIDDEN = frozenset({"Cf", "Cs", "Zl", "Zp"})


class _Pictures(dict[int, "str | int"]):
    """A translation table that learns each character when it is first met; a full table would cost 150 ms at import."""

    def __missing__(self, code: int) -> str | int:
        self[code] = visible = _picture(code)
        return visible


def _picture(code: int) -> str | int:
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    if 0x80 <= code < 0xA0 or noncharacter or code in _INVISIBLE or unicodedata.category(chr(code)) in _FORBIDDEN:
        return f"<{code:04X}>"
    return code


_ONE_LINE = _Pictures()
_MANY_LINES = _Pictures({0x09: " " * TAB_WIDTH, 0x0A: 0x0A})
_FOREIGN = re.compile("[^ -~]+")
_FOREIGN_LINES = re.compile("[^ -~\n]+")
# Where a mark could stand; Greek, Cyrillic, ideographs and Hangul syllables hold none and are the bulk of such text.
_MAY_BE_MARKS = "[\u0300-\u036f\u0483-\u0489\u0530-\u33ff\ua000-\uabff\ufb00-\U0001ffff\U000e0000-\U0010ffff]"
_MANY_MARKS = re.compile(_MAY_BE_MARKS + f"{{{MARKS_IN_A_ROW + 1},}}")


def safe_text(text: str, *, newlines: bool = False) -> str:
    """The same text with everything that acts on a terminal, reorders or hides made visible.

    With `newlines` line ends stay and a tab becomes spaces; without, the result is one line.
    """
    if text.isascii() and text.isprintable():
        return text
    if not newlines:
        return _FOREIGN.sub(lambda match: _visible(match, many_lines=False), text)
    return _FOREIGN_LINES.sub(lambda match: _visible(match, many_lines=True), text.replace("\r\n", "\n"))


def _visible(match: re.Match[str], *, many_lines: bool) -> str:
    run = match[0]
    shown = _visible_short(run, many_lines) if len(run) <= _SHORT else _visible_run(run, many_lines)
    # A mark at the start of a line would be drawn over the last cell of our own text.
    if _is_mark(shown[0]) and (match.start() == 0 or match.string[match.start() - 1] == "\n"):
        return "\u25cc" + shown
    return shown


def _visible_run(run: str, many_lines: bool) -> str:
    shown = run.translate(_MANY_LINES if many_lines else _ONE_LINE)
    return _MANY_MARKS.sub(lambda marks: _limit_marks(marks[0]), shown)


_visible_short = functools.lru_cache(4096)(_visible_run)


def _limit_marks(run: str) -> str:
    kept: list[str] = []
    marks = 0
    for char in run:
        marks = marks + 1 if _is_mark(char) else _close_marks(kept, marks)
        if marks <= MARKS_IN_A_ROW:
            kept.append(char)
    _close_marks(kept, marks)
    return "".join(kept)


def _close_marks(kept: list[str], marks: int) -> int:
    if marks > MARKS_IN_A_ROW:
        kept.append(f"<+{marks - MARKS_IN_A_ROW} marks>")
    return 0


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def cells(text: str) -> int:
    """How many terminal columns the text takes; text must have passed `safe_text`."""
    if text.isascii():
        return len(text)
    return sum(map(_cell, text))


def _cell(char: str) -> int:
    if char < "\u0300":
        return 1
    if unicodedata.category(char) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """At most `width` columns; what was cut is said by an ellipsis. Never cuts a wide character or an accent in two."""
    if cells(text) <= width:
        return text
    if width < 1:
        return ""
    room = width - 1
    for index, char in enumerate(text):
        room -= _cell(char)
        if room < 0:
            return text[:index] + "…"
    return text


def single_line(text: str, width: int) -> str:
    """One safe line of at most `width` columns."""
    # Only so much is looked at: a cell takes at most a base and its marks, so the rest cannot be on the line.
    head = text.rstrip("\r\n")[: max(width, 1) * (MARKS_IN_A_ROW + 1) + 64]
    return shorten(safe_text(head), width)


_BACKTICKS = re.compile("`+")


def fence(text: str, language: str = "") -> str:
    """A Markdown code block that nothing inside can close."""
    body = safe_text(text, newlines=True)
    longest = max((len(run) for run in _BACKTICKS.findall(body)), default=0)
    marker = "`" * max(3, longest + 1)
    return f"{marker}{language}\n{body}{'' if body.endswith(chr(10)) else chr(10)}{marker}\n"


_MARKDOWN = re.compile(r"[\\`*_\[\]|~$@]|:(?=//)|(?<=www)\.|^(?:[#>+=-]|\s+[#>+=-])|^(\s*\d{1,9})([.)])", re.IGNORECASE)
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape_markdown(text: str) -> str:
    """One line of Markdown that shows the text as it is: no markup, no HTML, no links, no images."""
    escaped = _MARKDOWN.sub(_backslash, safe_text(text))
    return re.sub("[&<]|(?<!\\\\)>", lambda match: _ENTITIES[match[0]], escaped)


def _backslash(match: re.Match[str]) -> str:
    if match[1] is not None:
        return f"{match[1]}\\{match[2]}"
    return f"{match[0][:-1]}\\{match[0][-1]}"
