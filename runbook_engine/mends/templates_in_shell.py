"""`grep ${{ queue }} file`: a script is constant, so a plain name becomes a variable, which `with:` gives."""

from __future__ import annotations

import re

from ..errors import Complaint
from ..loading.yaml_reader import Mapping, Node, Sequence
from ..validation.text import Edit, Text

CODES = frozenset({"RB302"})
_TEMPLATE = re.compile(r"\$\{\{\s*([a-z][a-z0-9_]*)\s*\}\}")


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    line = text.line(complaint.line)
    found = _TEMPLATE.match(line, complaint.column - 1)
    step = _step(text.root, complaint.line) if text.root is not None else None
    if found is None or step is None or f'write "${found[1]}" instead of' not in complaint.message:
        return []
    key = step.keys["shell"]
    start, end = found.span()
    quote = line[start - 1 : start]
    enclosed = quote in ("'", '"') and line[end : end + 1] == quote
    before = line[: start - 1] if enclosed else line[:start]
    lead = text.line(key.line)[: key.column - 1]
    # Anywhere else the quotes around it, or a `with` that is there, would have a say in what is right.
    if before.count("'") % 2 or before.count('"') % 2 or "with" in step.value or lead.strip(" -"):
        return []
    if enclosed:
        start, end = start - 1, end + 1
    given = f'with: {{{found[1]}: "${{{{ {found[1]} }}}}"}}{text.line_break}{" " * len(lead)}'
    edits = (
        text.replace(key.line, key.column, "shell", f"{given}shell"),
        text.replace(complaint.line, start + 1, line[start:end], f'"${found[1]}"'),
    )
    return [edit for edit in edits if edit] if all(edits) else []


def _step(node: Node, line: int) -> Mapping | None:
    """The innermost step with a script that begins at or before the line."""
    found: Mapping | None = None
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting += each.value.values()
            key = each.keys.get("shell")
            if key and key.line <= line and (found is None or key.line > found.keys["shell"].line):
                found = each
        elif isinstance(each, Sequence):
            waiting += each.value
    return found
