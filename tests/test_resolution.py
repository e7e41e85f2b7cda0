"""From a cause to its end: offers, gates, the second look, the act, its proof, and the way back."""

from __future__ import annotations

from typing import Any

import pytest
from fake_executor import Play, World, play

from runbook_engine.errors import Refused, TargetError
from runbook_engine.events import (
    ActionFinished,
    ActionProgressed,
    CallRequested,
    CancelRequested,
    GateRequested,
    GuardChecked,
    SymptomsJudged,
    VerificationProgressed,
)

HEAD = """
runbook: 1
name: store-full
title: The store fills up
targets: {store: redis}
symptoms:
  - id: backlog
    title: Jobs wait
    fake: [GET, backlog]
    facts: {backlog: result}
    present: backlog >= 100
    recovering: going
diagnosis:
  - {id: paused, fake: [GET, paused], facts: {paused: result}}
  - {id: going, fake: [GET, going], facts: {going: result}}
  - {id: items, fake: [GET, items], facts: {items: result}}
"""
CAUSE = "causes: [{id: halted, title: It is paused, needs: paused, fix: [unpause]}]\n"
UNPAUSE = """
resolution:
  - id: unpause
    title: Resume
    effect: reversible
    guard: paused
    impact: {count: backlog, of: jobs start}
    fake: [DEL, paused]
    snapshot: {since: {fake: [GET, since]}}
    undo: {fake: [SET, paused, "${{ before.since }}"]}
    verify: {until: not paused, within: 10s, hold: 6s}
"""
RESET = TargetError("reset", "the connection was cut", "unknown")
BUSY = TargetError("BUSY", "the store is busy", "no")


def world(**values: Any) -> World:
    shape = {"backlog": 500, "paused": True, "going": False, "since": "monday", "items": [1, 2, 3]}
    made = World({**shape, **values})
    if "backlog" not in values:
        made.values["backlog"] = lambda now: 3 if not made.values["paused"] else 500
    return made


def action(played: Play, name: str = "unpause") -> ActionFinished:
    found: ActionFinished = next(event for event in played.of(ActionFinished) if event.id == name)
    return found


def writes(played: Play) -> list[CallRequested]:
    return [event for event in played.of(CallRequested) if event.mode == "write"]


def test_a_fix_is_confirmed_checked_sent_watched_and_proved() -> None:
    store = world()
    played = play(HEAD + CAUSE + UNPAUSE, store)
    assert (played.end.outcome, played.end.exit_code) == ("fixed", 0)
    assert store.sent == [["DEL", "paused"]]
    done = action(played)
    assert (done.status, done.verified, done.held, done.affected) == ("done", True, True, 1.0)
    assert played.end.reason == "no symptom is present any more"
    assert played.end.next[0] == "runbook undo R-TEST1"
    kinds = [type(event).__name__ for event in played.events]
    assert kinds.index("GateRequested") < kinds.index("GuardChecked") < kinds.index("VerificationProgressed")


def test_the_gate_shows_who_answers_what_is_sent_what_it_touches_and_the_way_back() -> None:
    gate = play(HEAD + CAUSE + UNPAUSE, world()).of(GateRequested)[0]
    assert gate.identity == {"store": {"name": "store", "facts": {"run_id": "one"}}}
    assert gate.requests == ("store: DEL paused",)
    assert (gate.impact, gate.count, gate.word, gate.effect) == ("500 jobs start", 500, "", "reversible")
    assert gate.cause == "It is paused"
    assert gate.undo == "store: SET paused <since as it was>"


def test_the_intent_holds_the_rendered_undo_and_the_identity_of_the_gate() -> None:
    intent = writes(play(HEAD + CAUSE + UNPAUSE, world()))[0]
    assert intent.expect == {"run_id": "one"}
    assert intent.undo is not None
    assert intent.undo["request"] == ["SET", "paused", "monday"]


def test_a_decline_changes_nothing_and_is_no_failure_of_the_tool() -> None:
    store = world()
    played = play(HEAD + CAUSE + UNPAUSE, store, consent="no")
    assert (played.end.outcome, played.end.exit_code) == ("refused", 1)
    assert store.sent == []
    assert action(played).decision["verdict"] == "no"


def test_no_consent_is_refused_with_the_command_that_would_approve() -> None:
    played = play(HEAD + CAUSE + UNPAUSE, world(), consent="none")
    assert (played.end.outcome, played.end.exit_code) == ("refused", 5)
    assert played.end.next[0] == "runbook run store-full --approve unpause"


