"""RB410: without a verification nobody learns whether a fix worked."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..executor import Effect
from ..loader import LoadedPlaybook

CODE = "RB410"
SUMMARY = "An action that changes something has no `verify`, so that only the symptoms can tell whether it worked."
BAD = """
causes: [{id: many, needs: waiting > 5, fix: [stop]}]
resolution:
  - {id: stop, effect: disruptive, manual: Stop the import.}
"""
GOOD = BAD.replace("import.", "import., verify: {until: waiting == 0, within: 2m}")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for index, action in enumerate(loaded.playbook.resolution):
        if action.verify is None and Effect[action.effect] > Effect.touch:
            message = f"action {action.id!r} has no verify: {{until: …, within: …, hold: …}}"
            yield loaded.complaint(("resolution", index, "id"), CODE, message)
