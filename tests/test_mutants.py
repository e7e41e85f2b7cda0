"""The measure of our tests is sound itself: its mutants differ, load, and are noticed where a test looks at them."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mutants import Fate, Mutant, Subject, broken, chosen, expression_mutants, mutants, report, warnings, written
from test_cases import CASES, PLAYBOOK

from runbook_engine.cases import Cases
from runbook_engine.loader import load_playbook, validate_document
from runbook_engine.matrix import load


def subject(cases: str, *, proofs: bool = False) -> Subject:
    loaded = load_playbook(PLAYBOOK, "paused.yaml")
    files = ((Path("paused.test.yaml"), validate_document(cases, "paused.test.yaml", Cases, {})),)
    return Subject(loaded, files, frozenset(), broken(loaded) if proofs else None)


def test_every_mutant_is_another_playbook_at_a_place_of_its_own() -> None:
    data = yaml.safe_load(PLAYBOOK)
    found = list(mutants(data))
    assert len(found) >= 10
    assert all(yaml.safe_load(each.text) != data for each in found)
    assert len({each.text for each in found}) == len(found)
    loaded = load_playbook(PLAYBOOK, "paused.yaml")
    assert all(loaded.position(each.loc)[1] > 1 for each in found)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a >= 10", {"a < 10", "a >= 20"}),
        ("a == 'x 5' or not b", {"a != 'x 5' or not b", "a == 'x 5' and not b", "a == 'x 5' or b"}),
        ("row.n1 > 0.5", {"row.n1 <= 0.5", "row.n1 > 1.5"}),
        ("paused", set()),
    ],
)
def test_what_is_changed_in_an_expression(text: str, changed: set[str]) -> None:
    assert {says for _, says in expression_mutants(text)} == changed


WEAK = """\
cases: paused
tests:
  - name: healthy
    replies: {waiting: {pending: 1, paused: false}, load: {result: {total_commands_processed: 1}}}
    expect: {outcome: healthy}
"""


def test_strong_tests_kill_what_weak_tests_let_live() -> None:
    strong, weak = subject(CASES), subject(WEAK)
    made = list(mutants(yaml.safe_load(PLAYBOOK)))
    by_strong, by_weak = ({each.says for each in made if who.fate(each)} for who in (strong, weak))
    assert by_weak < by_strong


def test_a_playbook_that_is_only_written_anew_lives() -> None:
    """Its comments are gone, and with them what they ignore."""
    loaded = load("connection-refused")
    assert "runbook: ignore[" in loaded.text
    unchanged = Mutant("none", (), "nothing", written(yaml.safe_load(loaded.text)))
    assert Subject(loaded, (), warnings(loaded), None).fate(unchanged) == ""
    assert Subject(loaded, (), frozenset(), None).fate(unchanged) == "validate"


def test_a_proof_kills_what_weak_tests_let_live() -> None:
    proved, weak = subject(WEAK, proofs=True), subject(WEAK)
    alive = [each for each in mutants(yaml.safe_load(PLAYBOOK)) if not weak.fate(each)]
    fates = {each.says: proved.fate(each) for each in alive}
    assert "prove" in fates.values()
    assert set(fates.values()) <= {"prove", ""}


def test_a_choice_is_spread_over_all_kinds() -> None:
    found = list(mutants(yaml.safe_load(PLAYBOOK)))
    kinds = {each.kind for each in found}
    assert {each.kind for each in chosen(found, len(kinds))} == kinds
    assert chosen(found, 10**6) != found and sorted(map(repr, chosen(found, 10**6))) == sorted(map(repr, found))


def test_the_report_names_who_survived() -> None:
    fates = [
        Fate("p", "drop guard", "p.yaml:3", "no guard", ""),
        Fate("p", "drop guard", "p.yaml:9", "no guard", "test"),
    ]
    lines = list(report(fates))
    assert "SURVIVED p.yaml:3: drop guard: no guard" in lines
    assert lines[-1] == "killed 1 of 2 (50.0%): by validate 0, by tests 1, by prove 0"
