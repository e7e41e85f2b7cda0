"""What a run does from its first probe to its verdict: what is asked, when, and what unknown answers mean."""

from __future__ import annotations

import pytest
from fake_executor import World, play

from runbook_engine.errors import TargetError
from runbook_engine.events import (
    CallAbandoned,
    CallRequested,
    CausesRanked,
    GateRequested,
    QuestionRequested,
    StepFinished,
    SymptomsJudged,
)

HEAD = """
runbook: 1
name: store-full
title: The store fills up
targets: {store: redis}
"""
SYMPTOM = """
symptoms:
  - id: backlog
    fake: [GET, backlog]
    facts: {backlog: result}
    present: backlog >= 100
"""
REFUSED = TargetError("refused", "connection refused", "no")


def steps(played: object) -> dict[str, StepFinished]:
    return {event.step: event for event in played.of(StepFinished)}  # type: ignore[attr-defined]


def probe(name: str, more: str = "") -> str:
    key = name.replace("-", "_")
    return f"""
  - id: {name}
    fake: [GET, {key}]
    facts: {{{key}: result}}
    {more}
"""


def test_everything_that_is_ready_is_asked_at_once() -> None:
    text = HEAD + SYMPTOM + "diagnosis:" + probe("a") + probe("b") + probe("c")
    played = play(text, World({"backlog": 500, "a": 1, "b": 2, "c": 3}, takes={"a": 3.0, "b": 3.0, "c": 3.0}))
    assert played.most_busy == 4
    assert played.end.at == pytest.approx(3.0)


def test_a_step_waits_for_the_steps_whose_facts_it_mentions() -> None:
    chain = """
  - id: second
    when: a > 0
    fake: [GET, second]
    facts: {second: result}
"""
    played = play(HEAD + SYMPTOM + "diagnosis:" + chain + probe("a"), World({"backlog": 500, "a": 1}, takes={"a": 2.0}))
    requested = [event.step for event in played.of(CallRequested)]
    assert requested == ["backlog", "a", "second"]
    assert played.end.at == pytest.approx(2.1)


def test_a_step_becomes_ready_by_one_that_is_skipped_while_others_still_run() -> None:
    text = HEAD + SYMPTOM + "diagnosis:" + probe("after", "when: skipped is known or true") + probe("slow")
    text += probe("skipped", "when: 1 > 2")
    played = play(text, World({"backlog": 500}, takes={"slow": 5.0, "backlog": 5.0}))
    assert [event.step for event in played.of(CallRequested)] == ["backlog", "slow", "after"]


def test_no_symptom_is_healthy_at_once_and_slow_probes_are_given_up_quietly() -> None:
    played = play(HEAD + SYMPTOM + "diagnosis:" + probe("slow"), World({"backlog": 3}, takes={"slow": 9.0}))
    assert (played.end.outcome, played.end.exit_code) == ("healthy", 0)
    assert played.end.at == pytest.approx(0.1)
    assert [event.id for event in played.of(CallAbandoned)] == ["slow/1/1"]
    assert "slow" not in steps(played)
    assert not played.of(CausesRanked)


def test_an_unknown_symptom_is_diagnosed_and_its_reason_is_told() -> None:
    cause = "causes: [{id: gone, needs: error_code == 'refused', advice: start it}]"
    text = HEAD + SYMPTOM + "diagnosis:\n  - id: ping\n    fake: [GET, ping]\n"
    text += "    facts: {error_code: error.code}\n" + cause
    world = World({}, faults={"GET backlog": [REFUSED], "GET ping": [REFUSED]})
    played = play(text, world)
    assert steps(played)["backlog"].unknown == {"backlog": "store: connection refused"}
    assert played.of(SymptomsJudged)[0].symptoms[0]["present"] is None
    assert (played.end.outcome, played.end.exit_code) == ("diagnosed", 1)


def test_what_depends_on_an_unknown_fact_is_not_asked_and_says_why() -> None:
    text = HEAD + SYMPTOM + "diagnosis:" + probe("a") + probe("b", "when: a > 0")
    text += "  - {id: c, fake: [GET, '${{ a }}'], facts: {c: result}}\n"
    played = play(text, World({"backlog": 500}, faults={"GET a": [REFUSED]}))
    for name in ("b", "c"):
        assert "connection refused" in steps(played)[name].skipped
        assert "connection refused" in steps(played)[name].unknown[name]


def test_a_false_when_leaves_facts_unknown_without_asking() -> None:
    played = play(HEAD + SYMPTOM + "diagnosis:" + probe("b", "when: backlog < 100"), World({"backlog": 500}))
    assert steps(played)["b"].skipped == "not asked, as backlog < 100: 500 < 100"
    assert [event.step for event in played.of(CallRequested)] == ["backlog"]


def test_samples_are_spaced_by_every_times_pace() -> None:
    text = HEAD + SYMPTOM + "diagnosis:\n  - id: rates\n    sample: {times: 3, every: 10s}\n    fake: [GET, done]\n"
    text += "    facts: {speed: rate('result'), span: sampled}\n"
    played = play(text, World({"backlog": 500, "done": lambda now: round(now * 100)}), pace=0.1)
    found = steps(played)["rates"].facts
    assert found["span"] == pytest.approx(2.2)
    assert found["speed"] == pytest.approx(100)
    assert [event.id for event in played.of(CallRequested)] == ["backlog/1/1", "rates/1/1", "rates/1/2", "rates/1/3"]


