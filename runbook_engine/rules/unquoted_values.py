"""RB415: without double quotes one value becomes several words, and `*` in it the names of files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..commands.placements import unquoted
from ..errors import Complaint
from ..loader import LoadedPlaybook
from ..model import Playbook

CODE = "RB415"
SUMMARY = "A value of `with:` stands without double quotes in a script: the shell splits it and expands patterns in it."
BAD = """
inputs: {folder: {type: string, default: /var/log}}
diagnosis:
  - id: size
    effect: read
    shell: du -sk -- $folder
    with: {folder: "${{ folder }}"}
    facts: {size: stdout}
causes: [{id: large, needs: size != '', advice: make room}]
"""
GOOD = BAD.replace("$folder\n", '"$folder"\n')
_NUMERIC = ("integer", "number", "duration", "size", "boolean")
_ONE_WORD = re.compile(r"\^(?:\[[\w.:/@-]+\][+*]?(?:\{\d+(?:,\d+)?\})?)+\$")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for placed in loaded.acts():
        if placed.act.executor != "shell" or not isinstance(placed.act.request, str):
            continue
        names = {name for name, value in placed.act.bindings.items() if not _is_one_word(loaded.playbook, value)}
        for offset, name, what in unquoted(placed.act.request, names):
            message = f'{placed.what}: ${name} stands without quotes: {what}. write "${name}"'
            yield loaded.complaint((*placed.loc, "request"), CODE, message, offset=offset)


def _is_one_word(playbook: Playbook, value: Any) -> bool:
    """A number, or an input whose pattern lets nothing through that a shell would split."""
    if isinstance(value, int | float):
        return True
    found = re.fullmatch(r"\$\{\{\s*(\w+)\s*\}\}", value) if isinstance(value, str) else None
    wanted = playbook.inputs.get(found[1]) if found else None
    if wanted is None:
        return False
    return wanted.type in _NUMERIC or bool(wanted.pattern and _ONE_WORD.fullmatch(wanted.pattern))
