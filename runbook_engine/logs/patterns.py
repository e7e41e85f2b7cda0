"""Which lines hold a pattern of a playbook, for many lines at once.

Pure. Patterns are matched in linear time, and only where a word stands that the pattern cannot do without: the patient
matcher is a thousand times slower than looking for a word.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..expressions.patterns import Pattern, compile_pattern

LOOKED_AT = 1000  # characters of a line
STEPS = 3_000_000  # of the patient matcher, for all lines of one log: some seconds
_QUANTIFIERS = "*?{"
_SPECIAL = frozenset(".^$+()[]\\|{}*?")


class OutOfStepsError(Exception):
    """The patient matcher had too much to do."""


@dataclass(slots=True)
class Wanted:
    """One pattern and what was found of it. `spent` beyond `STEPS` makes what was found unknown."""

    pattern: Pattern
    words: tuple[str, ...]
    enough: bool
    """A word is already the whole pattern."""
    any_case: bool
    count: int = 0
    last_at: float | None = None
    last: str | None = None
    left: int = field(default=STEPS)

    @property
    def known(self) -> bool:
        return self.left >= 0

    def found_in(self, text: str, lowered: str) -> bool:
        where = lowered if self.any_case else text
        if self.words and not any(word in where for word in self.words):
            return False
        if self.enough:
            return True
        try:
            return self.known and self.pattern.search(text[:LOOKED_AT], self._spend)
        except OutOfStepsError:
            return False

    def _spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise OutOfStepsError


def wanted(source: str) -> Wanted:
    """ValueError says what is not allowed in a pattern."""
    pattern = compile_pattern(source)
    any_case = source.startswith("(?i)")
    body = source[4:] if any_case else source
    words = tuple(_longest_word(option) for option in _options(body))
    if not all(words):
        words = ()
    enough = bool(words) and not _SPECIAL & set(body.replace("|", ""))
    return Wanted(pattern, tuple(word.lower() for word in words) if any_case else words, enough, any_case)


def _options(body: str) -> list[str]:
    """The alternatives at the top of a pattern."""
    options, depth, begun, index = [], 0, 0, 0
    while index < len(body):
        sign = body[index]
        if sign == "\\":
            index += 1
        elif sign == "[":
            index = _end_of_class(body, index)
        elif sign in "()":
            depth += 1 if sign == "(" else -1
        elif sign == "|" and depth == 0:
            options.append(body[begun:index])
            begun = index + 1
        index += 1
    return [*options, body[begun:]]


def _longest_word(option: str) -> str:
    """The longest run of plain characters that stands in every match; what is in groups is left aside."""
    words, depth, index = [""], 0, 0
    while index < len(option):
        sign = option[index]
        if sign == "\\":
            index += 1
            sign = "" if option[index : index + 1].isalnum() else option[index : index + 1]
        elif sign == "[":
            index, sign = _end_of_class(option, index), ""
        elif sign in "()":
            depth, sign = depth + (1 if sign == "(" else -1), ""
        elif sign == "{":
            # A count says how often what stands before it; its digits are no text.
            index, sign = max(index, option.find("}", index)), ""
        elif sign in _SPECIAL:
            sign = ""
        follows = option[index + 1 : index + 2]
        if sign and depth == 0 and not (follows and follows in _QUANTIFIERS):
            words[-1] += sign
        else:
            words.append("")
        index += 1
    return max(words, key=len)


def _end_of_class(text: str, opened: int) -> int:
    index = opened + 1
    index += text[index : index + 1] == "^"
    index += text[index : index + 1] == "]"
    while index < len(text) and text[index] != "]":
        index += 2 if text[index] == "\\" else 1
    return index
