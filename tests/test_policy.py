"""What a gate needs, what an environment forbids, and when a fix was tried too often."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_engine.executor import Effect
from runbook_engine.policy import (
    Policy,
    consent_for,
    covered_in_advance,
    forbidden,
    looping,
    needs_second_person,
    outgrown,
)

PRODUCTION = Policy(production=True)


@pytest.mark.parametrize(
    ("effect", "policy", "consent"),
    [
        (Effect.reversible, Policy(), "confirm"),
        (Effect.disruptive, Policy(), "confirm"),
        (Effect.destructive, Policy(), "type"),
        (Effect.disruptive, Policy(type_from="disruptive"), "type"),
        (Effect.reversible, Policy(type_from="disruptive"), "confirm"),
    ],
)
def test_the_effect_decides_how_a_person_says_yes(effect: Effect, policy: Policy, consent: str) -> None:
    assert consent_for(effect, policy) == consent


def test_only_what_destroys_in_production_needs_a_second_person() -> None:
    assert needs_second_person(Effect.destructive, PRODUCTION)
    assert not needs_second_person(Effect.disruptive, PRODUCTION)
    assert not needs_second_person(Effect.destructive, Policy())


@pytest.mark.parametrize("policy", [Policy(), PRODUCTION, Policy(type_from="reversible")])
def test_nothing_destructive_is_ever_approved_in_advance(policy: Policy) -> None:
    assert not covered_in_advance(Effect.destructive, approved=True, yes=True, policy=policy)


def test_yes_covers_what_is_reversible_and_approve_what_is_disruptive() -> None:
    assert covered_in_advance(Effect.reversible, approved=False, yes=True, policy=Policy())
    assert not covered_in_advance(Effect.disruptive, approved=False, yes=True, policy=Policy())
    assert covered_in_advance(Effect.disruptive, approved=True, yes=False, policy=Policy())
    assert not covered_in_advance(Effect.reversible, approved=False, yes=False, policy=Policy())


def test_a_policy_only_tightens_advance_approval() -> None:
    assert not covered_in_advance(Effect.disruptive, approved=True, yes=True, policy=PRODUCTION)
    typed = Policy(type_from="reversible")
    assert not covered_in_advance(Effect.reversible, approved=True, yes=True, policy=typed)


def test_forbidding_by_effect_by_action_and_by_playbook() -> None:
    assert "policy.most is reversible" in forbidden("p", "a", Effect.disruptive, Policy(most="reversible"))
    assert not forbidden("p", "a", Effect.reversible, Policy(most="reversible"))
    assert forbidden("p", "a", Effect.reversible, Policy(forbid=("a",)))
    assert forbidden("p", "a", Effect.reversible, Policy(forbid=("p/a",)))
    assert not forbidden("p", "a", Effect.reversible, Policy(forbid=("q/a",)))


def past(age: float, **more: Any) -> dict[str, Any]:
    shape = {"run": "R-1", "playbook": "p", "action": "a", "target": "t", "age": age, "status": "done", "held": False}
    return {**shape, **more}


@pytest.mark.parametrize(
    ("history", "loops"),
    [
        ([past(60), past(120), past(180)], True),
        ([past(60), past(120)], False),
        ([past(60), past(120), past(4000)], False),
        ([past(60), past(120, held=True), past(180), past(240)], False),
        ([past(60), past(120, action="b"), past(180), past(240)], True),
        ([past(60), past(120, target="u"), past(180)], False),
        ([past(60), past(120, status="refused"), past(180, status="skipped")], False),
        ([past(60, status="failed"), past(120, status="unknown"), past(180, status="undone")], True),
    ],
)
def test_a_fix_that_does_not_last_is_not_applied_for_ever(history: list[dict[str, Any]], loops: bool) -> None:
    assert bool(looping(history, "p", "a", "t", Policy())) is loops


def test_the_refusal_of_a_loop_names_the_runs() -> None:
    said = looping([past(60, run="R-3"), past(120, run="R-2"), past(180)], "p", "a", "t", Policy())
    assert "1 min ago in R-3, 2 min ago in R-2, 3 min ago in R-1" in said


@pytest.mark.parametrize(
    ("shown", "now", "grow", "too_much"),
    [
        (100, 120, "20%", False),
        (100, 121, "20%", True),
        (3, 8, "20%", False),
        (3, 9, "20%", True),
        (100, 10, "20%", False),
        (100, 140, "50%", False),
        (0, 5, "0%", False),
        (0, 6, "0%", True),
    ],
)
def test_growth_counts_when_it_is_large_in_share_and_in_number(
    shown: float, now: float, grow: str, too_much: bool
) -> None:
    assert outgrown(shown, now, grow) is too_much