def test_an_answer_for_another_gate_runs_nothing() -> None:
    store = world()
    played = play(HEAD + CAUSE + UNPAUSE, store, consent="yes sha256:another")
    assert (played.end.outcome, store.sent) == ("refused", [])


def test_ctrl_c_at_the_gate_is_an_interrupt() -> None:
    played = play(HEAD + CAUSE + UNPAUSE, world(), consent="interrupted")
    assert (played.end.outcome, played.end.exit_code) == ("interrupted", 130)


def test_a_guard_that_turned_false_at_the_gate_stops_it_with_one_look() -> None:
    store = world()

    def slowly(gate: GateRequested) -> str:
        store.values["paused"] = False
        return "yes"

    played = play(HEAD + CAUSE + UNPAUSE, store, consent=slowly)
    assert (played.end.outcome, played.end.exit_code, store.sent) == ("refused", 5, [])
    assert "no longer holds" in played.of(GuardChecked)[0].refused


def test_a_guard_that_cannot_be_asked_again_stops_it() -> None:
    store = world()

    def slowly(gate: GateRequested) -> str:
        store.faults["GET paused"] = [BUSY]
        return "yes"

    played = play(HEAD + CAUSE + UNPAUSE, store, consent=slowly)
    assert played.of(GuardChecked)[0].holds is None
    assert store.sent == []


@pytest.mark.parametrize(("later", "outcome"), [(600, "not_fixed"), (601, "refused")])
def test_an_impact_that_grew_too_much_since_it_was_shown_is_refused(later: int, outcome: str) -> None:
    store = world(backlog=500)

    def slowly(gate: GateRequested) -> str:
        store.values["backlog"] = later
        return "yes" if gate.action == "unpause" and gate.count == 500 else "no"

    played = play(HEAD + CAUSE + UNPAUSE, store, consent=slowly)
    assert played.end.outcome == outcome


def test_an_impact_beyond_its_limit_is_refused_before_its_gate() -> None:
    limited = UNPAUSE.replace("    fake: [DEL, paused]", "    limit: {impact: 400}\n    fake: [DEL, paused]")
    played = play(HEAD + CAUSE + limited, world())
    assert "beyond the limit: 500 jobs start, at most 400" in action(played).reason
    assert not played.of(GateRequested)


def test_a_limit_that_is_unknown_is_no_limit_to_act_under() -> None:
    limited = UNPAUSE.replace("    fake: [DEL, paused]", "    limit: {affected: items.most}\n    fake: [DEL, paused]")
    played = play(HEAD + CAUSE + limited, world())
    assert "limit could not be established" in action(played).reason
    assert not played.of(GateRequested)


def test_the_limit_of_affected_goes_with_the_request() -> None:
    limited = UNPAUSE.replace("    fake: [DEL, paused]", "    limit: {affected: 1}\n    fake: [DEL, paused]")
    assert writes(play(HEAD + CAUSE + limited, world()))[0].affected == 1


def test_another_server_than_the_gate_showed_gets_nothing() -> None:
    store = world()

    def swapped(gate: GateRequested) -> str:
        store.identity = {"run_id": "two"}
        return "yes"

    played = play(HEAD + CAUSE + UNPAUSE, store, consent=swapped)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert writes(played)[0].expect == {"run_id": "one"}


def test_a_fact_that_changes_the_request_after_the_gate_runs_nothing() -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("[DEL, paused]", '[DEL, "${{ paused }}"]')
    store = world(paused="here")

    def moved(gate: GateRequested) -> str:
        store.values["paused"] = "there"
        return "yes" if "here" in gate.requests[0].split() else "no"

    played = play(text, store, consent=moved)
    assert "no longer what was confirmed" in played.of(GuardChecked)[0].refused
    assert store.sent == []
    assert [gate.requests[0] for gate in played.of(GateRequested)] == ["store: DEL here", "store: DEL there"]


def test_what_changed_is_shown_again_only_so_often() -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("[DEL, paused]", '[DEL, "${{ paused }}"]')
    store = world(paused=lambda now: f"at {now}")
    played = play(text, store)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert 1 < len(played.of(GateRequested)) < 10


TWO = """
causes: [{id: halted, needs: paused, fix: [first, second]}]
resolution:
  - {id: first, effect: reversible, guard: GUARD, fake: [SET, hint, 1], undo: {fake: [DEL, hint]},
     verify: {until: not paused, within: 5s}}
  - {id: second, effect: disruptive, fake: [DEL, paused], verify: {until: not paused, within: 5s}}
"""


