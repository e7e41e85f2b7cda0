"""RB416: shellcheck knows the slips of shells that everybody makes; its wiki explains each under its own code.

Only where shellcheck is installed: without it this rule says nothing, and neither does it when it takes too long.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..commands.shellcheck import findings, installed
from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB416"
SUMMARY = "What shellcheck warns of in a script, when it is installed."
BAD = """
diagnosis:
  - id: ready
    effect: read
    shell: |
      state=$(cat /run/app/state)
      [ "$state"="ready" ]
    facts: {ready: exit_code}
causes: [{id: not-ready, needs: ready != 0, advice: wait}]
"""
GOOD = BAD.replace('"$state"="ready"', '"$state" = "ready"')


def can_judge() -> bool:
    """An ignore of what cannot be found here is not needless: it is for where it can."""
    return installed() is not None


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for placed in loaded.acts():
        if placed.act.executor == "shell" and isinstance(placed.act.request, str):
            script = placed.act.request
            for found in findings(script):
                offset = sum(len(line) + 1 for line in script.split("\n")[: found.line - 1]) + found.column - 1
                message = f"{placed.what}: shellcheck SC{found.code}: {found.message[:1].lower()}{found.message[1:]}"
                yield loaded.complaint((*placed.loc, "request"), CODE, message.rstrip("."), offset=offset)
