"""Text with `${{ expression }}` in it, and JSON data made of such text.

Renders once: what a value says is never read as a template.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache

from .expression import Expression, Scope, compile_expression
from .values import ExpressionError, Json, NotKnownError, Unknown, show, text_of

LONGEST_RESULT = 1024 * 1024
MOST_EXPRESSIONS = 200  # of one text
_OPEN = re.compile(r"\$?\$\{\{")
_QUOTED = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", re.DOTALL)
_UNBRACKETED = re.compile(r"[^'\"()\[\]{}]+")
_PAIRS = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Template:
    """`parts` are plain text and expressions in turn. `$${{` stands for a plain `${{`."""

    text: str
    parts: tuple[str | Expression, ...]

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(part for part in self.parts if isinstance(part, Expression))

    @property
    def is_expression(self) -> bool:
        """The text is one `${{ }}` and nothing else: its value keeps its type."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Expression)

    @property
    def names(self) -> frozenset[str]:
        return frozenset().union(*(expression.names for expression in self.expressions))

    @property
    def functions(self) -> frozenset[str]:
        return frozenset().union(*(expression.functions for expression in self.expressions))

    @property
    def baselines(self) -> frozenset[str]:
        return frozenset().union(*(expression.baselines for expression in self.expressions))

    def render(self, scope: Scope) -> Json | Unknown:
        """Exact, for requests. None inside text is unknown: a request with a hole in it would be another request."""
        if self.is_expression:
            return self.expressions[0].evaluate(scope)
        texts, length = [], 0
        for part in self.parts:
            text = part if isinstance(part, str) else _rendered(part, scope)
            if isinstance(text, Unknown):
                return text
            texts.append(text)
            length += len(text)
            if length > LONGEST_RESULT:
                return Unknown(f"the text would be longer than {LONGEST_RESULT} characters")
        return "".join(texts)

    def explain(self, scope: Scope, unknown: str | None = None) -> str:
        """For people: numbers short, what is unknown named as such (or as `unknown`) instead of hiding the rest.

        Never raises.
        """

        def told(part: str | Expression) -> str:
            if isinstance(part, str):
                return part
            value = part.evaluate(scope)
            return unknown if unknown is not None and isinstance(value, Unknown) else _told(value)

        return "".join(told(part) for part in self.parts)


def has_template(text: str) -> bool:
    return any(not match[0].startswith("$$") for match in _OPEN.finditer(text))


@lru_cache(maxsize=4096)
def compile_template(text: str) -> Template:
    """ExpressionError if one of its expressions is none, with an offset into the whole text."""
    return Template(text, tuple(_parts(text)) or ("",))


def render_json(value: Json, scope: Scope) -> Json | Unknown:
    """The value with every text in it rendered, keys excepted; the first unknown makes all of it unknown."""
    if isinstance(value, str):
        return compile_template(value).render(scope) if "${{" in value else value
    if isinstance(value, dict):
        rendered = render_json(list(value.values()), scope)
        return rendered if isinstance(rendered, Unknown) else dict(zip(value, rendered, strict=True))
    if isinstance(value, (list, tuple)):
        return _rendered_list(list(value), scope)
    return value


def template_names(value: Json) -> frozenset[str]:
    return frozenset().union(*(template.names for template in templates(value)))


def template_functions(value: Json) -> frozenset[str]:
    return frozenset().union(*(template.functions for template in templates(value)))


def templates(value: Json) -> Iterator[Template]:
    """Every template in the value, keys excepted."""
    if isinstance(value, str) and has_template(value):
        yield compile_template(value)
    elif isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from templates(item)


@lru_cache(maxsize=4096)
def template_expressions(text: str) -> tuple[tuple[int, str], ...]:
    """How far into the text each expression begins, and what it says; of those before the first that never ends."""
    found: list[tuple[int, str]] = []
    with suppress(ExpressionError):
        for start, piece in _pieces(text) if "${{" in text else ():
            if start is not None:
                found.append((start + len(piece) - len(piece.lstrip()), piece.strip()))
    return tuple(found)


def _parts(text: str) -> Iterator[str | Expression]:
    count = 0
    for start, piece in _pieces(text):
        count += start is not None
        if count > MOST_EXPRESSIONS:
            raise ExpressionError(f"the text has more than {MOST_EXPRESSIONS} expressions; split it", start)
        yield piece if start is None else _compiled(piece, start)


def _pieces(text: str) -> Iterator[tuple[int | None, str]]:
    """What is between `${{` and `}}` with the place where it begins, and without one the plain text around it."""
    plain: list[str] = []
    position = 0
    while match := _OPEN.search(text, position):
        plain.append(text[position : match.start()])
        if match[0].startswith("$$"):
            plain.append("${{")
            position = match.end()
            continue
        if any(plain):
            yield None, "".join(plain)
        end = _find_end(text, match.end())
        yield match.end(), text[match.end() : end]
        plain, position = [], end + 2
    if any(plain) or position < len(text):
        yield None, "".join(plain) + text[position:]


def _find_end(text: str, start: int) -> int:
    """Where the closing `}}` is: outside of quotes and of the expression's own brackets."""
    closing: list[str] = []
    position = start
    while position < len(text):
        if not closing and text.startswith("}}", position):
            return position
        passed = _QUOTED.match(text, position) or _UNBRACKETED.match(text, position)
        if passed:
            position = passed.end()
            continue
        if text[position] in _PAIRS:
            closing.append(_PAIRS[text[position]])
        elif closing and text[position] == closing[-1]:
            closing.pop()
        position += 1
    raise ExpressionError("'${{' has no matching '}}'; write '$${{' for plain text", start - 3)


def _compiled(text: str, start: int) -> Expression:
    try:
        return compile_expression(text.strip())
    except ExpressionError as error:
        indent = len(text) - len(text.lstrip())
        raise ExpressionError(error.message, None if error.offset is None else start + indent + error.offset) from error


def _rendered(expression: Expression, scope: Scope) -> str | Unknown:
    value = expression.evaluate(scope)
    if isinstance(value, Unknown):
        return value
    try:
        return text_of(value)
    except NotKnownError as error:
        return Unknown(f"{expression.text}: {error.reason}")
    except RecursionError:
        return Unknown(f"{expression.text}: the data is nested too deeply")


def _rendered_list(values: list[Json], scope: Scope) -> list[Json] | Unknown:
    rendered = []
    for item in values:
        result = render_json(item, scope)
        if isinstance(result, Unknown):
            return result
        rendered.append(result)
    return rendered


def _told(value: Json | Unknown) -> str:
    if isinstance(value, str):
        return value if len(value) <= 200 else value[:200] + "…"
    return show(value)