def two(guard: str = "paused") -> str:
    return HEAD + TWO.replace("GUARD", guard)


def test_a_fix_whose_guard_is_false_is_skipped_and_the_next_offered() -> None:
    played = play(two("not paused"), world())
    assert (action(played, "first").status, action(played, "second").status) == ("skipped", "done")
    assert [gate.action for gate in played.of(GateRequested)] == ["second"]


def test_a_declined_fix_is_followed_by_the_next_with_a_gate_of_its_own() -> None:
    played = play(two(), world(), consent=lambda gate: "no" if gate.action == "first" else "yes")
    assert [gate.action for gate in played.of(GateRequested)] == ["first", "second"]
    assert played.end.outcome == "fixed"


def test_a_fix_that_does_not_help_is_offered_its_undo_and_then_the_next() -> None:
    store = world()
    played = play(two(), store)
    assert [gate.action for gate in played.of(GateRequested)] == ["first", "first:undo", "second"]
    assert store.sent == [["SET", "hint", 1], ["DEL", "hint"], ["DEL", "paused"]]
    assert action(played, "first").status == "undone"
    assert played.end.outcome == "fixed"


def test_a_change_that_did_not_help_is_not_forgotten_when_the_next_is_declined() -> None:
    played = play(two(), world(), consent=lambda gate: "yes" if gate.action == "first" else "no")
    assert (played.end.outcome, played.end.exit_code) == ("not_fixed", 4)
    assert played.end.next[0] == "runbook undo R-TEST1"


def test_no_fix_that_fits_leaves_a_diagnosis() -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("guard: paused", "guard: not paused")
    played = play(text, world())
    assert (played.end.outcome, played.end.exit_code) == ("diagnosed", 1)


def test_for_a_suspected_cause_nothing_beyond_reversible_is_offered() -> None:
    text = two().replace("needs: paused,", "needs: paused, weight: strong,")
    played = play(text, world(), consent="no")
    assert [gate.action for gate in played.of(GateRequested)] == ["first"]
    assert "only suspected" in action(played, "second").reason


@pytest.mark.parametrize("policy", [{"forbid": ["unpause"]}, {"forbid": ["store-full/unpause"]}, {"most": "touch"}])
def test_what_the_policy_forbids_is_not_even_asked(policy: dict[str, Any]) -> None:
    played = play(HEAD + CAUSE + UNPAUSE, world(), policy=policy)
    assert (played.end.outcome, played.end.exit_code) == ("refused", 5)
    assert not played.of(GateRequested)


def test_a_destructive_action_in_production_is_typed_and_needs_a_second_person() -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("effect: reversible", "effect: destructive")
    gate = play(text, world(), consent="no", policy={"production": True}).of(GateRequested)[0]
    assert (gate.word, gate.second_person) == ("500", True)


def test_the_loop_guard_refuses_a_fix_that_never_lasts() -> None:
    past = {"run": "R-1", "playbook": "store-full", "action": "unpause", "target": "store", "status": "done"}
    history = tuple({**past, "age": 60.0 * n, "held": False} for n in (1, 2, 3))
    played = play(HEAD + CAUSE + UNPAUSE, world(), history=history)
    assert "applied 3 times without lasting" in played.end.reason
    assert not played.of(GateRequested)


EACH = """
causes: [{id: halted, needs: paused, fix: [drain]}]
resolution:
  - id: drain
    effect: disruptive
    each: items
    as: job
    BATCH
    fake: [DEL, "job-${{ job }}"]
    verify: {until: going, within: 4s}
"""


def test_each_acts_once_for_every_item_of_the_list_the_gate_showed() -> None:
    store = world(going=True, backlog=500)

    def later(gate: GateRequested) -> str:
        store.values["items"] = [1, 2, 3, 4]
        return "yes"

    text = HEAD + EACH.replace("BATCH", "guard: items | length > 0")
    played = play(text, store, consent=later)
    assert [request[1] for request in store.sent] == ["job-1", "job-2", "job-3"]
    assert played.of(GateRequested)[0].total == 3
    assert action(played, "drain").affected == 3
    assert played.end.reason == "still there, and going: Jobs wait"


def test_a_batch_begins_with_its_canary_and_asks_before_each_further_part() -> None:
    text = HEAD + EACH.replace("BATCH", "batch: {canary: 1, size: 2, proceed: going}")
    store = world(going=True, items=[1, 2, 3, 4], backlog=500)
    play(text, store)
    assert [request[1] for request in store.sent] == ["job-[1]", "job-[2, 3]", "job-[4]"]


