"""Warnings about playbooks that load, one rule a file under `rules/`.

A rule never refuses a playbook and never sees a broken one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from .errors import Complaint
from .loader import LoadedPlaybook
from .loading.checks.codes import CODES


class Rule(Protocol):
    """Satisfied by a module."""

    @property
    def CODE(self) -> str:  # noqa: N802
        """Its stable code, RBnnn. A module constant, like the next."""

    @property
    def SUMMARY(self) -> str:  # noqa: N802
        """One sentence for `explain` and for the list of rules."""

    def check(self, loaded: LoadedPlaybook) -> Iterator[Complaint]:
        """Warnings, each made by `loaded.complaint` at its exact place."""


def run(loaded: LoadedPlaybook) -> list[Complaint]:
    """What the load warned of and what every rule finds, in the order of the file."""
    found = [*loaded.warnings, *(complaint for rule in rules() for complaint in rule.check(loaded))]
    return sorted(found, key=lambda item: (item.path != loaded.path, item.path, item.line, item.column, item.code))


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, by its code."""
    names = sorted(file.stem for file in (Path(__file__).parent / "rules").glob("[a-z]*.py"))
    return tuple(sorted((_rule(name) for name in names), key=lambda rule: rule.CODE))


def summaries() -> dict[str, str]:
    """Every code there is with what it means: errors of a load and warnings of rules."""
    return dict(sorted({**CODES, **{rule.CODE: rule.SUMMARY for rule in rules()}}.items()))


def _rule(name: str) -> Rule:
    module: Any = importlib.import_module(f".rules.{name}", __package__)
    rule: Rule = module
    return rule
