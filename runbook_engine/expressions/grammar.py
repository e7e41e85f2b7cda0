"""Text to syntax tree, by Jinja2's own lexer and parser and nothing more of it.

No template is ever compiled, rendered or constant-folded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import Token, TokenStream, operators
from jinja2.parser import Parser

from .values import ExpressionError

LONGEST_EXPRESSION = 4096
MOST_NODES = 500
MOST_TOKENS = 1000  # looked at before anything is made of them; brackets count too
DEEPEST = 50
DEEPEST_BRACKETS = 25

# The delimiters are unreachable: NUL is refused in the text, so no tag of Jinja can ever begin or end in it.
_ENVIRONMENT = Environment(
    block_start_string="\0{%",
    block_end_string="\0%}",
    variable_start_string="\0{{",
    variable_end_string="\0}}",
    comment_start_string="\0{#",
    comment_end_string="\0#}",
    keep_trailing_newline=True,
)
_LEXER = _ENVIRONMENT.lexer  # each access to the property is a lookup in Jinja's cache
_OPERANDS = frozenset({"name", "integer", "float", "string"})
_JOINING = frozenset({"and", "or", "if", "else"})
_CLOSING = frozenset({"eof", "rparen", "rbracket", "rbrace", "comma"})
_COMPARING = frozenset({"eq", "ne", "lt", "lteq", "gt", "gteq"})
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "\n": ""}
_HABITS = (
    (re.compile(r"&&?"), "write 'and'"),
    (re.compile(r"(?<=\|)\|"), "write 'or'"),
    (re.compile(r"!(?!=)"), "write 'not'"),
    (re.compile(r"=(?!=)"), "write '==' to compare"),
    (re.compile(r"\$\{\{?"), "write the name alone"),
)


@dataclass(slots=True)
class Syntax:
    """A parsed expression. Spans say where in the text a node stands, by `id` of the node."""

    text: str
    root: nodes.Expr
    spans: dict[int, tuple[int, int]] = field(default_factory=dict)

    def source(self, node: nodes.Node) -> str:
        if id(node) not in self.spans:  # inside a chain of filters
            return f"the result of {node.name}" if isinstance(node, nodes.Filter) else "the value"
        start, end = self.spans[id(node)]
        return " ".join(self.text[start:end].split())

    def offset(self, node: nodes.Node) -> int:
        if id(node) in self.spans and not isinstance(node, (nodes.Filter, nodes.Test)):
            return self.spans[id(node)][0]
        return min(node.lineno, len(self.text))  # of a filter or test: its own word, not what it is applied to


@lru_cache(maxsize=4096)
def parse(text: str) -> Syntax:
    """The tree of the text, within bounds. Whatever the text is, the only exception is ExpressionError."""
    _check_text(text)
    try:
        return _parse_tokens(text, _read_tokens(text))
    except TemplateSyntaxError as error:
        raise ExpressionError(_reworded(text, error), min(error.lineno, len(text))) from error
    except RecursionError as error:
        raise ExpressionError("the expression is nested too deeply") from error


class _SpanParser(Parser):
    """Jinja's parser, noting where operands begin and end. Tokens carry offsets where Jinja expects line numbers.

    Most operands are one word that an `and`, a comparison or the end follows: `alone` and `compared` have the offsets
    of those, and the twelve levels of the grammar that could only hand them on are not asked.
    """

    def __init__(self, text: str, tokens: _Tokens) -> None:
        super().__init__(_ENVIRONMENT, "", state="variable")
        self.text = text
        self.stream = TokenStream(tokens.replayed(), None, None)
        self.alone, self.compared = tokens.single_words()
        self.spans: dict[int, tuple[int, int]] = {}
        self.starts: dict[int, int] = {}

    def parse_condexpr(self) -> nodes.Expr:
        return self._note(self.stream.current.lineno, super().parse_condexpr())

    def parse_or(self) -> nodes.Expr:
        return self._note(self.stream.current.lineno, super().parse_or())

    def parse_and(self) -> nodes.Expr:
        return self._note(self.stream.current.lineno, super().parse_and())

    def parse_not(self) -> nodes.Expr:
        start = self.stream.current.lineno
        return self._note(start, self.parse_primary() if start in self.alone else super().parse_not())

    def parse_compare(self) -> nodes.Expr:
        return self._note(self.stream.current.lineno, super().parse_compare())

    def parse_math1(self) -> nodes.Expr:
        start = self.stream.current.lineno
        return self._note(start, self.parse_primary() if start in self.compared else super().parse_math1())

    def parse_math2(self) -> nodes.Expr:
        return self._note(self.stream.current.lineno, super().parse_math2())

    def parse_unary(self, with_filter: bool = True) -> nodes.Expr:
        return self._note(self.stream.current.lineno, super().parse_unary(with_filter))

    def parse_primary(self, with_namespace: bool = False) -> nodes.Expr:
        start = self.stream.current.lineno
        node = super().parse_primary(with_namespace)
        self.starts[id(node)] = start  # of the bracket, when the operand is in brackets
        return node

    def parse_postfix(self, node: nodes.Expr) -> nodes.Expr:
        start = self.starts.get(id(node), node.lineno)
        self._note(start, node)
        while self.stream.current.type in ("dot", "lbracket", "lparen"):
            is_call = self.stream.current.type == "lparen"
            node = self._note(start, self.parse_call(node) if is_call else self.parse_subscript(node))
        return node

    def _note(self, start: int, node: nodes.Expr) -> nodes.Expr:
        self.spans.setdefault(id(node), (start, self.stream.current.lineno))
        return node


def _check_text(text: str) -> None:
    if len(text) > LONGEST_EXPRESSION:
        raise ExpressionError(f"the expression has {len(text)} characters, more than {LONGEST_EXPRESSION}")
    if not text.strip():
        raise ExpressionError("the expression is empty", 0)
    if text.lstrip().startswith(("${{", "{{", "{%", "{#")):
        raise ExpressionError("write the expression alone, without brackets around it; ${{ }} is for text", 0)
    for offset, character in enumerate(text):
        if character == "\0" or "\ud800" <= character <= "\udfff":
            raise ExpressionError(f"the character {character!r} cannot stand in an expression", offset)


def _parse_tokens(text: str, tokens: _Tokens) -> Syntax:
    parser = _SpanParser(text, tokens)
    root = parser.parse_expression()
    if not parser.stream.eos:
        found = parser.stream.current
        raise TemplateSyntaxError(f"unexpected {found.value!r} after the expression", found.lineno)
    if len(tokens.read) > DEEPEST:  # every level of a tree, and every part, has a word or a sign of its own
        _check_size(root)
    return Syntax(text, root, parser.spans)


@dataclass(slots=True)
class _Tokens:
    """All that could be read, and why not more: what is wrong further left is to be told first."""

    read: list[Token] = field(default_factory=list)
    failure: TemplateSyntaxError | ExpressionError | None = None

    def replayed(self) -> Iterator[Token]:
        yield from self.read
        if self.failure is not None:
            raise self.failure

    def single_words(self) -> tuple[frozenset[int], frozenset[int]]:
        """The offsets of operands of one word that stand alone, and of those that stand alone or are compared."""
        alone, compared = set(), set()
        for token, following in pairwise(self.read):
            if token.type in _OPERANDS and (token.type, token.value) != ("name", "not"):
                if following.type in _CLOSING or (following.type == "name" and following.value in _JOINING):
                    alone.add(token.lineno)
                elif following.type in _COMPARING:
                    compared.add(token.lineno)
        return frozenset(alone), frozenset(alone | compared)


def _read_tokens(text: str) -> _Tokens:
    found = _Tokens()
    try:
        for token in _tokens(text):
            found.read.append(token)
            if len(found.read) > MOST_TOKENS:
                raise ExpressionError(
                    f"the expression has more than {MOST_TOKENS} words and signs; split it into several facts"
                )
    except (TemplateSyntaxError, ExpressionError) as error:
        found.failure = error
    return found


def _tokens(text: str) -> Iterator[Token]:
    """Jinja's tokens with offsets as line numbers, strings unescaped, brackets bounded."""
    offset = depth = 0
    triples = _LEXER.tokeniter(text.replace("\r\n", " \n").replace("\r", "\n"), None, state="variable")
    while True:
        try:
            _, token_type, value = next(triples)
        except StopIteration:
            break
        except TemplateSyntaxError as error:
            raise TemplateSyntaxError(error.message or "unexpected character", offset) from error
        if token_type == "string":
            yield Token(offset, "string", _unescaped(value[1:-1], offset))
        elif token_type != "whitespace":
            depth += (value in "([{") - (value in ")]}") if token_type == "operator" else 0
            if depth > DEEPEST_BRACKETS:
                raise ExpressionError(f"brackets are nested deeper than {DEEPEST_BRACKETS}", offset)
            if token_type == "operator":
                yield Token(offset, operators[value], value)
            else:
                yield from _LEXER.wrap([(offset, token_type, value)])
        offset += len(value)
    yield Token(len(text), "eof", "")


