"""RB223: a target that no step asks must still be reachable in every environment, for nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB223"
SUMMARY = "A target that no step acts on and no other target is derived from."
BAD = """
targets: {db: postgres, workers: service}
"""
GOOD = """
targets: {db: postgres}
"""


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    targets = loaded.playbook.targets
    used = {placed.act.target for placed in loaded.acts()} | {use.derived_from for use in targets.values()}
    read = " ".join(text for _, _, text in loaded.expressions)
    for name in targets.keys() - used:
        if not re.search(rf"\btargets\b(?:\.|\[['\"]){name}\b", read):
            made = loaded.complaint(("targets", name), CODE, f"no step uses the target {name!r}: drop it", key=True)
            if made.path == loaded.path:  # what a library brings along is not the author's to drop
                yield made
