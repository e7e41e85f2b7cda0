"""RB231: an optional input that nobody gives is none, and nothing is more or less than none.

The comparison is then unknown, and so is the symptom or the cause that rests on it. Facts may be unknown as well, but
that is an honest answer; an input that is left out is not.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Complaint
from ..expressions.mistakes import beside_none
from ..loader import LoadedPlaybook

CODE = "RB231"
SUMMARY = "A threshold that may be none: an optional input without a default, compared as if it were always given."
BAD = """
inputs:
  most: {type: integer, optional: true}
causes: [{id: many, needs: waiting > most, advice: look at the locks}]
"""
GOOD = """
inputs:
  most: {type: integer, optional: true}
causes: [{id: many, needs: most != none and waiting > most, advice: look at the locks}]
"""


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    inputs = loaded.playbook.inputs
    optional = {name for name, wanted in inputs.items() if wanted.optional and wanted.default is None}
    for loc, start, text in loaded.expressions if optional else ():
        for offset, name in beside_none(text, optional):
            message = (
                f"the input {name!r} is optional: where it is not given, this is unknown. give it a default, "
                f"write ({name} | default(…)), or ask first: {name} != none and …"
            )
            yield loaded.complaint(loc, CODE, message, offset=start + offset)
