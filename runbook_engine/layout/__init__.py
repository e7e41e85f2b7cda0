"""One layout for every playbook: the same text, indented, ordered and spaced alike. Pure: text in, text out.

It may never change what a file means nor lose a comment; where it cannot prove both it refuses.
"""

from __future__ import annotations

from collections import Counter

from ..errors import Complaint, PlaybookError
from ..loading import yaml_reader
from .tree import comments, parse
from .writing import written

REFUSED = "RB010"


def format_text(text: str, path: str) -> str:
    """The text in its canonical layout. Raises PlaybookError when it is not sound YAML, with every complaint."""
    before = yaml_reader.read(text, path)
    kind = _kind(before)
    tree = parse(text)
    # An anchor that would come after its alias forbids another order of keys: then the author's order stays.
    for order in (True, False):
        made = written(text, tree, kind if order else "")
        if _same(before, made, path) and Counter(comments(made)) == Counter(comments(text)):
            return made
    message = "this layout cannot be changed without changing what the file says. it was left as it is"
    raise PlaybookError((Complaint(path, 1, 1, message, REFUSED),))


def _kind(root: yaml_reader.Node) -> str:
    keys = root.value if isinstance(root, yaml_reader.Mapping) else {}
    return next((kind for kind in ("runbook", "library", "cases", "environments") if kind in keys), "")


def _same(before: yaml_reader.Node, made: str, path: str) -> bool:
    try:
        after = yaml_reader.read(made, path)
    except PlaybookError:
        return False
    return _value(before) == _value(after)


def _value(node: yaml_reader.Node) -> object:
    """With types, so that 1 and true and 1.0 stay apart, and with the order of keys that are names of somebody's."""
    if isinstance(node, yaml_reader.Scalar):
        return type(node.value), node.value
    if isinstance(node, yaml_reader.Mapping):
        return {key: _value(each) for key, each in node.value.items()}
    return [_value(each) for each in node.value]
