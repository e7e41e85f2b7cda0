"""RB417: a script that works on the author's machine and not in the container at three in the morning.

`sh` is dash on Debian and BusyBox in most images: neither has `[[` nor arrays, and the tools have fewer options.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..commands.portability import not_portable
from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB417"
SUMMARY = "A command that not every machine has in this form: bash in a script for sh, an option of GNU alone."
BAD = """
diagnosis:
  - id: errors
    effect: read
    shell: grep -cP '\\d+ errors' /var/log/app.log
    facts: {errors: stdout | int}
causes: [{id: many, needs: errors > 5, advice: read the log}]
"""
GOOD = BAD.replace("-cP '\\d+ errors'", "-cE '[0-9]+ errors'")


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    for placed in loaded.acts():
        if placed.act.executor == "shell" and isinstance(placed.act.request, str | list):
            for offset, message in not_portable(placed.act.request):
                told = f"{placed.what}: {message}"
                yield loaded.complaint((*placed.loc, "request"), CODE, told, offset=offset)
