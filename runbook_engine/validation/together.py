"""What is wrong only with several files together. It sees what each claims, never the files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from ..errors import Complaint
from .verdicts import Claim, Verdict

SAME_ALERT = "RB630"


def judged_together(verdicts: Mapping[str, Verdict]) -> dict[str, list[Complaint]]:
    """Every file with all complaints about it."""
    found = {path: list(verdict.complaints) for path, verdict in verdicts.items()}
    claims: dict[tuple[tuple[str, str], ...], list[Claim]] = defaultdict(list)
    for verdict in verdicts.values():
        for claim in verdict.claims:
            claims[claim.labels].append(claim)
    for same in claims.values():
        for claim in same:
            others = [each for each in same if each.playbook != claim.playbook]
            if others:
                complaints = found[claim.place.path]
                complaints.append(replace(claim.place, message=_message(others)))
                complaints.sort(key=lambda each: (each.path != claim.place.path, each.path, each.line, each.column))
    return found


def _message(others: list[Claim]) -> str:
    first = others[0]
    at = f"{first.place.path}:{first.place.line}:{first.place.column}"
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    labels = ", ".join(f"{name}={value}" for name, value in first.labels)
    return (
        f"playbook {first.playbook!r}{more} asks for the very same alert ({labels}) at {at}. "
        "give one of them a label that the other does not have, or name the alert in one only"
    )
