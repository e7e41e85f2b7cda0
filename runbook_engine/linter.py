"""Warnings about playbooks that load, one rule a file under `rules/`.

A rule never refuses a playbook and never sees a broken one.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from .errors import Complaint
from .ignores import CODES as IGNORE_CODES
from .ignores import Ignores, ignores_in
from .loader import LoadedPlaybook
from .loading.checks.codes import CODES

JUDGED_TOGETHER = {
    "RB630": "Two playbooks ask for the very same alert: nothing says which of them it is for.",
}
"""What only several files together can get wrong; judged where all of them are seen."""


class Rule(Protocol):
    """Satisfied by a module."""

    @property
    def CODE(self) -> str:  # noqa: N802
        """Its stable code, RBnnn. A module constant, like the next."""

    @property
    def SUMMARY(self) -> str:  # noqa: N802
        """One sentence for `explain` and for the list of rules. The module's docstring says why it matters."""

    @property
    def BAD(self) -> str:  # noqa: N802
        """A part of a playbook that it complains of."""

    @property
    def GOOD(self) -> str:  # noqa: N802
        """The same part as it should be."""

    def check(self, loaded: LoadedPlaybook) -> Iterator[Complaint]:
        """Warnings, each made by `loaded.complaint` at its exact place."""


def run(loaded: LoadedPlaybook) -> list[Complaint]:
    """What the load warned of and what every rule finds, in the order of the file, without what its author ignores."""
    return [complaint for complaint in run_all(loaded) if not complaint.ignored]


def run_all(loaded: LoadedPlaybook) -> list[Complaint]:
    """The same, with what is ignored: each of those says why."""
    found = [*loaded.warnings, *(complaint for rule in rules() for complaint in rule.check(loaded))]
    texts = {loaded.path: loaded.text, **loaded.libraries}
    for path, text in texts.items():
        asked = ignores(text, path)
        found = asked.marked(found)
        if path == loaded.path:  # what a library ignores may be needed by another playbook
            found += [*asked.unheeded, *asked.needless(found, _not_judged())]
    unique = dict.fromkeys(found)
    return sorted(unique, key=lambda item: (item.path != loaded.path, item.path, item.line, item.column, item.code))


def _not_judged() -> set[str]:
    """The codes that are judged elsewhere, or by a rule that says it cannot judge here."""
    unable = {rule.CODE for rule in rules() if hasattr(rule, "can_judge") and not rule.can_judge()}
    return {*JUDGED_TOGETHER, *unable}


@lru_cache(maxsize=64)
def ignores(text: str, path: str) -> Ignores:
    """What the comments of a sound YAML text ask to ignore."""
    warnings = {*(rule.CODE for rule in rules()), *JUDGED_TOGETHER, *IGNORE_CODES}
    return ignores_in(text, path, warnings, CODES)


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule, by its code."""
    names = sorted(file.stem for file in (Path(__file__).parent / "rules").glob("[a-z]*.py"))
    return tuple(sorted((_rule(name) for name in names), key=lambda rule: rule.CODE))


def summaries() -> dict[str, str]:
    """Every code there is with what it means: errors of a load and warnings of rules."""
    own = {rule.CODE: rule.SUMMARY for rule in rules()}
    return dict(sorted({**CODES, **own, **JUDGED_TOGETHER, **IGNORE_CODES}.items()))


def _rule(name: str) -> Rule:
    module: Any = importlib.import_module(f".rules.{name}", __package__)
    rule: Rule = module
    return rule
