"""Checks that there are not more expressions than anybody could read, before any of them is."""

from __future__ import annotations

from ..bounds import MOST_EXPRESSIONS, MOST_WRITTEN
from ..mentions import placed_expressions
from .checking import Checking, TooManyComplaints


def check_size(checking: Checking) -> None:
    written = 0
    for count, (loc, _, text) in enumerate(placed_expressions(checking.playbook), 1):
        written += len(text)
        if count > MOST_EXPRESSIONS or written > MOST_WRITTEN:
            most = f"{MOST_EXPRESSIONS} expressions" if count > MOST_EXPRESSIONS else f"{MOST_WRITTEN} characters"
            of_them = "" if count > MOST_EXPRESSIONS else " of expressions"
            checking.complain(loc, "RB002", f"the playbook has more than {most}{of_them}. split it")
            raise TooManyComplaints
