"""How causes are told apart: scores, verdicts, and who explains whom."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_engine.expressions import Unknown
from runbook_engine.model import Cause
from runbook_engine.ranking import RankedCause, rank

LOST = Unknown("store: connection refused")


def ranked(*causes: dict[str, Any], **facts: Any) -> dict[str, RankedCause]:
    return {cause.id: cause for cause in rank(tuple(Cause.model_validate(each) for each in causes), facts)}


def cause(name: str, needs: str = "true", /, **more: Any) -> dict[str, Any]:
    return {"id": name, "needs": needs, **more}


def evidence(when: str, weight: str, says: str = "so it is") -> dict[str, str]:
    return {"when": when, "weight": weight, "says": says}


@pytest.mark.parametrize(
    ("needs", "weight", "supports", "against", "verdict", "score"),
    [
        ("full", "decisive", [], [], "confirmed", 6),
        ("full", "strong", [], [], "suspected", 4),
        ("full", "strong", ["moderate"], [], "confirmed", 6),
        ("full", "moderate", ["weak", "weak"], [], "suspected", 4),
        ("full", "decisive", [], ["weak"], "suspected", 5),
        ("full", "decisive", ["weak"], ["weak"], "confirmed", 6),
        ("full", "weak", [], ["strong"], "possible", -3),
        ("not full", "decisive", ["strong"], [], "refuted", 0),
        ("lost", "decisive", ["strong"], [], "suspected", 3),
        ("lost", "decisive", ["decisive", "strong"], ["weak"], "suspected", 3),
        ("lost", "decisive", [], [], "possible", 0),
        ("lost and not full", "decisive", ["strong"], [], "refuted", 0),
    ],
)
def test_the_score_decides_the_verdict(
    needs: str, weight: str, supports: list[str], against: list[str], verdict: str, score: int
) -> None:
    item = cause(
        "it",
        needs,
        weight=weight,
        **{
            "for": [evidence("full", each) for each in supports],
            "against": [evidence("full", each) for each in against],
        },
    )
    found = ranked(item, full=True, lost=LOST)["it"]
    assert (found.verdict, found.score) == (verdict, score)


def test_evidence_that_is_unknown_says_nothing() -> None:
    found = ranked(cause("it", weight="strong", **{"for": [evidence("lost", "strong")]}), lost=LOST)["it"]
    assert (found.verdict, found.score, len(found.supports)) == ("suspected", 4, 1)


def test_one_that_is_not_two_ahead_is_only_suspected() -> None:
    close = cause("other", weight="strong", **{"for": [evidence("true", "weak")]})
    found = ranked(cause("it"), close)
    assert {name: (each.verdict, each.score) for name, each in found.items()} == {
        "it": ("suspected", 6),
        "other": ("possible", 5),
    }


def test_two_ahead_is_enough() -> None:
    found = ranked(cause("it"), cause("other", weight="strong"))
    assert (found["it"].verdict, found["other"].verdict) == ("confirmed", "possible")


def test_a_tie_confirms_neither_and_suspects_both_in_their_order() -> None:
    found = ranked(cause("b"), cause("a"))
    assert [(each.id, each.verdict) for each in found.values()] == [("b", "suspected"), ("a", "suspected")]


def test_a_refuted_rival_does_not_hold_anything_back() -> None:
    found = ranked(cause("it"), cause("other", "false", **{"for": [evidence("true", "decisive")]}))
    assert found["it"].verdict == "confirmed"


def test_a_confirmed_cause_explains_what_follows_from_it_also_through_others() -> None:
    found = ranked(
        cause("lowest"),
        cause("middle", explains=["lowest"]),
        cause("root", explains=["middle"]),
    )
    assert [each.id for each in found.values()] == ["root", "lowest", "middle"]
    assert found["root"].verdict == "confirmed"
    assert (found["middle"].verdict, found["middle"].explained_by) == ("explained", "root")
    assert (found["lowest"].verdict, found["lowest"].explained_by) == ("explained", "root")


def test_a_cause_that_is_only_suspected_explains_nothing() -> None:
    found = ranked(cause("root", weight="strong", explains=["below"]), cause("below", weight="moderate"))
    assert (found["root"].verdict, found["below"].verdict) == ("suspected", "possible")
    assert found["below"].explained_by is None


def test_what_is_below_a_possible_cause_can_itself_be_confirmed() -> None:
    found = ranked(cause("root", "lost", explains=["below"]), cause("below"), lost=LOST)
    assert (found["below"].verdict, found["root"].verdict) == ("confirmed", "possible")


def test_a_refuted_cause_is_not_explained() -> None:
    found = ranked(cause("root", explains=["below"]), cause("below", "false"))
    assert (found["below"].verdict, found["below"].explained_by) == ("refuted", None)


def test_best_comes_first_and_ties_keep_the_order_of_the_playbook() -> None:
    found = ranked(cause("no", "false"), cause("weak", weight="weak"), cause("also", weight="weak"), cause("it"))
    assert list(found) == ["it", "weak", "also", "no"]


def test_evidence_is_told_in_sentences_with_numbers() -> None:
    item = cause(
        "it",
        "backlog >= 100",
        title="${{ backlog }} jobs wait",
        **{"for": [evidence("backlog > 1", "weak", "${{ backlog }} is a lot")], "against": [evidence("lost", "weak")]},
    )
    found = ranked(item, backlog=500, lost=LOST)["it"]
    assert found.title == "500 jobs wait"
    assert found.supports == ("backlog >= 100: 500 >= 100", "500 is a lot")
    assert found.against == ()


def test_an_unknown_need_says_what_is_missing() -> None:
    found = ranked(cause("it", "lost > 1", title="${{ lost }} wait"), lost=LOST)["it"]
    assert "connection refused" in found.supports[0]
    assert found.as_json()["verdict"] == "possible"
