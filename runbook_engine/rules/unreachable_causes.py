"""RB513: a cause whose conditions exclude each other, or read nothing that was found out, tells nothing apart."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..expressions import compile_expression
from ..expressions.mistakes import contradiction
from ..loader import LoadedPlaybook

CODE = "RB513"
SUMMARY = "A condition that can never be true, or a cause whose `needs` reads no fact: nothing can reach or refute it."
BAD = """
causes: [{id: many, needs: waiting > 5 and waiting < 3, advice: look at the locks}]
"""
GOOD = """
causes: [{id: many, needs: waiting > 3 and waiting < 5, advice: look at the locks}]
"""


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for loc, start, text in loaded.expressions:
        found = contradiction(text)
        if found:
            message = f"{loaded.place(loc)}: {found[1]}"
            yield loaded.complaint(loc, CODE, message, offset=start + found[0])
    facts = {name for probe in loaded.playbook.probes() for name in probe.facts}
    facts |= {probe.ask.fact for probe in loaded.playbook.probes() if probe.ask}
    for index, cause in enumerate(loaded.playbook.causes):
        if not cause.benign and not compile_expression(cause.needs).names & facts:
            message = f"cause {cause.id!r} needs no fact: no answer of any step can confirm or refute it"
            yield loaded.complaint(("causes", index, "needs"), CODE, message)
