"""RB411: something is lost, and nothing measures or bounds how much."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB411"
SUMMARY = (
    "A destructive action without `impact` or without `limit`: its gate cannot say how much is lost, nothing stops it."
)
BAD = """
causes: [{id: many, needs: waiting > 5, fix: [stop]}]
resolution:
  - {id: stop, effect: destructive, redis: [DEL, jobs], verify: {until: waiting == 0}}
"""
GOOD = """
causes: [{id: many, needs: waiting > 5, fix: [stop]}]
resolution:
  - id: stop
    effect: destructive
    redis: [DEL, jobs]
    impact: {count: waiting, of: jobs are lost}
    limit: {affected: 1}
    verify: {until: waiting == 0}
"""


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for index, action in enumerate(loaded.playbook.resolution):
        if action.effect != "destructive" or action.manual is not None:
            continue
        missing = [
            *(["impact"] if action.impact is None else []),
            *(["limit"] if action.limit.impact is None and action.limit.affected is None else []),
        ]
        if missing:
            message = f"destructive action {action.id!r} has no {' and no '.join(missing)}"
            yield loaded.complaint(("resolution", index, "effect"), CODE, message)
