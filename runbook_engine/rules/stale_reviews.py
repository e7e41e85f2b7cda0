"""RB611: a playbook that nobody has looked at for a year describes a platform that is no longer there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from ..errors import Complaint
from ..loader import LoadedPlaybook

CODE = "RB611"
SUMMARY = "`reviewed` is longer ago than a year, in the future, or no date."
BAD = """
reviewed: 2019-04-01
"""
GOOD = f"""
reviewed: {date.today().isoformat()}
"""
LONGEST = timedelta(days=365)


def check(loaded: LoadedPlaybook) -> Iterator[Complaint]:
    message = complaint_about(loaded.playbook.reviewed, date.today()) if loaded.playbook.reviewed else ""
    if message:
        yield loaded.complaint(("reviewed",), CODE, message)


def complaint_about(reviewed: str, today: date) -> str:
    try:
        day = date.fromisoformat(reviewed)
    except ValueError:
        return f"{reviewed[:40]!r} is no date: write the day of the last review, like {today.isoformat()}"
    if day > today + timedelta(days=1):  # it may be tomorrow elsewhere
        return f"reviewed on {reviewed}, which is still to come: write the day of the last review"
    if today - day > LONGEST:
        return f"last reviewed {(today - day).days} days ago: read it through, run its tests, and write today's date"
    return ""
