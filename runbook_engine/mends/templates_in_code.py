"""`where state = '${{ state }}'` in SQL, `grep ${{ queue }}` in a script: code is constant, so the value is bound.

The loader shows the rewrite, `%(state)s` or `"$queue"`, and what `with:` has to give where nothing else does.
"""

from __future__ import annotations

import re

from ..errors import Complaint
from ..loading.yaml_mistakes import quoted
from ..loading.yaml_reader import Mapping, Node, Sequence
from ..validation.text import Edit, Text

CODES = frozenset({"RB302"})
_REWRITE = re.compile(
    r'write(?:, without the quotes,)? (%\(\w+\)s|"\$\w+") instead of (\$\{\{.*?\}\})'
    r"(?: and with: \{(\w+): \'(.*)\'\})?",
    re.DOTALL,
)


def mend(complaint: Complaint, text: Text) -> list[Edit]:
    told = _REWRITE.search(complaint.message)
    if told is None or "\n" in told[2]:
        return []
    edits = [_rewritten(complaint, text, told[2], told[1])]
    if told[3]:
        edits.append(_given(complaint, text, "sql" if told[1].startswith("%") else "shell", (told[3], told[4])))
    return [edit for edit in edits if edit] if all(edits) else []


def _rewritten(complaint: Complaint, text: Text, template: str, ours: str) -> Edit | None:
    """Quotes right around the template go with it; inside of a longer text nobody can say what belongs to it."""
    line = text.line(complaint.line)
    start = complaint.column - 1
    end = start + len(template)
    quote = line[start - 1 : start]
    marks = "'" if ours.startswith("%") else "'\""
    enclosed = quote != "" and quote in marks and line[end : end + 1] == quote
    before = line[: start - 1] if enclosed else line[:start]
    if not line.startswith(template, start) or before.count("'") % 2 or before.count('"') % 2:
        return None
    if enclosed:
        start, end = start - 1, end + 1
    return text.replace(complaint.line, start + 1, line[start:end], ours)


def _given(complaint: Complaint, text: Text, code: str, value: tuple[str, str]) -> Edit | None:
    """A `with:` in front of the code; where one is already, what it gives is not ours to change."""
    step = _step(text.root, code, complaint.line) if text.root is not None else None
    if step is None or "with" in step.value:
        return None
    key = step.keys[code]
    lead = text.line(key.line)[: key.column - 1]
    if lead.strip(" -"):
        return None  # the step stands in braces
    given = f"with: {{{value[0]}: {quoted(value[1])}}}{text.line_break}{' ' * len(lead)}"
    return text.replace(key.line, key.column, code, f"{given}{code}")


def _step(node: Node, code: str, line: int) -> Mapping | None:
    """The innermost step with such code that begins at or before the line."""
    found: Mapping | None = None
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, Mapping):
            waiting += each.value.values()
            key = each.keys.get(code)
            if key and key.line <= line and (found is None or key.line > found.keys[code].line):
                found = each
        elif isinstance(each, Sequence):
            waiting += each.value
    return found
