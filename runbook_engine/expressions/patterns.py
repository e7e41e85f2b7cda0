"""Regular expressions that cannot blow up: all states advance together, so the work is text length times pattern size.

The usual syntax without backreferences, lookaround and possessive quantifiers.
Never hands a pattern to a backtracking engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

LONGEST_PATTERN = 500
MOST_STATES = 1000
MOST_REPEATS = 200
DEEPEST_GROUPS = 20

Accepts = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class One:
    """One character."""

    accepts: Accepts


@dataclass(frozen=True, slots=True)
class Edge:
    """`^`, `$`, `\\b`, `\\B`: between two characters."""

    sign: str


@dataclass(frozen=True, slots=True)
class Sequence:
    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    options: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    part: Tree
    least: int
    most: int | None


Tree = One | Edge | Sequence | Choice | Repeat


@dataclass(frozen=True, slots=True)
class Split:
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class Jump:
    to: int


State = One | Edge | Split | Jump | None  # None: the pattern has matched


@dataclass(frozen=True, slots=True)
class Pattern:
    states: tuple[State, ...]

    def search(self, text: str, spend: Callable[[int], None]) -> bool:
        """Whether it matches anywhere in the text. Each step is paid for by `spend`, which may raise."""
        active: set[int] = set()
        for position in range(len(text) + 1):
            active.add(0)
            reached = self._reached(active, text, position)
            spend(len(reached))
            if len(self.states) - 1 in reached:
                return True
            if position < len(text):
                active = self._advanced(reached, text[position])
        return False

    def _reached(self, starts: set[int], text: str, position: int) -> set[int]:
        """The states that follow without reading a character."""
        reached, waiting = set(starts), list(starts)
        while waiting:
            for state in self._next(waiting.pop(), text, position):
                if state not in reached:
                    reached.add(state)
                    waiting.append(state)
        return reached

    def _next(self, index: int, text: str, position: int) -> tuple[int, ...]:
        match self.states[index]:
            case Split(first, second):
                return (first, second)
            case Jump(to):
                return (to,)
            case Edge(sign) if _is_edge(sign, text, position):
                return (index + 1,)
        return ()

    def _advanced(self, reached: set[int], character: str) -> set[int]:
        following = set()
        for index in reached:
            state = self.states[index]
            if isinstance(state, One) and state.accepts(character):
                following.add(index + 1)
        return following


@lru_cache(maxsize=256)
def compile_pattern(text: str) -> Pattern:
    """ValueError says what is not allowed in it, and where."""
    if len(text) > LONGEST_PATTERN:
        raise ValueError(f"the pattern has more than {LONGEST_PATTERN} characters")
    states: list[State] = []
    _emit(pattern_tree(text), states)
    return Pattern((*states, None))


def pattern_tree(text: str) -> Tree:
    """What a pattern is made of. ValueError as `compile_pattern`."""
    return _Reader(text).read()


class _Reader:
    """Reads one pattern from left to right."""

    def __init__(self, text: str) -> None:
        self.any_case = text.startswith("(?i)")
        self.text = text
        self.position = 4 if self.any_case else 0
        self.depth = 0

    def read(self) -> Tree:
        tree = self._choice()
        if self.position < len(self.text):
            raise self._error("unbalanced ')'")
        return tree

    def _choice(self) -> Tree:
        options = [self._sequence()]
        while self._skip("|"):
            options.append(self._sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _sequence(self) -> Tree:
        parts = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._repeated(self._atom()))
        return Sequence(tuple(parts))

    def _repeated(self, part: Tree) -> Tree:
        least, most = self._quantifier()
        if (least, most) == (1, 1):
            return part
        if isinstance(part, Edge):
            raise self._error("nothing to repeat")
        self._skip("?")  # lazy or greedy is the same question: does it match
        if self._peek() in ("*", "+", "?") and self._peek():
            raise self._error("a quantifier after a quantifier")
        return Repeat(part, least, most)

    def _quantifier(self) -> tuple[int, int | None]:
        signs: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self._peek() in signs:
            return signs[self._take()]
        closing = self.text.find("}", self.position)
        if self._peek() != "{" or closing < 0:
            return 1, 1
        low, comma, high = self.text[self.position + 1 : closing].partition(",")
        if not (low + high).isdecimal() or not (low + high).isascii() or len(low + high) > 8:
            return 1, 1  # a plain brace, as in other engines
        least, most = int(low or 0), int(high) if high else None if comma else int(low)
        if max(least, most or 0) > MOST_REPEATS or (most is not None and most < least):
            raise self._error(f"a repetition must be in order and at most {MOST_REPEATS}")
        self.position = closing + 1
        return least, most

    def _atom(self) -> Tree:
        sign = self._take()
        if sign == "(":
            return self._group()
        if sign == "[":
            return One(self._class())
        if sign in "*+?":
            raise self._error("nothing to repeat")
        if sign in "^$":
            return Edge(sign)
        if sign == ".":
            return One(lambda character: character != "\n")
        if sign == "\\":
            return self._escape()
        return One(self._literal(sign))

    def _group(self) -> Tree:
        if self._skip("?") and not self._skip(":"):
            raise self._error("lookaround, named groups and flags are not allowed; (?: ) and a leading (?i) are")
        self.depth += 1
        if self.depth > DEEPEST_GROUPS:
            raise self._error(f"groups are nested deeper than {DEEPEST_GROUPS}")
        tree = self._choice()
        if not self._skip(")"):
            raise self._error("a group is not closed with ')'")
        self.depth -= 1
        return tree

    def _escape(self) -> Tree:
        sign = self._take()
        if sign in "bB" and sign:
            return Edge(sign)
        if sign in ("A", "Z"):
            return Edge("^" if sign == "A" else "Z")
        return One(_CLASSES[sign] if sign in _CLASSES else self._literal(self._escaped(sign)))

    def _escaped(self, sign: str) -> str:
        if sign in _CONTROLS:
            return _CONTROLS[sign]
        if sign.isdecimal():
            raise self._error("backreferences are not allowed")
        if not sign or (sign.isascii() and sign.isalpha()):
            raise self._error(
                f"\\{sign} is not known; known are \\d \\D \\w \\W \\s \\S \\b \\B \\n \\t \\r and escaped signs"
            )
        return sign

    def _class(self) -> Accepts:
        negated = self._skip("^")
        members: list[Accepts] = []
        while self._peek() != "]" or not members:
            members.append(self._member())
        self._take()
        return lambda character: any(accepts(character) for accepts in members) != negated

    def _member(self) -> Accepts:
        low = self._class_sign()
        if not isinstance(low, str):
            return low
        if self._peek() != "-" or self.text[self.position + 1 : self.position + 2] in ("]", ""):
            return self._literal(low)
        self._take()
        high = self._class_sign()
        if not isinstance(high, str) or high < low:
            raise self._error("a range must go up, from one character to another")
        any_case = self.any_case
        return lambda character: any(low <= form <= high for form in _forms(character, any_case))

    def _class_sign(self) -> str | Accepts:
        sign = self._take()
        if not sign:
            raise self._error("a class is not closed with ']'")
        if sign != "\\":
            return sign
        sign = self._take()
        return _CLASSES[sign] if sign in _CLASSES else self._escaped(sign)

    def _literal(self, sign: str) -> Accepts:
        if not self.any_case:
            return sign.__eq__
        forms = _forms(sign, True)
        return lambda character: character in forms

    def _peek(self) -> str:
        return self.text[self.position : self.position + 1]

    def _take(self) -> str:
        sign = self._peek()
        self.position += 1
        return sign

    def _skip(self, sign: str) -> bool:
        if self._peek() != sign:
            return False
        self.position += 1
        return True

    def _error(self, message: str) -> ValueError:
        return ValueError(f"pattern {self.text[:60]!r}, character {min(self.position, len(self.text))}: {message}")


_CLASSES: dict[str, Accepts] = {
    "d": str.isdecimal,
    "D": lambda character: not character.isdecimal(),
    "w": lambda character: character.isalnum() or character == "_",
    "W": lambda character: not (character.isalnum() or character == "_"),
    "s": str.isspace,
    "S": lambda character: not character.isspace(),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r"}


def _forms(character: str, any_case: bool) -> tuple[str, ...]:
    return (character, character.lower(), character.upper()) if any_case else (character,)


def _emit(tree: Tree, states: list[State]) -> None:
    if len(states) > MOST_STATES:
        raise ValueError("the pattern is too large: its repetitions multiply")
    match tree:
        case One() | Edge():
            states.append(tree)
        case Sequence(parts):
            for part in parts:
                _emit(part, states)
        case Choice(options):
            _emit_choice(options, states)
        case Repeat(part, least, most):
            _emit_repeat(part, least, most, states)


def _emit_choice(options: tuple[Tree, ...], states: list[State]) -> None:
    exits = []
    for option in options[:-1]:
        fork = len(states)
        states.append(None)
        _emit(option, states)
        exits.append(len(states))
        states.append(None)
        states[fork] = Split(fork + 1, len(states))
    _emit(options[-1], states)
    for index in exits:
        states[index] = Jump(len(states))


def _emit_repeat(part: Tree, least: int, most: int | None, states: list[State]) -> None:
    for _ in range(least):
        _emit(part, states)
    if most is None:
        fork = len(states)
        states.append(None)
        _emit(part, states)
        states.append(Jump(fork))
        states[fork] = Split(fork + 1, len(states))
        return
    forks = []
    for _ in range(most - least):
        forks.append(len(states))
        states.append(None)
        _emit(part, states)
    for fork in forks:
        states[fork] = Split(fork + 1, len(states))


def _is_edge(sign: str, text: str, position: int) -> bool:
    if sign == "^":
        return position == 0
    if sign == "$":
        return position == len(text) or (position == len(text) - 1 and text[position] == "\n")
    if sign == "Z":
        return position == len(text)
    word = _CLASSES["w"]
    before = position > 0 and word(text[position - 1])
    after = position < len(text) and word(text[position])
    return (before != after) == (sign == "b")
