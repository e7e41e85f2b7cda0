"""Playbooks proved without any target: what holds is shown, what does not is a story, a broken engine is caught."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import Place

from runbook_engine.events import (
    CallFinished,
    CallRequested,
    Event,
    GateAnswered,
    GateRequested,
    GuardChecked,
    RunFinished,
    SymptomsJudged,
    VerificationProgressed,
)
from runbook_engine.expressions import Unknown
from runbook_engine.interpreter import interpret
from runbook_engine.loader import load_playbook
from runbook_engine.matrix import load
from runbook_engine.policy import Policy
from runbook_engine.proving import Proof, claims, prove
from runbook_engine.proving.examples import example_of
from runbook_engine.proving.goals import Goal, not_healthy, present
from runbook_engine.proving.proof import CARRIED_OUT, FOUND, NOTICED, REACHED, WORKS, Work
from runbook_engine.proving.shapes import shapes_of
from runbook_engine.runner import used_executors

PLAYBOOK = """\
runbook: 1
name: paused
title: A queue is paused
inputs:
  most: {type: integer, default: 10, help: jobs that may wait}
targets: {redis: redis}
symptoms:
  - id: waiting
    title: Jobs wait
    asynq: {inspect: default}
    facts:
      pending: pending
      stopped: paused
      state: "'stopped' if stopped else 'full' if pending > 100 * most else 'usual'"
    present: pending > most
diagnosis:
  - id: load
    title: Load
    redis: [INFO]
    sample: {times: 2, every: 10s}
    facts: {commands: delta('result.total_commands_processed')}
causes:
  - id: queue-paused
    needs: state == 'stopped'
    fix: [unpause]
  - id: busy
    needs: commands > 1000
    for:
      - {when: state == 'full', weight: strong, says: far too many}
    advice: Wait.
resolution:
  - id: unpause
    title: Resume it
    effect: reversible
    guard: stopped
    impact: {count: pending, of: jobs start}
    asynq: {resume: default}
    undo:
      asynq: {pause: default}
      guard: not stopped
    verify: {until: not stopped, within: 15s, hold: 10s}
