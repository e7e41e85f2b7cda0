"""RB414: a value that a program reads as a part of its own text is no value any more.

`sh -c "ls $dir"` with a `dir` of `; rm -rf /` runs both. What came from a target, an alert or a person is handed over
as an argument or a variable, never pasted into a program.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..commands.placements import as_code
from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB414"
SUMMARY = "A value of `with:` becomes code in a script: eval, sh -c, arithmetic, the program of awk, sed, psql or jq."
BAD = """
diagnosis:
  - id: lines
    effect: read
    shell: sh -c "grep -c $word /var/log/app.log"
    with: {word: "${{ waiting }}"}
    facts: {lines: stdout | int}
causes: [{id: many, needs: lines > 5, advice: read the log}]
"""
GOOD = BAD.replace('sh -c "grep -c $word /var/log/app.log"', 'grep -c -- "$word" /var/log/app.log')


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for placed in loaded.acts():
        if placed.act.executor == "shell" and isinstance(placed.act.request, str) and placed.act.bindings:
            for offset, name, what in as_code(placed.act.request, placed.act.bindings):
                message = f"{placed.what}: ${name} becomes code here: {what}"
                yield loaded.complaint((*placed.loc, "request"), CODE, message, offset=offset)
