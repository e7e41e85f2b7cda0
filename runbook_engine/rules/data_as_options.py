"""RB412: data that begins with `-` is an option of the command that gets it, unless a literal `--` stands before it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..commands.placements import as_options
from ..errors import Complaint
from ..executors.shell import open_items
from ..loader import LoadedPlaybook
from ..model import Playbook

CODE = "RB412"
SUMMARY = (
    "A templated item of a command with no literal `--` before it: data that begins with `-` would be an option, "
    "so the step is not sent then."
)
BAD = """
diagnosis:
  - id: size
    effect: read
    shell: [du, -sk, "${{ folder }}"]
    facts: {size: stdout}
inputs: {folder: {type: string, default: /var/log}}
causes: [{id: large, needs: size != '', advice: make room}]
"""
GOOD = BAD.replace('-sk, "', '-sk, --, "')


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for placed in loaded.acts():
        if placed.act.executor == "shell" and isinstance(placed.act.request, list):
            for index in open_items(placed.act.request):
                message = f"{placed.what}: item {index + 1} could become an option: put a literal -- before it"
                yield loaded.complaint((*placed.loc, "request", index), CODE, message)
        elif placed.act.executor == "shell" and isinstance(placed.act.request, str):
            names = {name for name, value in placed.act.bindings.items() if not _begins_tamely(loaded.playbook, value)}
            for offset, name, what in as_options(placed.act.request, names):
                message = f"{placed.what}: {what}: put -- before ${name}"
                yield loaded.complaint((*placed.loc, "request"), CODE, message, offset=offset)


def _begins_tamely(playbook: Playbook, value: Any) -> bool:
    """A number that cannot be negative is rare; an input whose pattern begins with a letter, a digit or `/` is not."""
    found = re.fullmatch(r"\$\{\{\s*(\w+)\s*\}\}", value) if isinstance(value, str) else None
    wanted = playbook.inputs.get(found[1]) if found else None
    if wanted is None:
        return not isinstance(value, str) or not value.startswith(("-", "${{"))
    return wanted.enum is not None or bool(re.match(r"\^(?:[A-Za-z0-9/]|\[[\w./]+\])", wanted.pattern or ""))
