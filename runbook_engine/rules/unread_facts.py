"""RB220: a fact that nothing reads is a typo, or a question asked in vain."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB220"
SUMMARY = "A fact that no expression and no text reads. Use it, show it in a title, or drop it."
BAD = """
diagnosis:
  - {id: jobs, redis: [LLEN, jobs], facts: {jobs: result}}
"""
GOOD = f"{BAD}causes: [{{id: many, needs: jobs > 5, advice: look at the workers}}]\n"


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    read = loaded.mentioned
    for section in ("symptoms", "diagnosis"):
        for index, probe in enumerate(getattr(loaded.playbook, section)):
            for name in probe.facts.keys() - read:
                message = f"nothing reads the fact {name!r} of step {probe.id!r}"
                made = loaded.complaint((section, index, "facts", name), CODE, message, key=True)
                if made.path == loaded.path:  # a library offers facts to many, nobody needs all of them
                    yield made