def test_a_batch_stops_when_what_it_asks_is_not_true_any_more() -> None:
    text = HEAD + EACH.replace("BATCH", "batch: {canary: 1, size: 1, proceed: going}")
    store = world(items=[1, 2, 3], backlog=500)
    store.values["going"] = lambda now: len(store.sent) < 2
    played = play(text, store)
    assert len(store.sent) == 2
    assert (played.end.outcome, action(played, "drain").status) == ("not_fixed", "failed")
    assert "stopped between batches: going: false" in action(played, "drain").reason


def test_an_empty_list_is_refused_before_the_gate() -> None:
    played = play(HEAD + EACH.replace("BATCH", ""), world(items=[]))
    assert not played.of(GateRequested)
    assert "its list is empty" in played.end.reason


STEPS = """
causes: [{id: halted, needs: paused, fix: [swap]}]
resolution:
  - id: swap
    effect: disruptive
    steps:
      - {id: one, fake: [SET, one, 1], undo: {fake: [DEL, one]}}
      - {id: two, fake: [SET, two, 1], undo: {fake: [DEL, two]}}
      - {id: three, fake: [DEL, paused]}
    verify: {until: not paused, within: 4s}
"""


def test_the_steps_of_an_action_stand_behind_one_gate_that_shows_them_all() -> None:
    played = play(HEAD + STEPS, world())
    assert [gate.requests for gate in played.of(GateRequested)] == [
        ("store: SET one 1", "store: SET two 1", "store: DEL paused")
    ]
    assert played.end.outcome == "fixed"


def test_when_a_later_step_fails_the_earlier_ones_are_undone_in_reverse() -> None:
    store = world()
    store.faults["DEL paused"] = [BUSY]
    played = play(HEAD + STEPS, store)
    assert store.sent == [["SET", "one", 1], ["SET", "two", 1], ["DEL", "two"], ["DEL", "one"]]
    assert [each.step for each in writes(played)[3:]] == ["swap:undo", "swap:undo"]
    assert all(each.expect == {"run_id": "one"} for each in writes(played))
    assert (played.end.outcome, action(played, "swap").status) == ("not_fixed", "failed")
    assert "2 earlier acts were undone" in action(played, "swap").reason


def test_an_undo_that_fails_in_between_is_unknown() -> None:
    store = world()
    store.faults |= {"DEL paused": [BUSY], "DEL two": [BUSY]}
    played = play(HEAD + STEPS, store)
    assert (played.end.outcome, played.end.exit_code) == ("unknown", 6)


def test_steps_that_did_not_help_are_undone_behind_one_gate() -> None:
    store = world()
    played = play(HEAD + STEPS.replace("[DEL, paused]", "[SET, three, 1]"), store)
    assert store.sent[-2:] == [["DEL", "two"], ["DEL", "one"]]
    assert action(played, "swap").status == "undone"


def test_one_undo_of_the_whole_action_serves_all_its_steps() -> None:
    text = STEPS.replace(", undo: {fake: [DEL, one]}", "").replace(", undo: {fake: [DEL, two]}", "")
    store = world()
    store.faults["DEL paused"] = [BUSY]
    play(HEAD + text.replace("    steps:", "    undo: {fake: [DEL, all]}\n    steps:"), store)
    assert store.sent == [["SET", "one", 1], ["SET", "two", 1], ["DEL", "all"]]


def test_without_its_snapshot_nothing_is_changed() -> None:
    store = world()
    store.faults["GET since"] = [BUSY]
    played = play(HEAD + CAUSE + UNPAUSE, store)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert "snapshot" in played.end.reason


def test_without_an_undo_that_can_be_rendered_nothing_is_changed() -> None:
    store = world(since=None)
    text = HEAD + CAUSE + UNPAUSE.replace('"${{ before.since }}"', '"at ${{ before.since }}"')
    played = play(text, store)
    assert (played.end.outcome, store.sent) == ("refused", [])


@pytest.mark.parametrize("mask", ["***", "[secret store]", "redis://:***@host"])
def test_a_masked_secret_is_never_written_back(mask: str) -> None:
    store = world(since=mask)
    played = play(HEAD + CAUSE + UNPAUSE, store)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert "masked" in played.end.reason


