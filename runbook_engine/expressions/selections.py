"""Filters and tests in an expression: their names, arguments and patterns checked before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import nodes

from .filters import FILTERS, REQUIRED, TESTS
from .operators import Run, strict
from .patterns import compile_pattern
from .reading import Part, Reading, always, given_arguments, literal_path, literal_text
from .values import ExpressionError, Frame, Json, Unknown, raise_unknown


def translate_filter(reading: Reading, node: nodes.Filter) -> Part:
    if node.name not in FILTERS:
        reading.unknown_word(node, "filter", node.name, FILTERS)
    if node.node is None:
        reading.fail(node, f"the filter {node.name!r} has nothing to work on")
    base, arguments = reading.part(node.node), _filter_arguments(reading, node)
    if node.name == "default":
        return reading.value(node, _defaulted(base.run, arguments[0]))
    run = FILTERS[node.name].run
    return reading.value(node, strict(lambda frame, *values: _checked(run(frame, *values)), (base.run, *arguments)))


def _filter_arguments(reading: Reading, node: nodes.Filter) -> tuple[Run, ...]:
    parameters = FILTERS[node.name].parameters
    given = given_arguments(reading, node, f"the filter {node.name!r}", tuple(parameters))
    if node.name == "map" and node.args:
        reading.fail(node, "map takes one of its attributes: map(attribute='name')")
    if "attribute" in given:
        literal_path(reading, given["attribute"])
    if "test" in given:
        _check_selection(reading, node, given)
    missing = [name for name, default in parameters.items() if default is REQUIRED and name not in given]
    if missing:
        reading.fail(node, f"the filter {node.name!r} needs {missing[0]!r}: {node.name}({', '.join(parameters)})")
    return tuple(
        reading.part(given[name]).run if name in given else always(default) for name, default in parameters.items()
    )


def _check_selection(reading: Reading, node: nodes.Filter, given: Mapping[str, nodes.Expr]) -> None:
    name = literal_text(reading, given["test"], "the test")
    if name not in TESTS:
        reading.unknown_word(given["test"], "test", name, TESTS)
    if TESTS[name].takes_argument != ("value" in given):
        needs = "needs a value" if TESTS[name].takes_argument else "takes no value"
        reading.fail(node, f"the test {name!r} {needs}: {node.name}('path', 'test', value)")
    _check_pattern(reading, name, given.get("value"))


def translate_test(reading: Reading, node: nodes.Test) -> Part:
    if node.name not in TESTS:
        reading.unknown_word(node, "test", node.name, [name for name in TESTS if name.isalpha()])
    base, test = reading.part(node.node), TESTS[node.name]
    arguments = _test_arguments(reading, node)
    if len(arguments) != test.takes_argument:
        takes = "one argument" if test.takes_argument else "no argument"
        reading.fail(node, f"the test {node.name!r} takes {takes}; brackets around the test may help")
    _check_pattern(reading, node.name, *arguments)
    if node.name == "known":
        return Part(reading.syntax.source(node), _known(base.run), "test", (base,))
    runs = (base.run, *(part.run for part in reading.parts(arguments)))
    return Part(reading.syntax.source(node), strict(test.run, runs), "test", (base,))


def _test_arguments(reading: Reading, node: nodes.Test) -> list[nodes.Expr]:
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        reading.fail(node, f"the test {node.name!r} takes no named arguments")
    if node.name == "in" and len(node.args) > 1:  # Jinja reads the tuple of `x is in (1, 2)` as two arguments
        return [nodes.List(node.args, lineno=node.lineno)]
    return list(node.args)


def _check_pattern(reading: Reading, test: str, argument: nodes.Expr | None = None) -> None:
    if test != "matches" or not isinstance(argument, nodes.Const):
        return
    try:
        compile_pattern(literal_text(reading, argument, "the pattern"))
    except ExpressionError:
        raise
    except ValueError as error:
        reading.fail(argument, str(error))


def _defaulted(base: Run, fallback: Run) -> Run:
    def run(frame: Frame) -> Json | Unknown:
        value = base(frame)
        return fallback(frame) if value is None or isinstance(value, Unknown) else value

    return run


def _known(base: Run) -> Run:
    return lambda frame: not isinstance(base(frame), Unknown)


def _checked(value: Json | Unknown) -> Json:
    raise_unknown(value)
    return value
