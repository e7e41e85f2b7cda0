"""RB410: without a verification nobody learns whether a fix worked."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..executor import Effect
from ..expressions import compile_expression
from ..loader import LoadedPlaybook
from ..loading.checks.checking import fact_names

CODE = "RB410"
SUMMARY = "An action that changes something has no `verify`, or one that asks for nothing: only the symptoms can tell."
BAD = """
causes: [{id: many, needs: waiting > 5, fix: [stop]}]
resolution:
  - {id: stop, effect: disruptive, manual: Stop the import.}
"""
GOOD = BAD.replace("import.", "import., verify: {until: waiting == 0, within: 2m}")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    facts = {name for probe in loaded.playbook.probes() for name in fact_names(probe)}
    for index, action in enumerate(loaded.playbook.resolution):
        if action.verify is None and Effect[action.effect] > Effect.touch:
            message = f"action {action.id!r} has no verify: {{until: …, within: …, hold: …}}"
            yield loaded.complaint(("resolution", index, "id"), CODE, message)
        elif action.verify is not None and not compile_expression(action.verify.until).names & facts:
            message = f"'until' of action {action.id!r} reads no fact, so it says the same before and after"
            yield loaded.complaint(("resolution", index, "verify", "until"), CODE, message)
