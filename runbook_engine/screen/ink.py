"""What a line on a screen is made of: safe text, cells, colour, glyphs.

Pure. Must never let foreign bytes through as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..safe_text import cells, safe_text, shorten
from ..units import format_duration

Json = Any

LEAD = 12  # indent, glyph and word
TITLE = 24
LONGEST_TITLE = 44
LABEL = 10

COLOURS = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
# No glyph stands without its word: colour and shape alone say nothing on a pager or a phone.
MARKS: Mapping[str, tuple[str, str, str]] = {
    "ok": ("✓", "+", "green"),
    "FAILED": ("✗", "x", "red"),
    "UNKNOWN": ("?", "?", "yellow"),
    "REFUSED": ("✗", "x", "yellow"),
    "skip": ("-", "-", "dim"),
    "doing": ("→", ">", "cyan"),
    "WAITING": ("…", ".", "cyan"),
    "undone": ("↶", "<", "yellow"),
    "note": ("·", "*", "dim"),
    "STOPPING": ("!", "!", "yellow"),
    "PRESENT": ("!", "!", "red"),
    "recovering": ("~", "~", "yellow"),
    "not present": ("✓", "+", "green"),
}


@dataclass(frozen=True, slots=True)
class Ink:
    """What a line may be made of on one screen."""

    width: int = 80
    colour: bool = False
    unicode: bool = True

    def safe(self, text: Json) -> str:
        """One harmless line, in letters that the screen has."""
        return self.plain(safe_text(str(text)))

    def safe_lines(self, text: Json) -> list[str]:
        return self.plain(safe_text(str(text), newlines=True)).rstrip("\n").split("\n")

    def plain(self, text: str) -> str:
        if self.unicode or text.isascii():
            return text
        return text.replace("…", "~").encode("ascii", "backslashreplace").decode("ascii")

    def paint(self, text: str, colour: str) -> str:
        return f"\x1b[{COLOURS[colour]}m{text}\x1b[0m" if self.colour and colour and text else text

    def cut(self, text: str, width: int) -> str:
        return self.plain(shorten(text, width))

    def mark(self, word: str) -> str:
        drawn, ascii_drawn, _ = MARKS[word]
        return drawn if self.unicode else ascii_drawn


def took(seconds: float) -> str:
    """A measured time; tenths of a second line up in a column."""
    return f"{seconds:.1f}s" if seconds < 59.95 else format_duration(seconds)


def pad(text: str, width: int) -> str:
    return text + " " * max(0, width - cells(text))


def wrap(text: str, width: int) -> list[str]:
    """Lines of at most `width` cells, broken after a space where there is one."""
    lines = []
    while cells(text) > width:
        end = _fitting(text, width)
        space = text.rfind(" ", 1, end + 1)
        end = space + 1 if space > 0 and text[:space].strip() else end
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip() if space > 0 else text[end:]
    return [*lines, text]


def _fitting(text: str, width: int) -> int:
    """How many characters fit, never none."""
    room = width
    for index, char in enumerate(text):
        room -= cells(char)
        if room < 0:
            return max(index, 1)
    return len(text)


def row(ink: Ink, word: str, title: str, says: str = "", seconds: float | None = None) -> list[str]:
    """One thing that happened: glyph, word, title, what it means, how long it took. `says` must be safe already."""
    clock = took(seconds) if seconds is not None else ""
    lead = pad(f"  {ink.mark(word)} {word}", max(LEAD, cells(word) + 5))
    room = ink.width - cells(lead) - (len(clock) + 2 if clock else 0)
    title = ink.cut(ink.safe(title), min(LONGEST_TITLE, room) if says else room)
    head = pad(title, TITLE) if says else title
    fits = bool(says) and cells(head) + 2 + cells(says) <= room
    line = f"{ink.paint(lead, MARKS[word][2])}{head}{'  ' + says if fits else ''}"
    used = cells(lead) + cells(head) + (2 + cells(says) if fits else 0)
    lines = [f"{line}{' ' * (ink.width - used - len(clock))}{ink.paint(clock, 'dim')}" if clock else line.rstrip()]
    return lines if fits or not says else [*lines, *indented(ink, says, cells(lead))]


def indented(ink: Ink, text: str, indent: int = LEAD) -> list[str]:
    return [" " * indent + line for line in wrap(text, ink.width - indent)]


def labelled(ink: Ink, label: str, text: str, indent: int) -> list[str]:
    """A label and wrapped text beside it. `text` must be safe already."""
    first, *more = wrap(text, ink.width - indent - LABEL)
    return [
        " " * indent + ink.paint(pad(label, LABEL), "dim") + first,
        *(" " * (indent + LABEL) + line for line in more),
    ]
