"""RB418: what interrupts work should say how much of it, before somebody agrees.

A gate shows the measured impact: "12 jobs are interrupted" is another question than "are you sure?".
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB418"
SUMMARY = "A disruptive action without `impact`: its gate cannot say how much work it interrupts."
BAD = """
causes: [{id: many, needs: waiting > 5, fix: [rename]}]
resolution:
  - {id: rename, effect: disruptive, redis: [RENAME, jobs, later], verify: {until: waiting == 0}}
"""
GOOD = BAD.replace("disruptive, ", "disruptive, impact: {count: waiting, of: jobs have to wait}, ")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for index, action in enumerate(loaded.playbook.resolution):
        if action.effect == "disruptive" and action.manual is None and action.impact is None:
            message = f"disruptive action {action.id!r} has no impact: {{count: …, of: what is interrupted}}"
            yield loaded.complaint(("resolution", index, "effect"), CODE, message)
