"""What a value must look like, guessed from everything that is done with it. Pure.

A fact may be anything that a target answers; a search over all values would never end. What an expression compares it
with, which keys it takes out of it and whether it counts it say which values can make a difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import nodes

from ..expressions.grammar import parse
from ..units import parse_duration, parse_size
from .examples import example_of

Json = Any
NUMBERS = (0, 1, 2, 3, 5, 10, 100, 1000, 10_000, 1_000_000, 10**9, 10**12, 0.01, 0.2, 0.5, 0.8, 0.95, -1)
SIZES = (1, 0, 2, 3, 5)
WORDS = ("some", "other")


@dataclass(slots=True, eq=False)
class Shape:
    """One value: the constants it meets, its keys where it is a map, its item where it is a list."""

    constants: dict[str, Json] = field(default_factory=dict)  # by their repr: True is not 1 here
    keys: dict[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    sizes: dict[int, None] = field(default_factory=dict)
    is_number: bool = False
    is_flag: bool = False
    is_list: bool = False
    is_text: bool = False

    def key(self, name: str) -> Shape:
        return self.keys.setdefault(name, Shape())

    def element(self) -> Shape:
        self.is_list = True
        if self.item is None:
            self.item = Shape()
        return self.item

    def meets(self, value: Json) -> None:
        self.constants[repr(value)] = value

    def scalars(self) -> list[Json]:
        """Values worth trying, those that stand in the playbook first."""
        found: dict[str, Json] = dict(self.constants)
        numbers = [each for each in found.values() if isinstance(each, int | float) and not isinstance(each, bool)]
        for each in numbers:
            for near in (each + 1, each - 1, each * 2, each / 2):
                found.setdefault(repr(near), near)
        more: list[Json] = []
        if self.is_number or numbers:
            more += NUMBERS
        if not self.is_number:
            more += [True, False, *WORDS] if self.is_flag else [*WORDS, 1, True, False]
        for each in (*more, None):
            found.setdefault(repr(each), each)
        return list(found.values())


def shapes_of(
    expressions: Iterable[str],
    definitions: Mapping[str, str] | None = None,
    items: Mapping[str, str] | None = None,
    written: Iterable[str] = (),
) -> dict[str, Shape]:
    """The shape of every name that these expressions read.

    `definitions`: what a name is made of; `items`: of which list a name is one item; `written`: what stands in a text.
    """
    reader = _Reader(definitions=dict(definitions or {}), items=dict(items or {}))
    for expression in written:
        reader.write(parse(expression).root)
    for expression in expressions:
        reader.read(parse(expression).root)
    while sum(_merged(*pair) for pair in reader.alike):  # all of them, each time
        pass
    return reader.roots


def _merged(one: Shape, other: Shape) -> bool:
    """Two values of which either may stand for the same: what is asked of one is asked of the other."""
    if one is other:
        return False
    before = (_size(one), _size(other))
    for mine, theirs in ((one, other), (other, one)):
        mine.constants.update(theirs.constants)
        mine.sizes.update(theirs.sizes)
        mine.is_number, mine.is_flag = mine.is_number or theirs.is_number, mine.is_flag or theirs.is_flag
        for name, inner in theirs.keys.items():
            mine.keys.setdefault(name, inner)
        if theirs.is_list and not mine.is_list:
            mine.is_list, mine.item = True, theirs.item
    inside = [_merged(one.keys[name], other.keys[name]) for name in one.keys]
    if one.item is not None and other.item is not None:
        inside.append(_merged(one.item, other.item))
    return before != (_size(one), _size(other)) or any(inside)


def _size(shape: Shape) -> tuple[int, ...]:
    flags = (shape.is_list, shape.is_number, shape.is_flag)
    return (len(shape.constants), len(shape.sizes), len(shape.keys), *flags)


@dataclass(slots=True)
class _Reader:
    definitions: Mapping[str, str]
    items: Mapping[str, str]
    roots: dict[str, Shape] = field(default_factory=dict)
    alike: list[tuple[Shape, Shape]] = field(default_factory=list)

    def write(self, node: nodes.Node) -> None:
        found = self.address(node)
        if found is not None:
            found.is_text = True

    def read(self, node: nodes.Node) -> None:
        """Everything that an expression does with what it mentions."""
        self.address(node)
        match node:
            case nodes.And() | nodes.Or():
                self._flags((node.left, node.right))
            case nodes.Not():
                self._flags((node.node,))
            case nodes.CondExpr():
                self._flags((node.test,))
            case nodes.Compare():
                self._compare(node)
            case nodes.Test():
                self._test(node)
            case nodes.BinExpr():
                self._numbers((node.left, node.right))
            case nodes.UnaryExpr():
                self._numbers((node.node,))
            case nodes.Filter(name="min" | "max" | "sum", node=nodes.List() as listed):
                self._numbers(_undefaulted(item) for item in listed.items)
        for child in node.iter_child_nodes():
            self.read(child)

    def address(self, node: nodes.Node) -> Shape | None:
        """The value that this part of an expression is, where it is one that somebody delivered."""
        match node:
            case nodes.Name():
                return self._named(node.name)
            case nodes.Getattr():
                base = self.address(node.node)
                return base.key(node.attr) if base else None
            case nodes.Getitem(arg=nodes.Const(value=str(name))):
                base = self.address(node.node)
                return base.key(name) if base else None
            case nodes.Getitem():
                base = self.address(node.node)
                return base.element() if base else None
            case nodes.CondExpr():
                return self._either(node.expr1, node.expr2)
            case nodes.Add():
                return self._either(node.left, node.right)
            case nodes.Filter() if node.node is not None:
                return self._filtered(node)
        return None

    def _named(self, name: str) -> Shape:
        if name in self.items:
            listed = self.address(parse(self.items[name]).root)
            if listed is not None:
                return listed.element()
        made = self.address(parse(self.definitions[name]).root) if name in self.definitions else None
        return made or self.roots.setdefault(name, Shape())

    def _either(self, first: nodes.Node, second: nodes.Node | None) -> Shape | None:
        """A choice, or two lists that are put together."""
        one, other = self.address(first), self.address(second) if second is not None else None
        if one is not None and other is not None and one is not other:
            self.alike.append((one, other))
        return one or other

    def _filtered(self, node: nodes.Filter) -> Shape | None:
        base = self.address(node.node) if node.node is not None else None
        if base is None:
            return None
        filtering = _FILTERS.get(node.name)
        return filtering(self, base, node) if filtering else None

    def _flags(self, parts: Iterable[nodes.Node]) -> None:
        for part in parts:
            found = self.address(part)
            if found is not None and not (found.keys or found.is_list):
                found.is_flag = True

    def _numbers(self, parts: Iterable[nodes.Node]) -> None:
        for part in parts:
            found = self.address(part)
            if found is not None and not found.is_list:
                found.is_number = True

    def _compare(self, node: nodes.Compare) -> None:
        sides = [node.expr, *(operand.expr for operand in node.ops)]
        for left, operand, right in zip(sides, node.ops, sides[1:], strict=False):
            self._meet(left, operand.op, right)
            self._meet(right, _TURNED.get(operand.op, operand.op), left)

    def _meet(self, subject: nodes.Node, sign: str, other: nodes.Node) -> None:
        counted = self._counted(subject)
        found = self.address(subject)
        values = _constants(other)
        if counted is not None:
            counted.sizes.update({size: None for each in values if isinstance(each, int) for size in (each, each + 1)})
        elif found is not None and sign == "holds":
            for value in values:
                found.element().meets(value)
        elif found is not None:
            for value in values:
                found.meets(value)
            if sign in ("gt", "lt", "gteq", "lteq"):
                found.is_number = True
            self._relate(found, sign, other)

    def _relate(self, found: Shape, sign: str, other: nodes.Node) -> None:
        """Two values that are compared with one another: each may be what the other is."""
        theirs = self.address(other)
        if theirs is None or theirs is found:
            return
        if sign in ("eq", "ne"):
            self.alike.append((found, theirs))
        elif sign in ("in", "notin"):
            self.alike.append((found, theirs if theirs.is_text and not theirs.is_list else theirs.element()))

    def _counted(self, node: nodes.Node) -> Shape | None:
        if isinstance(node, nodes.Filter) and node.name == "length" and node.node is not None:
            base = self.address(node.node)
            if base is not None:
                base.element()
            return base
        return None

    def _test(self, node: nodes.Test) -> None:
        found = self.address(node.node)
        if found is not None:
            self._tested(found, node.name, [value for each in node.args for value in _constants(each)])

    def _tested(self, found: Shape, test: str, values: list[Json]) -> None:
        for value in values:
            if test == "matches" and isinstance(value, str):
                found.meets(example_of(value))
            else:
                found.meets(value)
        if test in ("gt", "ge", "lt", "le", "greaterthan", "lessthan"):
            found.is_number = True

    def _argument(self, node: nodes.Filter, place: int, name: str) -> Json:
        given = {str(pair.key): pair.value for pair in node.kwargs}
        argument = node.args[place] if place < len(node.args) else given.get(name)
        return argument.value if isinstance(argument, nodes.Const) else None

    def mapped(self, base: Shape, node: nodes.Filter) -> Shape:
        """`map(attribute='a.b')`: a list of what stands there; whoever looks into it looks into the items."""
        return Shape(item=_at(base.element(), self._argument(node, 0, "attribute")), is_list=True)

    def picked(self, base: Shape, node: nodes.Filter) -> Shape:
        """`sum`, `max`, `min`: with a path or of the items themselves."""
        found = _at(base.element(), self._argument(node, 0, "attribute"))
        found.is_number = True
        return found

    def selected(self, base: Shape, node: nodes.Filter) -> Shape:
        path, test = self._argument(node, 0, "attribute"), self._argument(node, 1, "test")
        found = _at(base.element(), path)
        given = {str(pair.key): pair.value for pair in node.kwargs}
        value = node.args[2] if len(node.args) > 2 else given.get("value")
        if test:
            self._tested(found, test, _constants(value) if value is not None else [])
            if value is not None:
                self._relate(found, test, value)
        else:
            found.is_flag = True
        return base

    def defaulted(self, base: Shape, node: nodes.Filter) -> Shape:
        if isinstance(node.args[0] if node.args else None, nodes.List):
            base.is_list = True
        for value in _constants(node.args[0]) if node.args else ():
            base.meets(value)
        return base


def _undefaulted(node: nodes.Node) -> nodes.Node:
    return node.node if isinstance(node, nodes.Filter) and node.name == "default" and node.node is not None else node


def _at(shape: Shape, path: Json) -> Shape:
    for part in str(path).split(".") if isinstance(path, str) else ():
        shape = shape.element() if part.isdecimal() else shape.key(part)
    return shape


def _constants(node: nodes.Node) -> list[Json]:
    """The constants that a side of a comparison holds, also those of a choice or a list."""
    match node:
        case nodes.Const():
            return [node.value]
        case nodes.Neg(node=nodes.Const(value=int() | float() as value)):
            return [-value]
        case nodes.List() | nodes.Tuple():
            return [value for each in node.items for value in _constants(each)]
        case nodes.Call(node=nodes.Name(name="size" | "duration" as name), args=[nodes.Const(value=str(text))]):
            return [(parse_size if name == "size" else parse_duration)(text)]
        case nodes.CondExpr():
            return [*_constants(node.expr1), *(_constants(node.expr2) if node.expr2 else ())]
    return []


def results_of(expression: str) -> list[Json]:
    """The constants that an expression itself may come to: `'ok' if not error else error.code` gives `ok`."""
    return _constants(parse(expression).root)


_TURNED = {"gt": "lt", "lt": "gt", "gteq": "lteq", "lteq": "gteq", "in": "holds", "notin": "holds"}


def _same(reader: _Reader, base: Shape, node: nodes.Filter) -> Shape:
    return base


def _of_list(reader: _Reader, base: Shape, node: nodes.Filter) -> Shape:
    path = reader._argument(node, 0, "attribute")
    if node.name != "join" and isinstance(path, str):
        _at(base.element(), path).is_number = True
    base.element()
    return base


def _element(reader: _Reader, base: Shape, node: nodes.Filter) -> Shape:
    return base.element()


def _number(reader: _Reader, base: Shape, node: nodes.Filter) -> Shape:
    base.is_number = True
    return base


_FILTERS: Mapping[str, Callable[[_Reader, Shape, nodes.Filter], Shape | None]] = {
    "first": _element,
    "last": _element,
    "map": _Reader.mapped,
    "sum": _Reader.picked,
    "max": _Reader.picked,
    "min": _Reader.picked,
    "selectattr": _Reader.selected,
    "rejectattr": _Reader.selected,
    "default": _Reader.defaulted,
    "sort": _of_list,
    "unique": _of_list,
    "join": _of_list,
    "lower": _same,
    "int": _number,
    "float": _number,
    "round": _number,
    "abs": _number,
}
