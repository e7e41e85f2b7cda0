"""A shell script as its commands and words, each with its place, and where variables are expanded in them. Pure.

It reads what people write in playbooks, not all of a shell's grammar; what it cannot read it passes over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

MOST_TEXT = 32 * 1024  # a longer script was not written for a playbook
DEEPEST = 12

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = " \t"
_ENDS = ";&|()\n"
_HEREDOC = re.compile(r"<<(-?)[ \t]*(['\"\\]?)([A-Za-z_][A-Za-z0-9_]*)['\"]?")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_LEADING = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!", "{", "time"})


@dataclass(frozen=True, slots=True)
class Expansion:
    """`$name` somewhere. `quoted` in double quotes, `arithmetic` inside of `$((…))`."""

    name: str
    offset: int
    quoted: bool
    arithmetic: bool = False


@dataclass(slots=True)
class Word:
    """One word as it is written; `text` without its quotes."""

    offset: int
    raw: str = ""
    text: str = ""
    expansions: list[Expansion] = field(default_factory=list)
    redirected: bool = False  # the file of a redirection

    @property
    def is_assignment(self) -> bool:
        return _ASSIGNMENT.match(self.raw) is not None

    @property
    def begins_with(self) -> str | None:
        """The variable that the first character of the word comes from."""
        first = min(self.expansions, key=lambda each: each.offset, default=None)
        lead = self.raw.lstrip('"')
        return first.name if first is not None and lead.startswith(("$" + first.name, "${" + first.name)) else None


@dataclass(slots=True)
class Command:
    """A simple command: its words, without assignments before it and without `if`, `then` and the like."""

    words: list[Word]

    @property
    def name(self) -> str:
        return self.words[0].text.rpartition("/")[2] if self.words else ""

    @property
    def arguments(self) -> list[Word]:
        return [word for word in self.words[1:] if not word.redirected]


@lru_cache(maxsize=256)  # several rules read the same script
def commands_in(script: str) -> Sequence[Command]:
    """Every simple command, those inside of `$(…)` too."""
    if len(script) > MOST_TEXT:
        return ()
    reader = _Reader(script)
    reader.read(0, "", 0)
    return tuple(reader.commands)


@dataclass(slots=True)
class _Reader:
    text: str
    commands: list[Command] = field(default_factory=list)

    def read(self, at: int, until: str, depth: int) -> int:
        """Commands up to a closing character; where it stands."""
        words: list[Word] = []
        bodies: list[tuple[str, bool]] = []  # the ends of here-documents that begin on the next line
        redirected = False
        while at < len(self.text):
            sign = self.text[at]
            if until and sign == until:
                break
            if sign in _BLANK or self.text.startswith("\\\n", at):
                at += 1 if sign in _BLANK else 2
            elif sign == "#":
                at = self._line_end(at)
            elif heredoc := _HEREDOC.match(self.text, at) if not self.text.startswith("<<<", at) else None:
                bodies.append((heredoc[3], heredoc[1] == "-"))
                at = heredoc.end()
            elif sign in "<>":
                redirected, at = True, at + 1
                at += self.text[at : at + 1] in ("&", ">", "<")
            elif sign in _ENDS:
                self._finish(words)
                words, at = [], at + 1
                if sign == "\n":
                    at, bodies = self._after(at, bodies), []
            else:
                word = Word(at, redirected=redirected)
                at = max(at + 1, self._word(word, at, until, depth))
                redirected = False
                words.append(word)
        self._finish(words)
        return at

    def _finish(self, words: list[Word]) -> None:
        start = 0
        while start < len(words) and (words[start].raw in _LEADING or words[start].is_assignment):
            start += 1
        if words[start:]:
            self.commands.append(Command(words[start:]))
        elif any(word.is_assignment for word in words):
            self.commands.append(Command([Word(words[0].offset), *words]))  # only assignments: a command without a name

    def _line_end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def _after(self, at: int, bodies: list[tuple[str, bool]]) -> int:
        """Behind the here-documents that begin here."""
        for end, dashed in bodies:
            while at < len(self.text):
                line = self.text[at : self._line_end(at)]
                at = min(len(self.text), self._line_end(at) + 1)
                if (line.lstrip("\t") if dashed else line) == end:
                    break
        return at

    def _word(self, word: Word, at: int, until: str, depth: int) -> int:
        start = at
        while at < len(self.text):
            sign = self.text[at]
            if sign in _BLANK or sign in _ENDS or sign in "<>" or (until and sign == until):
                break
            if sign == "'":
                end = self.text.find("'", at + 1)
                end = len(self.text) if end < 0 else end
                word.text += self.text[at + 1 : end]
                at = end + 1
            elif sign == '"':
                at = self._double(word, at + 1, depth)
            elif sign == "\\":
                word.text += self.text[at + 1 : at + 2]
                at += 2
            elif sign in "$`":
                at = self._expansion(word, at, False, depth)
            else:
                word.text += sign
                at += 1
        word.raw = self.text[start:at]
        return at

    def _double(self, word: Word, at: int, depth: int) -> int:
        while at < len(self.text) and self.text[at] != '"':
            sign = self.text[at]
            if sign == "\\":
                word.text += self.text[at + 1 : at + 2]
                at += 2
            elif sign in "$`":
                at = self._expansion(word, at, True, depth)
            else:
                word.text += sign
                at += 1
        return at + 1

    def _expansion(self, word: Word, at: int, quoted: bool, depth: int) -> int:
        """Behind what begins with `$` or a backtick; deeper nesting than anybody writes is passed over."""
        start = at
        if self.text.startswith("$((", at):
            at = self._arithmetic(word, at + 3, quoted, depth)
        elif self.text.startswith("$(", at) and depth < DEEPEST:
            at = self.read(at + 2, ")", depth + 1) + 1
        elif self.text[at] == "`" and depth < DEEPEST:
            at = self.read(at + 1, "`", depth + 1) + 1
        elif self.text.startswith("${", at):
            at = self._braced(word, at, quoted)
        else:
            plain = _NAME.match(self.text, at + 1)
            if plain:
                word.expansions.append(Expansion(plain[0], at, quoted))
            at = plain.end() if plain else at + 1
        word.text += self.text[start:at]
        return at

    def _arithmetic(self, word: Word, at: int, quoted: bool, depth: int) -> int:
        """Names in it are values that are reckoned with; what a command in it is given is not."""
        brackets = 2
        while at < len(self.text) and brackets:
            name = _NAME.match(self.text, at)
            if name:
                word.expansions.append(Expansion(name[0], at, quoted, arithmetic=True))
                at = name.end()
            elif self.text.startswith("$(", at) and not self.text.startswith("$((", at) and depth < DEEPEST:
                at = self.read(at + 2, ")", depth + 1) + 1
            else:
                brackets += (self.text[at] == "(") - (self.text[at] == ")")
                at += 1
        return at

    def _braced(self, word: Word, at: int, quoted: bool) -> int:
        end, depth = at + 2, 1
        while end < len(self.text) and depth:
            depth += (self.text[end] == "{") - (self.text[end] == "}")
            end += 1
        length = self.text.startswith("${#", at)
        name = _NAME.match(self.text, at + 2)
        if name and not length:
            word.expansions.append(Expansion(name[0], at, quoted))
        return end


def options(command: Command, letters: str, *names: str) -> Iterator[Word]:
    """The words that are one of these options: a letter, alone or in a bundle, or a long name."""
    for word in command.arguments:
        if word.text == "--":
            return
        bundle = re.match(r"-[A-Za-z]+", word.text)
        if (bundle and set(bundle[0][1:]) & set(letters)) or word.text.partition("=")[0] in names:
            yield word