@pytest.mark.parametrize(
    ("error", "outcome", "code", "status"),
    [
        (BUSY, "not_fixed", 4, "failed"),
        (RESET, "unknown", 6, "unknown"),
        (Refused("2 rows, at most 1"), "refused", 5, "refused"),
    ],
)
def test_a_failed_write_ends_by_what_is_known_of_it(error: Exception, outcome: str, code: int, status: str) -> None:
    store = world()
    store.faults["DEL paused"] = [error]
    played = play(HEAD + CAUSE + UNPAUSE, store)
    assert (played.end.outcome, played.end.exit_code) == (outcome, code)
    assert action(played).status == status


def test_a_fix_that_never_comes_true_is_not_fixed_and_its_undo_is_offered() -> None:
    store = world(backlog=500)
    text = HEAD + CAUSE + UNPAUSE.replace("until: not paused", "until: going")
    played = play(text, store)
    assert (played.end.outcome, played.end.exit_code) == ("not_fixed", 4)
    assert "it was undone" in played.end.reason
    assert store.sent == [["DEL", "paused"], ["SET", "paused", "monday"]]
    assert (action(played).status, action(played).verified) == ("undone", False)


def test_an_undo_whose_outcome_is_unknown_makes_the_run_unknown() -> None:
    store = world(backlog=500)
    store.faults["SET paused"] = [RESET]
    played = play(HEAD + CAUSE + UNPAUSE.replace("until: not paused", "until: going"), store)
    assert (played.end.outcome, played.end.exit_code) == ("unknown", 6)
    assert played.end.next[0] == "runbook resume R-TEST1"


def test_a_declined_undo_leaves_the_way_back_open() -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("until: not paused", "until: going")
    played = play(text, world(backlog=500), consent=lambda gate: "no" if "undo" in gate.action else "yes")
    assert played.end.outcome == "not_fixed"
    assert played.end.next[0] == "runbook undo R-TEST1"


def test_an_undo_is_proved_too() -> None:
    proof = "undo: {fake: [SET, other, 1], verify: {until: paused, within: 3s}}"
    text = HEAD + CAUSE + UNPAUSE.replace('undo: {fake: [SET, paused, "${{ before.since }}"]}', proof)
    played = play(text.replace("until: not paused", "until: going"), world(backlog=500))
    assert action(played).status == "done"
    assert "it was sent, but not proved" in played.end.reason


def test_a_fix_that_does_not_stay_has_relapsed() -> None:
    store = world(backlog=500)
    store.values["paused"] = lambda now: not store.sent or now > 5
    text = HEAD + CAUSE + UNPAUSE.replace("[DEL, paused]", "[DEL, switch]")
    played = play(text, store, consent=lambda gate: "no" if "undo" in gate.action else "yes")
    assert (played.end.outcome, played.end.exit_code) == ("relapsed", 4)
    assert (action(played).verified, action(played).held) == (True, False)


def test_a_look_that_cannot_tell_is_no_relapse_but_the_last_must_be_true() -> None:
    store = world()

    def once_lost(now: float) -> Any:
        if store.sent and now > 3 and not store.values.get("lost"):
            store.values["lost"] = True
            raise BUSY
        return not store.sent

    store.values |= {"paused": once_lost, "backlog": lambda now: 3 if store.sent else 500}
    played = play(HEAD + CAUSE + UNPAUSE.replace("[DEL, paused]", "[DEL, switch]"), store)
    held = [look.holds for look in played.of(VerificationProgressed) if look.phase == "hold"]
    assert None in held
    assert played.end.outcome == "fixed"


def test_hold_is_shortened_by_pace_and_within_is_not() -> None:
    played = play(HEAD + CAUSE + UNPAUSE, world(), pace=0.1)
    slow = play(HEAD + CAUSE + UNPAUSE, world())
    assert played.end.at < 2 < 6 < slow.end.at
    never = play(HEAD + CAUSE + UNPAUSE.replace("until: not paused", "until: going"), world(), pace=0.1)
    assert never.end.at > 10


def test_a_symptom_that_stays_means_not_fixed() -> None:
    played = play(
        HEAD + CAUSE + UNPAUSE, world(backlog=500), consent=lambda gate: "no" if "undo" in gate.action else "yes"
    )
    assert (played.end.outcome, action(played).verified) == ("not_fixed", False)
    assert "still present: Jobs wait: backlog >= 100: 500 >= 100" in played.end.reason
    assert [judged.after for judged in played.of(SymptomsJudged)] == ["symptoms", "fix"]


def test_without_a_hold_nothing_is_said_to_have_held() -> None:
    played = play(HEAD + CAUSE + UNPAUSE.replace(", hold: 6s", ""), world())
    assert (action(played).verified, action(played).held) == (True, None)


