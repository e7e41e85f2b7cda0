"""Checks inputs: that their defaults are values they would accept, and that their own bounds make sense."""

from __future__ import annotations

from ...expressions.patterns import compile_pattern
from ...model import Input
from ..inputs import typed_value
from .checking import Checking


def check_defaults(checking: Checking) -> None:
    for name, wanted in checking.playbook.inputs.items():
        if wanted.pattern is not None and not _pattern_holds(checking, name, wanted):
            continue
        if wanted.default is not None:
            try:
                typed_value(wanted, wanted.default)
            except ValueError as error:
                checking.complain(("inputs", name, "default"), "RB111", f"default of input {name!r}: {error}")
        for key in ("minimum", "maximum"):
            if getattr(wanted, key) is not None and wanted.type in ("string", "boolean"):
                message = f"{key!r} is for numbers, durations and sizes; input {name!r} is a {wanted.type}"
                checking.complain(("inputs", name, key), "RB111", message, key=True)


def _pattern_holds(checking: Checking, name: str, wanted: Input) -> bool:
    if wanted.type != "string":
        message = f"'pattern' is for text; input {name!r} is a {wanted.type}"
        checking.complain(("inputs", name, "pattern"), "RB111", message, key=True)
        return False
    try:
        compile_pattern(str(wanted.pattern))
    except ValueError as error:
        checking.complain(("inputs", name, "pattern"), "RB111", f"pattern of input {name!r}: {error}")
        return False
    return True
