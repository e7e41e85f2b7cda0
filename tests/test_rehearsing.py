"""What a person sees of a rehearsal: stories, branches, expectations that are rewritten, files that are watched."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest
from commands import RUNBOOK, Place
from test_cases import CASES, PLAYBOOK

from runbook_engine.cases import Expectation
from runbook_engine.rehearsing.updating import NotRewrittenError, rewritten

HEAD = CASES[: CASES.index("tests:")]
PATIENCE = 60
FOUND = {
    "outcome": "fixed",
    "exit_code": 0,
    "top": "queue-paused",
    "offered": ("unpause",),
    "drawn": ("unpause",),
    "skipped": (),
    "done": ("unpause",),
    "causes": {"queue-paused": "confirmed"},
    "scores": {"queue-paused": 6},
    "impacts": {"unpause": "500 jobs start"},
    "present": {"waiting": False},
    "facts": {"pending": 0},
    "unknown": {},
    "says": "no symptom is present: really",
    "asked": frozenset({"waiting", "load", "unpause"}),
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "paused.yaml").write_text(PLAYBOOK)
    (folder / "paused.test.yaml").write_text(CASES)
    return Place(folder, tmp_path / "state")


def test_a_failure_tells_the_story_with_what_was_expected_beside_what_came(place: Place) -> None:
    (place.folder / "paused.test.yaml").write_text(
        f"{HEAD}tests:\n"
        "  - name: another end\n"
        '    gates: {unpause: "yes"}\n'
        "    after: {unpause: {waiting: {pending: 0, paused: false}}}\n"
        "    expect: {outcome: refused, top: busy, scores: {queue-paused: 9}, present: {waiting: true},\n"
        "             impacts: {unpause: 3 jobs start}, not_asked: [load], drawn: [], unknown: [commands]}\n"
    )
    finished = place.run("test", ".", "--format", "json")
    (test,) = finished.document[0]["tests"]
    assert finished.code == 1 and test["place"] == "paused.test.yaml:6"
    assert test["story"] == [
        "  symptom waiting: present (pending > most: 500 > 10)",
        "- step load: not asked",
        "+ step load: asked",
        "- top cause: busy",
        "+ top cause: queue-paused",
        "- cause queue-paused: confirmed, score 9",
        "+ cause queue-paused: confirmed, score 6",
        "      for: stopped: true",
        "  cause busy: refuted, score 0",
        "      against: commands > 1000: 10 > 1000",
        "- drawn: none",
        "+ drawn: unpause",
        "- impact of unpause: 3 jobs start",
        "+ impact of unpause: 500 jobs start",
        "  gate unpause: yes (500 jobs start)",
        "  request unpause: answered",
        "  verification of unpause, until: true (not stopped: stopped is false)",
        "  verification of unpause, hold: true (not stopped: stopped is false)",
        "  action unpause: done, verified, held: no symptom is present any more",
        "- after the fix, symptom waiting: present",
        "+ after the fix, symptom waiting: absent (pending > most: 0 > 10)",
        "- fact commands: unknown",
        "+ fact commands: 10",
        "- end: refused",
        "+ end: fixed (exit code 0): no symptom is present any more",
    ]
    junit = place.run("test", ".", "--format", "junit").stdout
    assert 'file="paused.test.yaml" line="6"' in junit and "+ top cause: queue-paused" in junit
    assert "    - top cause: busy\n    + top cause: queue-paused\n" in place.run("test", ".").stdout


def test_a_story_that_breaks_off_is_told_up_to_there(place: Place) -> None:
    (place.folder / "paused.test.yaml").write_text(
        "\n".join(line for line in CASES.splitlines() if not line.startswith("  load:"))
    )
    told = place.run("test", ".", "-k", "resumed").stdout
    assert "    /" not in told and "paused.yaml:16:5: nobody answers step 'load': give it a reply" in told
    assert "broken off at step load" in told


def test_steps_that_must_and_must_not_be_asked(place: Place) -> None:
    only_when = PLAYBOOK.replace("    title: Load\n", "    title: Load\n    when: not stopped\n")
    (place.folder / "paused.yaml").write_text(only_when)
    test = '  - {name: left out, gates: {unpause: "no"}, expect: {asked: [waiting], not_asked: [load]}}\n'
    (place.folder / "paused.test.yaml").write_text(f"{HEAD}tests:\n{test}")
    assert place.run("test", ".").code == 0
    (place.folder / "paused.test.yaml").write_text(f"{HEAD}tests:\n{test.replace('[waiting]', '[load]')}")
    told = place.run("test", ".")
    assert told.code == 1 and "step load: expected to be asked, was not" in told.stdout
    assert "+ step load: not asked, as not stopped: stopped is true" in told.stdout


def test_offered_was_looked_at_drawn_had_a_gate_skipped_had_none(place: Place) -> None:
    other = PLAYBOOK.replace("fix: [unpause]", "fix: [nothing, unpause]") + (
        "  - id: nothing\n    title: Nothing\n    effect: reversible\n"
        "    guard: pending > 9000\n    manual: Look at it.\n"
    )
    (place.folder / "paused.yaml").write_text(other)
    expect = "{offered: [nothing, unpause], drawn: [unpause], skipped: [nothing], done: []}"
    (place.folder / "paused.test.yaml").write_text(f"{HEAD}tests:\n  - {{name: two, expect: {expect}}}\n")
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said


def test_what_a_person_does_by_hand_is_done_after_the_second_look(place: Place) -> None:
    """Not before: the guard is asked once more between the confirmation and the deed."""
    by_hand = PLAYBOOK.replace("    asynq: {resume: default}\n", "    manual: Resume it in the console.\n")
    by_hand = by_hand.replace("    undo:\n      asynq: {pause: default}\n", "").replace("reversible", "disruptive")
    (place.folder / "paused.yaml").write_text(by_hand)
    (place.folder / "paused.test.yaml").write_text(
        f"{HEAD}tests:\n"
        "  - name: by hand\n"
        '    gates: {unpause: "yes"}\n'
        "    after: {unpause: {waiting: {pending: 0, paused: false}}}\n"
        "    expect: {outcome: fixed, done: [unpause]}\n"
    )
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said


def test_an_undo_has_a_gate_of_its_own_and_replies_after_it(place: Place) -> None:
    (place.folder / "paused.test.yaml").write_text(
        f"{HEAD}tests:\n"
        "  - name: undone\n"
        '    gates: {unpause: "yes", "unpause:undo": "yes"}\n'
        '    expect: {outcome: not_fixed, asked: ["unpause:undo"], says: [it was undone]}\n'
    )
    finished = place.run("test", ".", "--coverage", "--verbose")
    assert finished.code == 0, finished.said
    assert "undo of unpause" not in finished.stdout


def test_branches_that_no_test_takes_are_listed_and_can_fail(place: Place) -> None:
    short = place.run("test", ".", "--coverage")
    assert "branches 80% (12 of 15), facts seen unknown 3 of 3" in short.stdout
    assert "no test takes" not in short.stdout
    told = place.run("test", ".", "--branches-at-least", "90")
    assert told.code == 1 and place.run("test", ".", "--branches-at-least", "80").code == 0
    for way in ("guard of unpause: does not hold", "gate of unpause: nobody", "undo of unpause: done"):
        assert f"no test takes: {way}" in told.stdout
    (document,) = place.run("test", ".", "--format", "json").document
    assert document["branches"]["coverage"] == 0.8 and len(document["branches"]["missing"]) == 3
    (place.folder / "paused.test.yaml").write_text(CASES[: CASES.index("  - name: Redis is away")])
    (document,) = place.run("test", ".", "--format", "json").document
    assert document["branches"]["never_unknown"] == ["pending", "stopped", "commands"]
    assert "cause busy: unknown" in document["branches"]["missing"]


def test_an_expectation_is_rewritten_where_it_stands_and_comments_stay() -> None:
    text = (
        "cases: paused  # ours\n"
        "tests:\n"
        "  - name: blocks\n"
        "    # why it is so\n"
        "    expect:\n"
        "      outcome: healthy   # the end\n"
        "      top: busy\n"
        "      done:\n"
        "        - other\n"
        "      causes:\n"
        "        gone: confirmed\n"
        "      facts: {pending: 3, gone: 4}\n"
        "      unknown: [pending]\n"
        "      says: [really, something else]\n"
        "  - {name: other, expect: {outcome: healthy}}\n"
    )
    expect = Expectation(
        outcome="healthy",
        top="busy",
        done=("other",),
        causes={"gone": "confirmed"},
        facts={"pending": 3, "gone": 4},
        unknown=("pending",),
        says=("really", "something else"),
    )
    assert rewritten(text, "x.test.yaml", 0, expect, FOUND) == (
        "cases: paused  # ours\n"
        "tests:\n"
        "  - name: blocks\n"
        "    # why it is so\n"
        "    expect:\n"
        "      outcome: fixed   # the end\n"
        "      top: queue-paused\n"
        "      done:\n"
        "        [unpause]\n"
        "      facts: {pending: 0}\n"
        "      says: [really]\n"
        "  - {name: other, expect: {outcome: healthy}}\n"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "cases: p\ntests:\n  - {name: a, expect: &e {outcome: healthy}}\n  - {name: b, expect: *e}\n",
            "something else",
        ),
        (
            "cases: p\ntests:\n  - {name: b, expect: {outcome: healthy}}\n  - {name: a, expect: {outcome: refused}}\n",
            "",
        ),
        ("cases: p\nx: &e {outcome: healthy}\ntests:\n  - {name: b, expect: *e}\n", "behind an alias"),
    ],
    ids=["shared-by-an-anchor", "sound", "an-alias"],
)
def test_what_cannot_be_rewritten_alone_is_refused(text: str, says: str) -> None:
    expect = Expectation(outcome="healthy")
    if not says:
        assert rewritten(text, "p.test.yaml", 0, expect, FOUND) == text.replace("healthy", "fixed")
        return
    with pytest.raises(NotRewrittenError, match=says):
        rewritten(text, "p.test.yaml", 0, expect, FOUND)


def test_a_comment_inside_of_an_expectation_that_would_go_is_a_reason_to_refuse() -> None:
    text = "cases: p\ntests:\n  - name: a\n    expect:\n      done:\n        - x  # the reason\n        - y\n"
    with pytest.raises(NotRewrittenError, match="a comment stands inside"):
        rewritten(text, "p.test.yaml", 0, Expectation(done=("x", "y")), FOUND)


BROKEN = CASES.replace("{outcome: fixed, top: queue-paused", "{outcome: healthy, top: busy")


def test_update_writes_nothing_that_nobody_has_reviewed(place: Place) -> None:
    file = place.folder / "paused.test.yaml"
    file.write_text(BROKEN)
    told = place.run("test", ".", "--update")
    assert told.code == 2 and "--yes writes it" in told.stderr and file.read_text() == BROKEN
    assert "+    expect: {outcome: fixed, top: queue-paused, done: [unpause], facts: {commands: 10}}" in told.stdout
    assert place.run("test", ".", "--update", CI="true").code == 2
    assert place.run("test", ".", "--yes").code == 2
    assert place.run("test", ".", "--update", "--watch").code == 2
    written = place.run("test", ".", "--update", "--yes", CI="true")
    assert written.code == 0 and file.read_text() == CASES and "8 of 8 passed" in written.stdout


def at_terminal(place: Place, *words: str) -> pexpect.spawn[str]:
    where = str(place.folder)
    return pexpect.spawn(RUNBOOK, list(words), cwd=where, env=place.environ(), timeout=PATIENCE, encoding="utf-8")


def test_update_asks_for_each_test_at_a_terminal(place: Place) -> None:
    file = place.folder / "paused.test.yaml"
    twice = BROKEN.replace("expect: {outcome: not_fixed}", "expect: {outcome: relapsed}")
    file.write_text(twice)
    child = pexpect.spawn(
        RUNBOOK,
        ["test", ".", "--update"],
        cwd=str(place.folder),
        env=place.environ(),
        timeout=PATIENCE,
        encoding="utf-8",
    )
    child.expect("write it\\?")
    child.sendline("n")
    child.expect("write it\\?")
    child.sendline("y")
    child.expect("7 of 8 passed")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert file.read_text() == BROKEN


def test_update_leaves_a_test_that_broke_off_alone(place: Place) -> None:
    file = place.folder / "paused.test.yaml"
    text = "\n".join(line for line in CASES.splitlines() if not line.startswith("  load:")) + "\n"
    file.write_text(text)
    told = place.run("test", ".", "-k", "resumed", "--update", "--yes")
    assert (
        told.code == 1 and "it broke off, so there is nothing to take over" in told.stdout and file.read_text() == text
    )


def test_watch_runs_again_what_a_change_concerns_until_ctrl_c(place: Place) -> None:
    (place.folder / "other.yaml").write_text(PLAYBOOK.replace("name: paused", "name: other"))
    (place.folder / "other.test.yaml").write_text(CASES.replace("cases: paused", "cases: other"))
    child = pexpect.spawn(
        RUNBOOK,
        ["test", ".", "--watch"],
        cwd=str(place.folder),
        env=place.environ(),
        timeout=PATIENCE,
        encoding="utf-8",
    )
    child.expect("watching 4 files")
    (place.folder / "paused.yaml").write_text(PLAYBOOK.replace("count: pending", "count: pnding"))
    child.expect("changed: paused.yaml; running paused.test.yaml\r")
    child.expect("RB202")
    child.expect("watching 4 files")
    (place.folder / "paused.yaml").write_text(PLAYBOOK)
    child.expect("changed: paused.yaml; running paused.test.yaml\r")
    child.expect("8 of 8 passed")
    (place.folder / "new.test.yaml").write_text(CASES)
    child.expect("changed: new.test.yaml; running new.test.yaml\r")
    child.expect("watching 5 files")
    child.sendintr()
    child.expect("interrupted")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130


def test_validate_says_of_a_file_with_tests_what_a_rehearsal_says(place: Place) -> None:
    broken = CASES.replace("gates: {unpause:", "gates: {unpuase:", 1).replace("unknown: [stopped", "unknown: [stoped")
    (place.folder / "paused.test.yaml").write_text(broken)
    validated = place.run("validate", ".", "--format", "concise")
    assert validated.code == 65 and validated.stdout.splitlines() == [
        "paused.test.yaml:8:13: RB202 paused has no gate 'unpuase'. did you mean 'unpause'?",
        "paused.test.yaml:21:66: RB202 paused has no fact 'stoped'. did you mean 'stopped'?",
    ]
    (place.folder / "paused.yaml").write_text(PLAYBOOK.replace("stopped", "stoped"))
    (place.folder / "paused.test.yaml").write_text(CASES)  # remembered by what it stands on, too
    assert "paused has no fact 'stopped'" in place.run("validate", ".", "--format", "concise").stdout