def test_a_sample_that_fails_makes_the_step_fail() -> None:
    text = HEAD + SYMPTOM + "diagnosis:\n  - id: rates\n    sample: {times: 2, every: 1s}\n    fake: [GET, done]\n"
    text += "    facts: {speed: rate('result'), code: error.code}\n"
    world = World({"backlog": 500, "done": 0})
    world.values["done"] = lambda now: world.faults.setdefault("GET done", [REFUSED]) and 0
    played = play(text, world)
    assert steps(played)["rates"].facts == {"code": "refused"}
    assert "connection refused" in steps(played)["rates"].unknown["speed"]


def test_the_spent_budget_lists_what_was_not_checked() -> None:
    text = HEAD + SYMPTOM + "diagnosis:" + probe("slow", "title: Slow one") + probe("later", "when: slow > 0")
    played = play(text, World({"backlog": 500}, takes={"slow": 90.0}), budget=5.0)
    assert played.of(CausesRanked)[0].unchecked == ("Slow one", "later")
    assert steps(played)["later"].unknown == {"later": "the budget was spent"}
    assert played.end.at == pytest.approx(5.0)
    assert (played.end.outcome, played.end.exit_code) == ("inconclusive", 3)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_an_interrupt_ends_the_diagnosis_whatever_its_level(level: int) -> None:
    text = HEAD + SYMPTOM + "diagnosis:" + probe("slow")
    played = play(text, World({"backlog": 500}, takes={"slow": 9.0}), interrupts=[(1.0, level)])
    assert (played.end.outcome, played.end.exit_code) == ("interrupted", 130)
    assert [event.id for event in played.of(CallAbandoned)] == ["slow/1/1"]
    assert played.end.at == pytest.approx(1.0)


def test_nothing_answered_is_an_error_of_its_own() -> None:
    played = play(HEAD + SYMPTOM, World({}, faults={"GET backlog": [REFUSED]}))
    assert (played.end.outcome, played.end.exit_code) == ("error", 69)


def test_a_server_that_answers_with_an_error_of_its_own_has_answered() -> None:
    full = TargetError("OOM", "command not allowed", "no")
    played = play(HEAD + SYMPTOM, World({}, faults={"GET backlog": [full]}))
    assert (played.end.outcome, played.end.exit_code) == ("inconclusive", 3)


def test_a_benign_cause_that_is_confirmed_is_healthy() -> None:
    text = HEAD + SYMPTOM + "causes: [{id: burst, title: A burst, needs: backlog < 1000, benign: true}]"
    played = play(text, World({"backlog": 500}))
    assert (played.end.outcome, played.end.reason) == ("healthy", "A burst: nothing has to be done")


def test_see_names_the_other_playbook_with_its_inputs() -> None:
    text = (
        HEAD
        + SYMPTOM
        + "causes: [{id: full, needs: backlog > 1, see: {playbook: other, inputs: {n: '${{ backlog }}'}}}]"
    )
    played = play(text, World({"backlog": 500}))
    assert played.end.next[0] == "runbook run other -i n=500"


QUESTION = """
diagnosis:
  - id: deployed
    ask: {question: Was there a deployment?, type: boolean, fact: deployed}
  - id: which
    when: deployed
    fake: [GET, version]
    facts: {version: result}
causes: [{id: bad-version, needs: deployed and version == 7}]
"""


def test_a_question_gives_a_fact_that_others_wait_for() -> None:
    played = play(HEAD + SYMPTOM + QUESTION, World({"backlog": 500, "version": 7}), answers={"deployed": True})
    assert played.end.outcome == "diagnosed"


def test_a_question_with_nobody_to_answer_needs_a_person() -> None:
    played = play(HEAD + SYMPTOM + QUESTION, World({"backlog": 500, "version": 7}))
    assert (played.end.outcome, played.end.exit_code) == ("inconclusive", 75)


def test_nobody_is_asked_about_a_healthy_system() -> None:
    played = play(HEAD + SYMPTOM + QUESTION, World({"backlog": 5}, takes={"backlog": 2.0}))
    assert played.end.outcome == "healthy"
    assert not played.of(QuestionRequested)


def test_ctrl_c_at_a_question_ends_the_run() -> None:
    played = play(HEAD + SYMPTOM + QUESTION, World({"backlog": 500, "version": 7}), answers={"deployed": "^C"})
    assert (played.end.outcome, played.end.exit_code) == ("interrupted", 130)
    assert "which" in steps(played)
    assert len(played.of(CallRequested)) == 1


FIX = """
causes: [{id: full, needs: backlog > 1, fix: [empty]}]
resolution:
  - {id: empty, effect: destructive, fake: [WIPE, backlog]}
"""


def test_diagnose_offers_nothing() -> None:
    played = play(HEAD + SYMPTOM + FIX, World({"backlog": 500}), mode="diagnose")
    assert (played.end.outcome, played.end.exit_code) == ("diagnosed", 1)
    assert not played.of(GateRequested)


def test_plan_asks_every_gate_and_sends_nothing() -> None:
    world = World({"backlog": 500})
    played = play(HEAD + SYMPTOM + FIX, world, consent="plan", mode="plan")
    assert (played.end.outcome, played.end.reason) == ("diagnosed", "planned: empty would run")
    assert played.of(GateRequested)[0].requests == ("store: WIPE backlog",)
    assert world.sent == []


def test_the_same_replies_give_the_same_events() -> None:
    def run() -> list[object]:
        return play(HEAD + SYMPTOM + FIX, World({"backlog": 500})).events  # type: ignore[return-value]

    assert run() == run()