"""


def proof_of(text: str, **more: Any) -> Proof:
    loaded = load_playbook(text, "paused.yaml")
    return prove(loaded, used_executors(loaded), **more)


def broken(proof: Proof) -> list[str]:
    return [failure.claim for failure in proof.failures]


@pytest.mark.parametrize("policy", [Policy(), Policy(production=True, type_from="reversible")], ids=["usual", "strict"])
def test_a_sound_playbook_is_proved(policy: Policy) -> None:
    proof = proof_of(PLAYBOOK, policy=policy)
    assert not proof.failures
    assert proof.found == {"queue-paused", "busy"} and proof.works == proof.noticed == {"unpause"}
    assert proof.taken_back == {"unpause"} and proof.changes > 20 and not proof.cut


@pytest.mark.parametrize("name", ["debug-mode", "lock-contention"])
def test_shipped_playbooks_are_proved(name: str) -> None:
    """All of them are by `make prove`; these two are quick."""
    loaded = load(name)
    proof = prove(loaded, used_executors(loaded))
    assert not proof.failures
    assert proof.done == {action.id for action in loaded.playbook.resolution}


@pytest.mark.parametrize(
    ("old", "new", "claim", "line"),
    [
        ("needs: commands > 1000", "needs: commands > 1000 and commands < 500", FOUND, 26),
        ("guard: stopped", "guard: not stopped", CARRIED_OUT, 32),
        ("{count: pending, of", "{count: pending + nothing, of", CARRIED_OUT, 32),
        ("verify: {until: not stopped,", "stopgap: true\n    verify: {until: stopped or not stopped,", NOTICED, 32),
        ("until: not stopped,", "until: stopped and pending < 0 and pending > 3,", WORKS, 32),
        ("asynq: {resume: default}", 'asynq: {resume: "${{ pending }}"}', CARRIED_OUT, 32),
    ],
    ids=["unreachable cause", "opposite guard", "no number", "always true", "never true", "no request"],
)
def test_what_no_path_reaches_is_told_with_its_place(old: str, new: str, claim: str, line: int) -> None:
    text = PLAYBOOK.replace(old, new).replace("      stopped: paused\n", "      stopped: paused\n      nothing: none\n")
    proof = proof_of(text)
    assert broken(proof) == [claim]
    assert proof.failures[0].place == ("paused.yaml", line + 1, 5)


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ("commands > 1000 and commands < 500", "its `needs` hold in none that was found"),
        ("stopped and pending > 20", "in the nearest busy is suspected with 6, queue-paused is suspected with 6"),
    ],
    ids=["never true", "in the shadow of another"],
)
def test_what_stands_against_a_cause_is_told(needs: str, why: str) -> None:
    text = PLAYBOOK.replace("weight: strong, says: far too many", "weight: weak, says: a little")
    (failure,) = proof_of(text.replace("needs: commands > 1000", f"needs: {needs}")).failures
    assert failure.what.startswith("busy: no state was found in which it is on top; ") and failure.what.endswith(why)


def test_a_state_is_found_that_only_a_failed_step_brings_about() -> None:
    """Where the symptom is there the first cause is as good; where nobody knows, only the second is left."""
    evidence = "    for:\n      - {when: state == 'full', weight: strong, says: far too many}\n"
    text = PLAYBOOK.replace(evidence, "").replace("present: pending > most", "present: not stopped")
    loaded = load_playbook(text.replace("needs: state == 'stopped'", "needs: not stopped"), "paused.yaml")
    search = Work(loaded, used_executors(loaded), Policy(), Proof("paused", "any"), interpret).search
    busy = loaded.playbook.causes[1]
    assert search.state(Goal(any_true=present(loaded.playbook), cause=busy)) is None
    state = search.state_in_doubt(Goal(any_true=not_healthy(loaded.playbook), cause=busy))
    assert state is not None and isinstance(search.space.scope(state)["stopped"], Unknown)


def test_what_the_environment_forbids_is_no_gap() -> None:
    proof = proof_of(PLAYBOOK, policy=Policy(forbid=("unpause",)), environment="prod")
    assert not proof.failures and "policy.forbid" in proof.forbidden["unpause"] and proof.changes == 0


Change = Callable[[Event], Event | None]  # another event, or None for one that is not told


def engine(
    change: Change, answer: Callable[[Event], Any] = lambda event: None, heard: Any = lambda reply: reply
) -> Any:
    """The interpreter with something broken: events changed or withheld, replies made up or misheard."""

    def wrapped(*arguments: Any) -> Generator[Any, Any, RunFinished]:
        run = interpret(*arguments)
        reply: Any = None
        while True:
            try:
                event = run.send(reply)
            except StopIteration as end:
                finished: RunFinished = end.value
                return finished
            told = change(event)
            reply = answer(event) if told is None else heard((yield told))

    return wrapped


def without_a_gate() -> Any:
    def answer(event: Event) -> Any:
        if isinstance(event, GateRequested):
            return GateAnswered(event.id, event.digest, "yes", "nobody", "made up", 1.0, 1.0)
        return None

    return engine(lambda event: None if isinstance(event, GateRequested) else event, answer)


def withholding(*kinds: type[Any]) -> Any:
    return engine(lambda event: None if isinstance(event, kinds) else event)


def changing(kind: type[Any], **fields: Any) -> Any:
    return engine(lambda event: replace(event, **fields) if isinstance(event, kind) else event)


def as_write(event: Event) -> Event:
    if isinstance(event, CallRequested) and event.mode == "read" and event.executor == "redis":
        return replace(event, request=["DEL", "x"])
    return event


def deaf(reply: Any) -> Any:
    unknown = isinstance(reply, CallFinished) and reply.happened == "unknown"
    return replace(reply, happened="no", error={"code": "x", "message": "x"}) if unknown else reply


def fixed_anyway(event: Event) -> Event:
    return replace(event, outcome="fixed", exit_code=0) if isinstance(event, RunFinished) else event


@pytest.mark.parametrize(
    ("broken_engine", "claim", "says"),
    [
        (without_a_gate(), claims.GATED, "nobody said yes to it"),
        (changing(GateRequested, effect="read"), claims.GATED, "its gate said read, and it is reversible"),
        (changing(GateRequested, requests=("redis: PING",)), claims.GATED, "its gate did not show"),
        (changing(GateRequested, identity={}), claims.GATED, "without a check that it is whom the gate showed"),
        (withholding(GuardChecked), claims.GUARDED, "its guard was not seen to hold"),
        (withholding(VerificationProgressed, SymptomsJudged), claims.VERIFIED, "nobody looked whether it worked"),
        (changing(CallRequested, undo=None), claims.UNDOABLE, "without its way back"),
        (engine(as_write), claims.READS, "can change something"),
        (engine(lambda event: event, heard=deaf), claims.UNKNOWN, "nobody knows what became of"),
        (engine(fixed_anyway), claims.ENDS, "its symptoms were not seen to be gone"),
    ],
    ids=["no gate", "milder", "other request", "nobody", "no guard", "no look", "no undo", "writes", "deaf", "liar"],
)
def test_an_engine_that_breaks_a_promise_is_caught(broken_engine: Any, claim: str, says: str) -> None:
    proof = proof_of(PLAYBOOK, interpret=broken_engine, most=60)
    assert proof.verdict(claim) == "broken"
    first = next(failure for failure in proof.failures if failure.claim == claim)
    assert any(says in failure.what for failure in proof.failures if failure.claim == claim)
    assert first.shown_by is not None


def test_a_type_that_must_be_typed_is_asked_for_by_the_gate() -> None:
    proof = proof_of(
        PLAYBOOK, policy=Policy(type_from="reversible"), interpret=changing(GateRequested, word=""), most=60
    )
    assert any("wants a word to be typed" in failure.what for failure in proof.failures)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "paused.yaml").write_text(PLAYBOOK)
    (folder / "runbook.yaml").write_text(
        "environments:\n  prod:\n    policy: {production: true, most: touch}\n    targets: {}\n"
    )
    return Place(folder, tmp_path / "state")


def test_the_command_tells_what_holds_and_what_was_left_out(place: Place) -> None:
    finished = place.run("prove", "paused.yaml")
    assert finished.code == 0, finished.said
    assert all(f"holds  {claim}" in finished.stdout for claim in (*claims.CLAIMS, *REACHED))
    assert "bounds at most 2 decisions" in finished.stdout


def test_the_command_tells_a_gap_with_its_line_and_fails(place: Place) -> None:
    (place.folder / "paused.yaml").write_text(PLAYBOOK.replace("guard: stopped", "guard: not stopped"))
    finished = place.run("prove", ".")
    assert finished.code == 1, finished.said
    assert "open   every action can be offered and carried out" in finished.stdout
    assert "paused.yaml:32:5: unpause: no state was found" in finished.stdout


def test_the_policy_of_an_environment_counts(place: Place) -> None:
    finished = place.run("prove", "paused.yaml", "--env", "prod", "--output", "json")
    assert finished.code == 0, finished.said
    (document,) = json.loads(finished.stdout)
    assert document["environment"] == "prod" and "policy.most" in document["forbidden"]["unpause"]
    assert all(document["claims"].values())


def test_what_cannot_be_proved_is_said(place: Place) -> None:
    assert place.run("prove", "nothing-like-it").code == 2
    assert place.run("prove", "paused.yaml", "--env", "elsewhere").code == 2
    (place.folder / "paused.yaml").write_text("runbook: 1\nname: [")
    broken_file = place.run("prove", "paused.yaml")
    assert broken_file.code == 65 and "paused.yaml:" in broken_file.stderr


@pytest.mark.parametrize(
    "pattern", [r"^[0-9a-f]{8}-x$", r"Failed to (connect|run)", r"(^| )/health", r"[^a]+b?", "(?i)oom"]
)
def test_an_example_matches_its_pattern(pattern: str) -> None:
    assert example_of(pattern)


def test_a_shape_is_read_off_what_is_done_with_a_value() -> None:
    shapes = shapes_of(["(rows | selectattr('age', 'ge', 3) | length) > 2 and one.name in names", "names | first"])
    assert shapes["rows"].is_list and 3 in shapes["rows"].element().keys["age"].scalars()
    assert 3 in shapes["rows"].sizes and shapes["names"].is_list
    assert shapes["one"].keys["name"].constants == shapes["names"].element().constants
