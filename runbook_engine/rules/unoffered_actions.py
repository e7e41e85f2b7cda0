"""RB510: an action that no cause offers can never run."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB510"
SUMMARY = "An action that no cause has in `fix`: it is never offered."
BAD = """
causes: [{id: many, needs: waiting > 5, advice: look at the locks}]
resolution:
  - {id: stop, effect: disruptive, manual: Stop the import., verify: {until: waiting == 0}}
"""
GOOD = BAD.replace("advice: look at the locks", "fix: [stop]")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    offered = {name for cause in loaded.playbook.causes for name in cause.fix}
    for index, action in enumerate(loaded.playbook.resolution):
        if action.id not in offered:
            yield loaded.complaint(
                ("resolution", index, "id"), CODE, f"no cause offers action {action.id!r}: name it in `fix`"
            )
