"""RB511: a cause that leads nowhere leaves a person alone at three in the morning."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB511"
SUMMARY = "A cause with none of `fix`, `see`, `advice` and `benign`: it is found, and then nothing is said."
BAD = """
causes: [{id: many, needs: waiting > 5}]
"""
GOOD = """
causes: [{id: many, needs: waiting > 5, advice: look at the locks}]
"""


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for index, cause in enumerate(loaded.playbook.causes):
        if not (cause.fix or cause.see or cause.advice or cause.benign):
            message = f"cause {cause.id!r} leads nowhere: give it fix, see or advice, or mark it benign"
            yield loaded.complaint(("causes", index, "id"), CODE, message)
