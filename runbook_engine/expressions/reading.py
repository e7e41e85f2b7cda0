"""What a translation carries along: the parts it makes, what they mention, and how to refuse what is not allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Literal, NoReturn

from jinja2 import nodes

from .grammar import Syntax
from .operators import Run
from .values import ExpressionError, Json

_INSTEAD = {
    "defined": "is known",
    "undefined": "is not known",
    "none": "== none",
    "true": "== true",
    "false": "== false",
    "match": "matches",
    "search": "matches",
    "contains": "in",
    "select": "selectattr",
    "reject": "rejectattr",
    "count": "length",
    "d": "default",
    "now": "a time measured by the target, or the 'at' of a sample",
    "len": "| length",
    "sorted": "| sort",
    **{name: f"| {name}" for name in ("max", "min", "sum", "round", "abs", "int", "float")},
}  # what people know from Jinja and Python, in this language's words


@dataclass(frozen=True, slots=True)
class Part:
    """A translated node: how to evaluate it, and what an explanation needs to know of it."""

    text: str
    run: Run
    kind: Literal["and", "or", "not", "compare", "test", "choice", "literal", "value"] = "value"
    operands: tuple[Part, ...] = ()
    signs: tuple[str, ...] = ()


@dataclass(slots=True)
class Reading:
    """What one expression mentions, gathered while it is translated."""

    syntax: Syntax
    translations: Translations
    names: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)
    baselines: set[str] = field(default_factory=set)

    def part(self, node: nodes.Node) -> Part:
        translation = self.translations.get(type(node))
        if translation is None:
            self.fail(node, f"{_NODE_WORDS.get(type(node), type(node).__name__)} is not part of the language")
        return translation(self, node)

    def parts(self, children: Iterable[nodes.Node]) -> tuple[Part, ...]:
        return tuple(self.part(child) for child in children)

    def value(self, node: nodes.Node, run: Run) -> Part:
        return Part(self.syntax.source(node), run)

    def fail(self, node: nodes.Node, message: str) -> NoReturn:
        raise ExpressionError(message, self.syntax.offset(node))

    def unknown_word(self, node: nodes.Node, what: str, word: str, known: Iterable[str]) -> NoReturn:
        known = list(known)
        close = get_close_matches(word, known, n=1)
        if word in _INSTEAD:
            advice = f"write '{_INSTEAD[word]}'"
        else:
            advice = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
        self.fail(node, f"unknown {what} {word[:60]!r}; {advice}")


def given_arguments(
    reading: Reading, node: nodes.Filter | nodes.Call, what: str, parameters: tuple[str, ...]
) -> dict[str, nodes.Expr]:
    """The arguments by name of parameter."""
    takes = f"{what} takes {', '.join(parameters) or 'no arguments'}"
    if node.dyn_args or node.dyn_kwargs:
        reading.fail(node, f"* and ** are not part of the language; {takes}")
    if len(node.args) > len(parameters):
        reading.fail(node, f"{takes}; {len(node.args)} were given")
    given = dict(zip(parameters, node.args, strict=False))
    for keyword in node.kwargs:
        name = str(keyword.key)
        if name not in parameters or name in given:
            reading.fail(keyword.value, f"{takes}, not {name!r}" + (" twice" if name in given else ""))
        given[name] = keyword.value
    return given


def literal_text(reading: Reading, node: nodes.Expr, what: str) -> str:
    if not isinstance(node, nodes.Const) or not isinstance(node.value, str):
        reading.fail(node, f"{what} must be written out as text, like 'name'")
    return node.value


def literal_path(reading: Reading, node: nodes.Expr) -> str:
    path = literal_text(reading, node, "a path")
    if not all(path.split(".")):
        reading.fail(node, f"{path[:60]!r} is not a path; write keys joined by dots, like 'worst.pending'")
    return path


def always(value: Json) -> Run:
    return lambda frame: value


Translations = Mapping[type[nodes.Node], Callable[[Reading, Any], Part]]
_NODE_WORDS: dict[type[nodes.Node], str] = {nodes.Pow: "the power **", nodes.Slice: "a slice like [1:3]"}
