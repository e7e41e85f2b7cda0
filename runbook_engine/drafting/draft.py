"""A playbook that is being drafted, and the proof that it and its test are sound: nothing else may be handed out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..case_names import misnamed
from ..cases import Cases
from ..errors import PlaybookError, RunbookError, UsageError
from ..linter import run as lint
from ..loader import LoadedPlaybook, load_playbook, validate_document
from ..loading import yaml_reader
from ..loading.source_text import split_lines
from ..playing import play
from ..runner import used_executors
from .yaml_text import document

Json = Any
CASES_HEAD = "The first tests. `runbook test` runs them without any target; docs/testing.md says what they can expect."


@dataclass(frozen=True, slots=True)
class Draft:
    """The two files as data. `comments` are ours, by top-level key."""

    playbook: Mapping[str, Json]
    cases: Mapping[str, Json]
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.playbook["name"])


def proved(draft: Draft) -> tuple[str, str]:
    """Playbook and tests as text. Raises UsageError with what is wrong when an answer of a person is at fault."""
    path = f"{draft.name}.yaml"
    try:
        text = document(draft.playbook, draft.comments)
        tests = document(draft.cases, {"": CASES_HEAD})
        loaded = load_playbook(text, path)
        complaints = lint(loaded)
        if complaints:
            raise PlaybookError(tuple(complaints))
        failed = _failures(loaded, tests, f"{draft.name}.test.yaml")
    except PlaybookError as error:
        told = "\n".join(f"{each}\n{each.snippet}" if each.snippet else str(each) for each in error.complaints)
        raise UsageError(f"with these answers the playbook would not be sound; nothing was written.\n{told}") from error
    if failed:
        raise UsageError(f"with these answers its first test would fail; nothing was written.\n{failed}")
    return text, tests


def complaints_about(playbook: Mapping[str, Json]) -> bool:
    """Whether a load or a rule has anything to say; of drafts of one step, to leave out what cannot be taken over."""
    try:
        return bool(lint(load_playbook(document(playbook, {}), "step.yaml")))
    except RunbookError:
        return True


def _failures(loaded: LoadedPlaybook, text: str, path: str) -> str:
    cases = validate_document(text, path, Cases, {})
    found = used_executors(loaded)
    said = [str(each) for each in misnamed(loaded, cases, yaml_reader.read(text, path), split_lines(text), found)]
    for case in cases.tests:
        result, _ = play(loaded, cases, case, None, found)
        said += [f"{case.name}: {difference}" for difference in result.differences]
    return "\n".join(said)
