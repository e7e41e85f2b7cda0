"""What an expression says that its author cannot have meant, seen from its text alone. Pure, and never a guess.

Only what is so whatever the facts are: a text beside a number, an order of nothing, conditions that exclude each other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from jinja2 import nodes

from .grammar import Syntax, parse
from .values import ExpressionError

Kind = str  # "a number", "text", "true or false", "none"
NUMBER, TEXT, FLAG, NONE = "a number", "text", "true or false", "none"

_NUMBERS = frozenset({"length", "sum", "round", "abs", "int", "float"})
_TEXTS = frozenset({"join", "lower"})
_FUNCTIONS = frozenset({"duration", "size", "rate", "delta", "rises", "changes"})
_ORDER = {"gt": ">", "gteq": ">=", "lt": "<", "lteq": "<="}
_SIGNS = {**_ORDER, "eq": "==", "ne": "!="}
_MIRRORED = {"gt": "lt", "gteq": "lteq", "lt": "gt", "lteq": "gteq", "eq": "eq", "ne": "ne"}


def kind_of(text: str, known: Mapping[str, Kind]) -> Kind | None:
    """What kind of value an expression surely has, as long as it has any."""
    syntax = _parsed(text)
    return _kind(syntax.root, known) if syntax is not None else None


def mixed_kinds(text: str, known: Mapping[str, Kind]) -> Iterator[tuple[int, str]]:
    """Comparisons of a text with a number, and orders of what has none: where, and what is wrong."""
    syntax = _parsed(text)
    for node in _all(syntax.root, nodes.Compare) if syntax is not None else ():
        for left, sign, right in _pairs(node):
            found = _mixed(_kind(left, known), sign, _kind(right, known), left, right)
            if found and syntax is not None:
                yield syntax.offset(right), f"`{syntax.source(left)} {_SIGNS[sign]} {syntax.source(right)}`: {found}"


def beside_none(text: str, optional: Collection[str]) -> Iterator[tuple[int, str]]:
    """Optional inputs that are compared or reckoned with as if they were always given: where, and which."""
    syntax = _parsed(text) if any(name in text for name in optional) else None
    if syntax is None:
        return
    heeded = _heeded(syntax.root)
    for node in _all(syntax.root, nodes.Compare, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.Mod):
        for operand in _reckoned(node):
            if isinstance(operand, nodes.Name) and operand.name in optional and operand.name not in heeded:
                heeded.add(operand.name)
                yield syntax.offset(operand), operand.name


def contradiction(text: str) -> tuple[int, str] | None:
    """Two of the conditions joined by `and` that are never both true: where the second stands, and what is wrong."""
    syntax = _parsed(text)
    if syntax is None or not isinstance(syntax.root, nodes.And):
        return None
    bounds: dict[str, list[tuple[str, Any, str]]] = defaultdict(list)
    for node in _joined(syntax.root):
        if not isinstance(node, nodes.Compare) or len(node.ops) != 1:
            continue
        ((left, sign, right),) = _pairs(node) or [(node, "", node)]
        if isinstance(left, nodes.Const) and not isinstance(right, nodes.Const):
            left, sign, right = right, _MIRRORED.get(sign, ""), left
        if sign not in _SIGNS or not isinstance(right, nodes.Const) or isinstance(left, nodes.Const):
            continue
        told = syntax.source(node)
        for other_sign, other, shown in bounds[syntax.source(left)]:
            if _exclude(other_sign, other, sign, right.value):
                return syntax.offset(node), f"`{shown}` and `{told}` are never both true"
        bounds[syntax.source(left)].append((sign, right.value, told))
    return None


def _parsed(text: str) -> Syntax | None:
    try:
        return parse(text)
    except ExpressionError:
        return None


def _all(root: nodes.Node, *kinds: type[nodes.Node]) -> Iterator[Any]:
    """Every node of these kinds, the root too."""
    if isinstance(root, kinds):
        yield root
    yield from root.find_all(kinds)


def _kind(node: nodes.Node, known: Mapping[str, Kind]) -> Kind | None:
    match node:
        case nodes.Const(value=value):
            return _kind_of_value(value)
        case nodes.Name(name=name):
            return known.get(name)
        case nodes.Compare() | nodes.Not() | nodes.Test():
            return FLAG
        case nodes.Concat():
            return TEXT
        case nodes.Sub() | nodes.Mul() | nodes.Div() | nodes.FloorDiv() | nodes.Mod() | nodes.Neg():
            return NUMBER
        case nodes.Filter(name=name):
            return NUMBER if name in _NUMBERS else TEXT if name in _TEXTS else None
        case nodes.Call(node=nodes.Name(name=name)):
            return NUMBER if name in _FUNCTIONS else None
        case nodes.CondExpr(expr1=one, expr2=other) if other is not None:
            return _kind(one, known) if _kind(one, known) == _kind(other, known) else None
    return None


def _kind_of_value(value: Any) -> Kind | None:
    if value is None:
        return NONE
    if isinstance(value, bool):
        return FLAG
    return NUMBER if isinstance(value, int | float) else TEXT if isinstance(value, str) else None


def _pairs(node: nodes.Compare) -> list[tuple[nodes.Node, str, nodes.Node]]:
    operands = [node.expr, *(operand.expr for operand in node.ops)]
    pairs = zip(operands, node.ops, operands[1:], strict=False)
    return [(left, operand.op, right) for left, operand, right in pairs if operand.op in _SIGNS]


def _mixed(left: Kind | None, sign: str, right: Kind | None, one: nodes.Node, other: nodes.Node) -> str:
    if {left, right} == {TEXT, NUMBER}:
        outcome = "is never true" if sign == "eq" else "is always true" if sign == "ne" else "is always unknown"
        return f"text and a number: it {outcome}. {_rewrite(one, other)}"
    if sign not in _ORDER:
        return ""
    for kind in (left, right):
        if kind in (NONE, FLAG):
            return f"nothing is more or less than {kind}: it is always unknown. compare with a number, or use == or !="
    for node in (one, other):
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and _is_number(node.value):
            return (
                f"the text {node.value!r} is ordered letter by letter, and has no order to a number. {_rewrite(node)}"
            )
    return ""


def _rewrite(*sides: nodes.Node) -> str:
    for node in sides:
        if isinstance(node, nodes.Const) and isinstance(node.value, str) and _is_number(node.value):
            return f"write {node.value.strip()} without quotes"
    return "compare values of one kind; `| float` makes a number of a text"


def _is_number(text: str) -> bool:
    try:
        return float(text) == float(text)
    except ValueError:
        return False


def _heeded(root: nodes.Node) -> set[str]:
    """Names that the expression itself asks about: compared with none, given a default, decided on."""
    asked: set[str] = set()
    for node in _all(root, nodes.Compare, nodes.Filter, nodes.Test):
        if isinstance(node, nodes.Compare):
            sides = [side for left, sign, right in _pairs(node) if sign in ("eq", "ne") for side in (left, right)]
            none = any(isinstance(side, nodes.Const) and side.value is None for side in sides)
            asked |= {side.name for side in sides if none and isinstance(side, nodes.Name)}
        elif isinstance(node.node, nodes.Name) and (isinstance(node, nodes.Test) or node.name == "default"):
            asked.add(node.node.name)
    for joint in _all(root, nodes.And, nodes.Or, nodes.CondExpr, nodes.Not):
        asked |= {child.name for child in joint.iter_child_nodes() if isinstance(child, nodes.Name)}
    return asked


def _reckoned(node: nodes.Node) -> list[nodes.Node]:
    if isinstance(node, nodes.Compare):
        return [side for left, sign, right in _pairs(node) if sign in _ORDER for side in (left, right)]
    return list(node.iter_child_nodes())


def _joined(node: nodes.Node) -> Iterator[nodes.Node]:
    if isinstance(node, nodes.And):
        yield from _joined(node.left)
        yield from _joined(node.right)
    else:
        yield node


def _exclude(one: str, first: Any, other: str, second: Any) -> bool:
    """Whether no value fits both: `== 'a'` and `== 'b'`, `> 5` and `< 3`."""
    if _kind_of_value(first) != _kind_of_value(second):
        return False
    if one == "eq" and other == "eq":
        return bool(first != second)
    if "eq" in (one, other) and "ne" in (one, other):
        return bool(first == second)
    if _kind_of_value(first) != NUMBER or "ne" in (one, other):
        return False
    low = max((value for sign, value in ((one, first), (other, second)) if sign in ("gt", "gteq", "eq")), default=None)
    high = min((value for sign, value in ((one, first), (other, second)) if sign in ("lt", "lteq", "eq")), default=None)
    if low is None or high is None or (low < high and "eq" not in (one, other)):
        return False
    if low > high:
        return True
    return low == high and bool(
        {"gt", "lt"} & {sign for sign, value in ((one, first), (other, second)) if value == low}
    )