def test_progress_is_asked_while_a_long_write_runs_and_its_end_is_not_missed() -> None:
    long = UNPAUSE.replace("    fake: [DEL, paused]", "    fake: [DEL, paused]\n    timeout: 1h")
    long += "    progress: {fake: [GET, done], every: 10s, says: '${{ result }} %'}\n"
    store = world(done=lambda now: round(now))
    store.takes["paused"] = 35.0
    played = play(HEAD + CAUSE + long, store, interrupts=[])
    assert len(played.of(ActionProgressed)) == 3
    assert played.end.outcome == "fixed"


def test_one_interrupt_lets_a_write_end_and_stops_after_it() -> None:
    store = world()
    store.takes["paused"] = 3.0
    played = play(HEAD + CAUSE + UNPAUSE, store, interrupts=[(7.0, 1)])
    assert store.sent == [["DEL", "paused"]]
    assert (played.end.outcome, action(played).status) == ("interrupted", "done")
    assert "not verified" in played.end.reason
    assert played.end.next[0] == "runbook undo R-TEST1"


def test_a_second_interrupt_cancels_the_write() -> None:
    store = world()
    store.takes["paused"] = 3.0
    played = play(HEAD + CAUSE + UNPAUSE, store, interrupts=[(7.0, 1), (7.5, 2)])
    assert played.of(CancelRequested)
    assert (played.end.outcome, played.end.exit_code, store.sent) == ("interrupted", 130, [])


def test_a_third_interrupt_leaves_it_unknown() -> None:
    store = world()
    store.takes["paused"] = 3.0
    played = play(HEAD + CAUSE + UNPAUSE, store, interrupts=[(7.0, 3)])
    assert (played.end.outcome, played.end.exit_code) == ("unknown", 6)


def test_an_interrupt_during_the_second_look_sends_nothing() -> None:
    store = world()
    store.takes["paused"] = 3.0
    played = play(HEAD + CAUSE + UNPAUSE, store, interrupts=[(4.0, 1)])
    assert (played.end.outcome, store.sent) == ("interrupted", [])
    assert not writes(played)


def test_an_interrupt_during_the_snapshot_sends_nothing() -> None:
    store = world()
    store.takes["since"] = 3.0
    played = play(HEAD + CAUSE + UNPAUSE, store, interrupts=[(1.0, 1)])
    assert (played.end.outcome, store.sent) == ("interrupted", [])


def test_an_interrupt_between_two_steps_keeps_the_way_back() -> None:
    store = world()
    store.takes["one"] = 3.0
    played = play(HEAD + STEPS, store, interrupts=[(1.0, 1)])
    assert store.sent == [["SET", "one", 1]]
    assert "interrupted after 1 of 3" in played.end.reason
    assert played.end.next[0] == "runbook undo R-TEST1"


@pytest.mark.parametrize("at", [1.5, 5.0])
def test_an_interrupt_during_verification_says_that_it_was_not_verified(at: float) -> None:
    played = play(HEAD + CAUSE + UNPAUSE, world(), interrupts=[(at, 1)])
    assert (played.end.outcome, played.end.exit_code) == ("interrupted", 130)
    assert (action(played).status, action(played).verified) == ("done", False)


def test_a_target_that_nobody_has_spoken_to_is_met_before_its_gate() -> None:
    text = HEAD.replace("targets: {store: redis}", "targets: {store: redis, other: redis}").replace(
        "fake: [GET", "target: store, fake: [GET"
    )
    text = text.replace("    target: store, fake", "    target: store\n    fake")
    unpause = UNPAUSE.replace("    fake: [DEL", "    target: other\n    fake: [DEL")
    unpause = unpause.replace("{fake: [GET, since]}", "{fake: [GET, since], target: other}")
    unpause = unpause.replace("undo: {fake", "undo: {target: other, fake")
    played = play(text + CAUSE + unpause, world())
    asked = [event for event in played.of(CallRequested) if event.request is None]
    assert [(event.target, event.mode) for event in asked] == [("other", "read")]
    assert played.of(GateRequested)[0].identity["other"]["name"] == "store"


def test_a_target_that_does_not_answer_gets_no_gate() -> None:
    text = HEAD.replace("targets: {store: redis}", "targets: {store: redis, other: redis}").replace(
        "fake: [GET", "target: store, fake: [GET"
    )
    text = text.replace("    target: store, fake", "    target: store\n    fake")
    unpause = "resolution: [{id: unpause, effect: disruptive, target: other, fake: [DEL, paused]}]"
    store = world()
    store.takes["identity"] = 60.0
    played = play(text + CAUSE + unpause, store)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert "other cannot be acted on" in played.end.reason
    assert not played.of(GateRequested)


