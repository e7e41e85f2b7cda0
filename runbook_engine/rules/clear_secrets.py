"""RB610: what stands in a playbook is read by everybody who can read the repository, and stays in its history.

A secret comes from the environment: `runbook.yaml` names a variable, a file or a command that gives it to the target.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from ..errors import Complaint
from ..loader import LoadedPlaybook
from ..loading.source_text import snippet, split_lines
from ..secret_patterns import found

CODE = "RB610"
SUMMARY = "A secret written out: a password in a URL or an option, a token, a private key."
BAD = """
diagnosis:
  - id: reach
    effect: read
    shell: [psql, "postgres://app:Tr0ub4dor3@db/app", -c, select 1]
    facts: {reached: exit_code}
causes: [{id: away, needs: reached != 0, advice: look at the network}]
"""
GOOD = """
diagnosis:
  - id: reach
    sql: select 1 as one
    facts: {reached: row.one}
causes: [{id: away, needs: reached != 1, advice: look at the network}]
"""
HIDDEN = "***"


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    text = loaded.text
    covered = 0
    for start, end, kind in sorted(found(text)):
        if start < covered or not text[start:end].strip():
            continue
        covered = end
        written = text[start:end]
        before = split_lines(text[: start + len(written) - len(written.lstrip())])
        message = f"a secret is written out here ({kind}): take it out, change it, and let the environment give it"
        made = Complaint(loaded.path, len(before), len(before[-1]) + 1, message, CODE, severity="warning")
        yield replace(made, snippet=snippet(_masked(text), made.line, made.column))


def _masked(text: str) -> list[str]:
    """The lines without any secret: a complaint is kept, printed and sent on."""
    pieces, at = [], 0
    for start, end, _ in sorted(found(text)):
        if start >= at:
            pieces += [text[at:start], re.sub(r"\S.*\S|\S", HIDDEN, text[start:end])]
            at = end
    return split_lines("".join([*pieces, text[at:]]))
