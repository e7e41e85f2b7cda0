"""The measurement itself: what counts as right, as harm and as a false alarm, and what the guide would say."""

from __future__ import annotations

from typing import Any

import pytest

from runbook_engine.matrix.summary import good, summarise, table
from runbook_engine.matrix.trials import load
from runbook_engine.sandbox import control
from runbook_engine.sandbox.doubles import DOUBLES
from runbook_engine.sandbox.guide_rules import RULES, conclude
from runbook_engine.sandbox.state import State


def row(**changes: Any) -> dict[str, Any]:
    fields = {"fault": "F1", "group": "locks", "expected": ["a"], "top": "a", "outcome": "fixed", "offered": "mend"}
    figures = {"seconds": 1.0, "diagnosed": 0.5, "right": True, "harm": False, "unknown": False}
    return {**fields, **figures, "naive": "healthy", "naive_right": False, **changes}


def measured(faults: list[Any], healthy: list[Any], *, otherwise: tuple[str, ...] = ()) -> dict[str, Any]:
    replays = [{"run": "p f1", "differences": list(otherwise)}]
    return summarise({"faults": faults, "healthy": healthy, "doubles": [], "replays": replays}, 0.1, 0)


def test_one_wrong_answer_or_one_false_alarm_or_one_harm_is_not_good() -> None:
    fine = {"playbook": "p", "outcome": "healthy", "false_alarm": False, "because": ""}
    assert good(measured([row()], [fine]))
    for faults, quiet in (
        ([row(), row(right=False)], [fine]),
        ([row(harm=True)], [fine]),
        ([row()], [fine | {"false_alarm": True}]),
    ):
        assert not good(measured(faults, quiet))


def test_a_run_that_gives_another_ranking_offline_is_not_good() -> None:
    result = measured([row()], [], otherwise=("cause ranked a, is now b",))
    assert not good(result)
    assert "replayed offline: 0 of 1" in table(result)


def test_figures_are_given_for_each_group_beside_the_guides_own() -> None:
    rows = [row(), row(group="redis", right=False, unknown=True, diagnosed=2.5), row(group="redis", naive_right=True)]
    result = measured(rows, [])
    assert (result["accuracy"], result["unknown_rate"], result["naive_accuracy"]) == (0.6667, 0.3333, 0.3333)
    groups = {group["group"]: group for group in result["groups"]}
    assert (groups["redis"]["accuracy"], groups["redis"]["diagnosed_longest"]) == (0.5, 2.5)
    assert "redis" in table(result) and "accuracy 0.6667" in table(result)


def test_every_pair_names_faults_playbooks_and_causes_that_exist() -> None:
    faults = {fault.id for fault in control.faults()}
    for pair in DOUBLES:
        assert set(pair.faults) <= faults, pair
        for playbook, cause in ((pair.playbook, pair.top), (pair.other_playbook, pair.other)):
            assert cause in {each.id for each in load(playbook).playbook.causes}, pair
    assert len(DOUBLES) >= 10


def test_every_fault_names_a_playbook_its_causes_and_its_actions() -> None:
    for fault in control.faults():
        playbook = load(fault.playbook).playbook
        assert set(fault.expect) <= {cause.id for cause in playbook.causes}, fault.id
        actions = {action.id for action in playbook.resolution}
        assert {*fault.helps, *fault.harmful} <= actions, (fault.id, {*fault.helps, *fault.harmful} - actions)
        assert not set(fault.helps) & set(fault.harmful), fault.id


def test_every_group_of_faults_has_a_rule_of_the_guides() -> None:
    assert {fault.group for fault in control.faults()} - {"recovery"} <= RULES.keys()


@pytest.mark.xdist_group("sandbox")
def test_the_guides_commands_miss_a_backlog_and_blame_the_innocent(sandbox: State) -> None:
    control.restore(sandbox)
    assert conclude(sandbox, "backlog") == "healthy"
    control.break_(sandbox, "F32", 5)
    control.break_(sandbox, "F80", 5)
    try:
        assert conclude(sandbox, "backlog") == "healthy"
        assert conclude(sandbox, "locks") == "several-blockers"
    finally:
        control.heal(sandbox)
