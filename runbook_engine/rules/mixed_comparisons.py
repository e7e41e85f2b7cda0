"""RB230: between a text and a number there is no order, and they are never equal.

`row.count > '5'` is not false but unknown, for ever: the symptom never shows, the cause is never confirmed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..errors import Complaint
from ..expressions.mistakes import FLAG, NUMBER, TEXT, kind_of, mixed_kinds
from ..loader import LoadedPlaybook
from ..model import Playbook

CODE = "RB230"
SUMMARY = "A text compared with a number, or an order asked of what has none: it is unknown or false for ever."
BAD = """
causes: [{id: many, needs: waiting > '5', advice: look at the locks}]
"""
GOOD = """
causes: [{id: many, needs: waiting > 5, advice: look at the locks}]
"""
_INPUTS = {"string": TEXT, "boolean": FLAG}


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    known = _kinds(loaded.playbook)
    for loc, start, text in loaded.expressions:
        for offset, message in mixed_kinds(text, known):
            yield loaded.complaint(loc, CODE, message, offset=start + offset)


def _kinds(playbook: Playbook) -> Mapping[str, str]:
    """What inputs and facts surely are; a fact may be made of facts that stand further up."""
    known = {name: _INPUTS.get(wanted.type, NUMBER) for name, wanted in playbook.inputs.items()}
    for probe in playbook.probes():
        for name, text in probe.facts.items():
            kind = kind_of(text, known)
            if kind is not None:
                known[name] = kind
    return known