def stored(*request: Any) -> dict[str, Any]:
    shape = {"executor": "fake", "target": "store", "overrides": {}, "bindings": {}, "idents": {}}
    more = {"autocommit": False, "deadline": 60.0, "action": "unpause", "title": "Resume", "request": list(request)}
    return {**shape, **more}


def undo_of(*acts: dict[str, Any], consent: str = "yes", **faults: list[Exception]) -> tuple[Play, World]:
    store = world(paused=False)
    store.faults |= {key.replace("_", " "): value for key, value in faults.items()}
    return play(HEAD + CAUSE + UNPAUSE, store, consent=consent, mode="undo", follows="R-1", undo=acts), store


def test_an_undo_sends_what_was_stored_behind_one_gate() -> None:
    played, store = undo_of(stored("SET", "paused", "monday"), stored("SET", "other", 1))
    assert store.sent == [["SET", "paused", "monday"], ["SET", "other", 1]]
    assert [gate.requests for gate in played.of(GateRequested)] == [("store: SET paused monday", "store: SET other 1")]
    assert played.of(GateRequested)[0].identity["store"]["name"] == "store"
    assert (played.end.outcome, action(played, "unpause:undo").status) == ("undone", "done")


@pytest.mark.parametrize(
    ("consent", "outcome", "code"), [("no", "refused", 1), ("none", "refused", 5), ("interrupted", "interrupted", 130)]
)
def test_an_undo_that_is_not_confirmed_changes_nothing(consent: str, outcome: str, code: int) -> None:
    played, store = undo_of(stored("SET", "paused", "monday"), consent=consent)
    assert (played.end.outcome, played.end.exit_code, store.sent) == (outcome, code, [])


@pytest.mark.parametrize(("error", "outcome"), [(BUSY, "not_fixed"), (RESET, "unknown")])
def test_an_undo_that_fails_ends_by_what_is_known_of_it(error: Exception, outcome: str) -> None:
    played, _ = undo_of(stored("SET", "paused", "monday"), SET_paused=[error])
    assert played.end.outcome == outcome


@pytest.mark.parametrize("policy", [{"forbid": ["unpause:undo"]}, {"most": "reversible"}])
def test_an_undo_that_the_environment_forbids_is_not_offered(policy: dict[str, Any]) -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("until: not paused", "until: backlog < 0")
    if "most" in policy:
        text = text.replace("undo: {fake:", "undo: {effect: destructive, fake:")
    played = play(text, world(), policy=policy)
    assert played.end.outcome == "not_fixed"
    assert [gate.action for gate in played.of(GateRequested)] == ["unpause"]
    assert not [call for call in played.of(CallRequested) if ":undo" in call.id]


def test_a_destructive_gate_asks_for_the_value_that_names_what_is_destroyed() -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("effect: reversible", "effect: destructive\n    names: since_when")
    text = text.replace(
        "- {id: items,", "- {id: since, fake: [GET, since], facts: {since_when: result}}\n  - {id: items,"
    )
    assert [gate.word for gate in play(text, world(), consent="no").of(GateRequested)] == ["monday"]


@pytest.mark.parametrize("since", [None, "", "  monday", "a\nb"])
def test_a_destructive_gate_without_a_word_to_type_is_not_drawn(since: object) -> None:
    text = HEAD + CAUSE + UNPAUSE.replace("effect: reversible", "effect: destructive\n    names: since_when")
    text = text.replace(
        "- {id: items,", "- {id: since, fake: [GET, since], facts: {since_when: result}}\n  - {id: items,"
    )
    played = play(text, world(since=since))
    assert not played.of(GateRequested)
    assert (played.end.outcome, action(played).status) == ("refused", "refused")


def test_nothing_is_called_fixed_that_was_not_seen_broken() -> None:
    store = world(backlog=lambda now: 3)
    store.faults["GET backlog"] = [TargetError("timeout", "no answer", "no")]
    text = HEAD + CAUSE + UNPAUSE.replace("    impact: {count: backlog, of: jobs start}\n", "")
    played = play(text, store)
    assert store.sent == [["DEL", "paused"]]
    assert (played.end.outcome, played.end.exit_code) == ("inconclusive", 3)
    assert "none was established before" in played.end.reason


def test_a_symptom_that_says_none_is_unknown_and_not_absent() -> None:
    text = HEAD.replace("present: backlog >= 100", "present: backlog") + CAUSE + UNPAUSE
    played = play(text, world(backlog=None), mode="diagnose")
    assert [symptom["present"] for symptom in played.of(SymptomsJudged)[0].symptoms] == [None]


