"""RB221: an input that nothing reads promises a choice that does not exist."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB221"
SUMMARY = "An input that no expression, text or request reads."
BAD = """
inputs: {most: {type: integer, default: 5}}
"""
GOOD = f"{BAD}causes: [{{id: many, needs: waiting > most, advice: look at the locks}}]\n"


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for name in loaded.playbook.inputs.keys() - loaded.mentioned:
        yield loaded.complaint(("inputs", name), CODE, f"nothing reads the input {name!r}", key=True)
