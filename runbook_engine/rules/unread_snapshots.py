"""RB222: what is looked up before an action and never used is a request too many, or an undo that forgot it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB222"
SUMMARY = "A value of `snapshot` that neither the undo nor the verification reads as `before.…`."
BAD = """
causes: [{id: paused, needs: waiting > 5, fix: [resume]}]
resolution:
  - id: resume
    effect: reversible
    redis: [DEL, paused]
    snapshot:
      since: {redis: [GET, paused]}
    undo: {redis: [SET, paused, "1"]}
    verify: {until: waiting == 0}
"""
GOOD = BAD.replace('"1"', '"${{ before.since }}"')


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for index, action in enumerate(loaded.playbook.resolution):
        read = str(action.model_dump(exclude={"snapshot"}))
        if re.search(r"\bbefore\b(?!\s*(?:\.\s*\w|\[\s*['\"]))", read):
            continue  # all of it is read at once
        for name in action.snapshot:
            if not re.search(rf"\bbefore\s*(?:\.\s*{name}\b|\[\s*\\?['\"]{name}\\?['\"])", read):
                message = f"nothing reads the snapshot {name!r} of action {action.id!r}: use before.{name}, or drop it"
                yield loaded.complaint(("resolution", index, "snapshot", name), CODE, message, key=True)