def _unescaped(body: str, offset: int) -> str:
    """Backslash escapes of a literal. One that is not known stays, so that a pattern like '\\d+' needs no doubling."""

    def replaced(match: re.Match[str]) -> str:
        code = match[1] or match[2]
        if code is None:
            return _ESCAPED.get(match[3], match[0])
        if "\ud800" <= chr(int(code, 16)) <= "\udfff":
            raise ExpressionError(f"{match[0]} is half of a character; write the character itself", offset)
        return chr(int(code, 16))

    return _ESCAPE.sub(replaced, body)


def _check_size(root: nodes.Expr) -> None:
    count = 0
    waiting: list[tuple[nodes.Node, int]] = [(root, 1)]
    while waiting:
        node, depth = waiting.pop()
        count += 1
        if count > MOST_NODES:
            raise ExpressionError(f"the expression has more than {MOST_NODES} parts; split it into several facts")
        if depth > DEEPEST:
            raise ExpressionError(f"the expression is nested deeper than {DEEPEST}; split it into several facts")
        flat = isinstance(node, (nodes.And, nodes.Or))
        waiting += [(child, depth + (not flat or type(child) is not type(node))) for child in node.iter_child_nodes()]


def _reworded(text: str, error: TemplateSyntaxError) -> str:
    offset = min(error.lineno, len(text))
    for pattern, advice in _HABITS:
        found = pattern.match(text, offset)
        if found:
            sign = "||" if found[0] == "|" else found[0]
            return f"{sign!r} is not part of the language; {advice}"
    message = (
        (error.message or "cannot be read")
        .replace("end of template", "the end")
        .replace("end of print statement", "the end")
    )
    if text[offset : offset + 1] in ("'", '"'):
        return f"a text is not closed with {text[offset]}"
    if offset >= len(text.rstrip()):
        return f"the expression ends too early ({message})"
    return re.sub(r"^(unexpected char .*) at \d+$", r"\1", message)