def test_an_undo_that_holds_a_mask_is_never_sent() -> None:
    played, store = undo_of(stored("SET", "paused", "[secret redis.password]"))
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert "masked value: undo it by hand" in played.end.reason


GUARDED = UNPAUSE.replace(
    'undo: {fake: [SET, paused, "${{ before.since }}"]}',
    "undo: {fake: [SET, paused, \"${{ before.since }}\"], guard: not paused and before.since == 'monday', "
    "verify: {until: paused == before.since, within: 4s}}",
)


def undone_with(store: World, *, before: str = "monday", asked: str = "monday") -> Play:
    way = {**stored("SET", "paused", asked), "act": "unpause/unpause/1", "before": {"since": before}, "item": {}}
    return play(HEAD + CAUSE + GUARDED, store, mode="undo", follows="R-1", undo=(way,))


def test_the_intent_holds_what_the_guard_and_the_proof_of_its_undo_need() -> None:
    way = writes(play(HEAD + CAUSE + GUARDED, world()))[0].undo
    assert way is not None
    assert (way["act"], way["before"]) == ("unpause/unpause/1", {"since": "monday"})


def test_an_undo_of_an_earlier_run_is_guarded_and_proved() -> None:
    store = world(paused=False)
    played = undone_with(store)
    assert store.sent == [["SET", "paused", "monday"]]
    assert (played.end.outcome, action(played, "unpause:undo").verified) == ("fixed", True)


@pytest.mark.parametrize("values", [{"paused": True}, {"paused": None}])
def test_an_undo_of_an_earlier_run_whose_guard_does_not_hold_gets_no_gate(values: dict[str, Any]) -> None:
    store = world(**values)
    played = undone_with(store, before="sunday")
    assert (played.end.outcome, store.sent, played.of(GateRequested)) == ("refused", [], [])
    assert "guard of the undo" in played.end.reason


def test_an_undo_that_is_not_proved_is_not_fixed() -> None:
    played = undone_with(world(paused=False), asked="tuesday")
    assert (played.end.outcome, action(played, "unpause:undo").verified) == ("not_fixed", False)


def test_an_undo_without_a_proof_says_that_nothing_was_measured() -> None:
    played, _ = undo_of(stored("SET", "paused", "monday"))
    assert (played.end.outcome, played.end.exit_code) == ("undone", 0)
    assert "nothing was measured" in played.end.reason


WIPING = STEPS.replace("undo: {fake: [DEL, one]}", "undo: {fake: [WIPE, one], effect: destructive}")


def test_the_gate_of_several_steps_shows_the_effect_of_their_undos() -> None:
    assert play(HEAD + WIPING, world()).of(GateRequested)[0].effect == "destructive"
    refused = play(HEAD + WIPING, world(), policy={"most": "disruptive"})
    assert (refused.end.outcome, refused.of(GateRequested)) == ("refused", [])


def test_steps_are_taken_back_with_the_effect_of_their_undo() -> None:
    store = world()
    store.faults["DEL paused"] = [BUSY]
    assert [each.effect for each in writes(play(HEAD + WIPING, store))[3:]] == ["reversible", "destructive"]


@pytest.mark.parametrize(
    ("guard", "policy", "said"),
    [("guard: going, ", {}, "its guard does not hold"), ("", {"forbid": ["swap:undo"]}, "is forbidden")],
)
def test_steps_are_not_taken_back_against_a_guard_or_the_policy(guard: str, policy: Any, said: str) -> None:
    store = world()
    store.faults["DEL paused"] = [BUSY]
    played = play(
        HEAD + STEPS.replace("undo: {fake: [DEL, two]", f"undo: {{{guard}fake: [DEL, two]"), store, policy=policy
    )
    assert store.sent == [["SET", "one", 1], ["SET", "two", 1]]
    assert played.end.outcome == "unknown"
    assert said in action(played, "swap").reason


def test_an_undo_does_not_reach_another_system_of_the_same_name() -> None:
    elsewhere = {**stored("SET", "paused", "monday"), "changed": {"run_id": "another", "db": 7}}
    played, store = undo_of(elsewhere)
    assert (played.end.outcome, store.sent) == ("refused", [])
    assert "db was 7" in played.end.reason
    restarted = {**stored("SET", "paused", "monday"), "changed": {"run_id": "another"}}
    assert undo_of(restarted)[1].sent == [["SET", "paused", "monday"]]
