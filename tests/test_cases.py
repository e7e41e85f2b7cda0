"""Playbooks rehearsed without any target: scripted and recorded replies, honest failures, nothing opened."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from commands import Place

from runbook_engine.cases import Cases
from runbook_engine.cassette import HEADER, read_cassette
from runbook_engine.errors import UsageError
from runbook_engine.loader import load_playbook, validate_document
from runbook_engine.matrix import load
from runbook_engine.playing import play, replayed
from runbook_engine.rehearsing.files import cassette_of
from runbook_engine.runner import used_executors
from runbook_engine.sandbox import control
from runbook_engine.sandbox.state import State

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
    facts: {pending: pending, stopped: paused}
    present: pending > most
diagnosis:
  - id: load
    title: Load
    redis: [INFO]
    sample: {times: 2, every: 10s}
    facts: {commands: delta('result.total_commands_processed')}
causes:
  - id: queue-paused
    needs: stopped
    fix: [unpause]
  - id: busy
    needs: commands > 1000
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
    verify: {until: not stopped, within: 15s, hold: 10s}
"""
CASES = """\
cases: paused
replies:
  waiting: {pending: 500, paused: true}
  load: [{result: {total_commands_processed: 10}}, {result: {total_commands_processed: 20}}]
tests:
  - name: it is resumed
    after: {unpause: {waiting: {pending: 0, paused: false}}}
    gates: {unpause: "yes"}
    expect: {outcome: fixed, top: queue-paused, done: [unpause], facts: {commands: 10}}
  - name: declined
    gates: {unpause: "no"}
    expect: {outcome: refused, exit_code: 1, offered: [unpause], done: []}
  - name: it does not help
    gates: {unpause: "yes"}
    expect: {outcome: not_fixed}
  - name: healthy
    replies: {waiting: {pending: 1, paused: false}}
    expect: {outcome: healthy, present: {waiting: false}}
  - name: Redis is away
    unreachable: [redis]
    expect: {outcome: error, present: {waiting: null}, unknown: [stopped, commands], says: [no target answered]}
  - name: it does not last
    gates: {unpause: "yes"}
    after: {unpause: {waiting: {in_turn: [{pending: 0, paused: false}, {pending: 400, paused: true}]}}}
    expect: {outcome: relapsed, done: [unpause]}
  - name: only a part of the answer is another
    replies:
      waiting: {change: {paused: false}}
      load: {change: {result.total_commands_processed: 1}}
    expect: {outcome: inconclusive, facts: {pending: 500, stopped: false}}
  - name: busy
    replies:
      waiting: {pending: 500, paused: false}
      load: [{result: {total_commands_processed: 10}}, {result: {total_commands_processed: 5000}}]
    expect: {outcome: diagnosed, causes: {busy: confirmed, queue-paused: refuted}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "paused.yaml").write_text(PLAYBOOK)
    (folder / "paused.test.yaml").write_text(CASES)
    return Place(folder, tmp_path / "state")


def test_scripted_cases_pass_and_visit_every_cause_and_action(place: Place) -> None:
    finished = place.run("test", ".", "--coverage", "--at-least", "100", "--format", "json")
    assert finished.code == 0, finished.said
    (document,) = finished.document
    assert [test["passed"] for test in document["tests"]] == [True] * 8
    assert document["coverage"] == 1.0 and document["missing"] == []


def test_no_namespace_no_server_no_network_is_needed(place: Place) -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("an empty network namespace needs root and unshare")
    runbook = str(Path(sys.executable).with_name("runbook"))
    done = subprocess.run(
        ["unshare", "-n", runbook, "test", "."], cwd=place.folder, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_failure_tells_place_difference_and_story(place: Place) -> None:
    text = CASES.replace("{outcome: fixed, top: queue-paused", "{outcome: healthy, top: busy")
    (place.folder / "paused.test.yaml").write_text(text)
    finished = place.run("test", ".")
    assert finished.code == 1
    assert "FAILED paused.test.yaml:6: it is resumed" in finished.stdout
    assert "outcome: expected healthy, was fixed" in finished.stdout
    assert "top: expected busy, was queue-paused" in finished.stdout
    assert "cause queue-paused: confirmed" in finished.stdout


def test_a_value_of_another_type_is_never_sent(place: Place) -> None:
    """A target may answer anything: a number where a queue's name stands makes no request."""
    text = PLAYBOOK.replace("resume: default", 'resume: "${{ pending }}"')
    (place.folder / "paused.yaml").write_text(text)
    (place.folder / "paused.test.yaml").write_text(
        CASES[: CASES.index("tests:")] + 'tests:\n  - name: odd\n    gates: {unpause: "yes"}\n'
        "    expect: {outcome: refused, done: [], says: [it is no request any more]}\n"
    )
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said


def test_who_declines_an_undo_is_told_the_way_back_also_after_another_fix(place: Place) -> None:
    again = """\
  - id: again
    title: Resume it once more
    effect: reversible
    asynq: {resume: default}
    undo:
      asynq: {pause: default}
    verify: {until: not stopped, within: 15s}
"""
    (place.folder / "paused.yaml").write_text(PLAYBOOK.replace("fix: [unpause]", "fix: [unpause, again]") + again)
    said = '{unpause: "yes", "unpause:undo": "no", again: "yes", "again:undo": "yes"}'
    (place.folder / "paused.test.yaml").write_text(
        CASES[: CASES.index("tests:")]
        + f"tests:\n  - name: none helps\n    gates: {said}\n    expect: {{outcome: not_fixed, done: [unpause]}}\n"
    )
    loaded = load_playbook((place.folder / "paused.yaml").read_text(), "paused.yaml")
    cases = validate_document((place.folder / "paused.test.yaml").read_text(), "paused.test.yaml", Cases, {})
    result, _ = play(loaded, cases, cases.tests[0], None, used_executors(loaded))
    assert "runbook undo R-CASE" in result.document["next"]


def test_a_step_that_nobody_answers_fails_the_test(place: Place) -> None:
    text = "\n".join(line for line in CASES.splitlines() if not line.startswith("  load:"))
    (place.folder / "paused.test.yaml").write_text(text)
    finished = place.run("test", ".", "-k", "resumed")
    assert finished.code == 1 and "nobody answers step 'load': give it a reply" in finished.stdout


TAKEN_BACK = """\
cases: paused
replies: {waiting: {pending: 500, paused: true}, load: {result: {total_commands_processed: 10, clients: 0}}}
tests:
  - name: nobody is left to take it from
    gates: {unpause: "yes", "unpause:undo": "yes"}
    expect: {outcome: not_fixed, done: [unpause]}
  - name: it is taken back
    gates: {unpause: "yes", "unpause:undo": "yes"}
    after: {unpause: {load: {result: {total_commands_processed: 10, clients: 1}}}}
    expect: {outcome: not_fixed, done: [], says: [it was undone]}
"""


def test_an_undo_has_a_gate_of_its_own_and_its_guard_is_asked_after_the_act(place: Place) -> None:
    """What the guard speaks of is no part of the verification: it must be asked anew."""
    guarded = PLAYBOOK.replace("{pause: default}", "{pause: default}\n      guard: clients > 0")
    guarded = guarded.replace("{commands:", "{clients: result.clients, commands:")
    (place.folder / "paused.yaml").write_text(guarded)
    (place.folder / "paused.test.yaml").write_text(TAKEN_BACK)
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said


def test_too_little_coverage_fails_and_names_what_is_missing(place: Place) -> None:
    (place.folder / "paused.test.yaml").write_text(CASES[: CASES.index("  - name: busy")])
    finished = place.run("test", ".", "--at-least", "100")
    assert finished.code == 1 and "no test visits: cause busy" in finished.stdout
    assert place.run("test", ".").code == 0


def test_files_are_rehearsed_side_by_side_and_covered_together(place: Place) -> None:
    """Two files of one playbook: each leaves out what the other visits. What breaks in one is told beside the other."""
    head, _, tests = CASES.partition("tests:\n")
    cut = tests.index("  - name: healthy")
    (place.folder / "paused.test.yaml").write_text(f"{head}tests:\n{tests[:cut]}")
    (place.folder / "paused.more.test.yaml").write_text(f"{head}tests:\n{tests[cut:]}")
    finished = place.run("test", ".", "--coverage", "--at-least", "100", "--format", "json")
    assert finished.code == 0, finished.said
    first, second = finished.document
    assert first["coverage"] == second["coverage"] == 1.0 and first["missing"] == []
    assert (first["file"], second["file"]) == ("paused.more.test.yaml", "paused.test.yaml")
    broken = tests[cut:].replace("outcome: healthy", "outcome: fixed")
    (place.folder / "paused.more.test.yaml").write_text(f"{head}tests:\n{broken}")
    told = place.run("test", ".")
    assert told.code == 1 and "expected fixed, was healthy" in told.stdout and "paused.test.yaml: 3 of 3" in told.stdout


def test_a_file_that_is_broken_stops_no_other(place: Place) -> None:
    (place.folder / "broken.test.yaml").write_text("cases: paused\ntests: [{nam: x, expect: {outcome: healthy}}]\n")
    (place.folder / "orphan.test.yaml").write_text("cases: nobody\ntests: [{name: x, expect: {outcome: healthy}}]\n")
    finished = place.run("test", ".")
    assert finished.code == 65 and "paused.test.yaml: 8 of 8 passed" in finished.stdout, finished.said
    told = [line for line in finished.stderr.splitlines() if ": RB" in line]
    assert [line.partition(": ")[2] for line in told] == [
        "RB101 unknown key 'nam' in 'tests' of the cases. did you mean 'name'?",
        "RB202 no playbook is called 'nobody': `runbook list` shows the ones there are",
    ]
    assert finished.stderr.rstrip().endswith("2 complaints; what they are about was not rehearsed")
    document = place.run("test", ".", "--format", "json").document
    assert [(each["file"], len(each.get("errors", ()))) for each in document] == [
        ("paused.test.yaml", 0),
        ("broken.test.yaml", 1),
        ("orphan.test.yaml", 1),
    ]
    suites = ElementTree.fromstring(place.run("test", ".", "--format", "junit").stdout)
    assert [suite.get("errors") for suite in suites] == [None, "1", "1"]
    assert "orphan.test.yaml:1:8: RB202" in place.run("validate", ".").stdout
    (place.folder / "paused.test.yaml").unlink()
    assert place.run("test", ".").code == 65


def test_two_tests_of_one_name_are_told_apart_by_their_author(place: Place) -> None:
    head, _, tests = CASES.partition("tests:\n")
    (place.folder / "paused.test.yaml").write_text(f"{head}tests:\n{tests.replace('name: healthy', 'name: declined')}")
    for command in ("validate", "test"):
        finished = place.run(command, ".")
        assert finished.code == 65 and "there is already a test 'declined'. names are unique" in finished.said


def test_a_playbook_with_quoted_keys_is_rehearsed_as_well(place: Place) -> None:
    quoted = PLAYBOOK.replace("asynq:", '"asynq":').replace("redis: [INFO]", '"redis": [INFO]')
    (place.folder / "paused.yaml").write_text(quoted)
    assert place.run("test", ".").code == 0


def test_what_changes_while_a_person_thinks_and_what_a_limit_refuses(place: Place) -> None:
    (place.folder / "paused.yaml").write_text(PLAYBOOK.replace("    undo:", "    limit: {affected: 1}\n    undo:"))
    head = CASES[: CASES.index("tests:")]
    (place.folder / "paused.test.yaml").write_text(
        f"{head}tests:\n"
        "  - name: somebody else resumed it\n"
        '    gates: {unpause: "yes"}\n'
        "    meanwhile: {unpause: {waiting: {pending: 3, paused: false}}}\n"
        "    expect: {outcome: refused, done: [], says: [guard no longer holds]}\n"
        "  - name: two queues would be resumed\n"
        '    gates: {unpause: "yes"}\n'
        "    replies: {unpause: {affected: 2}}\n"
        "    expect: {outcome: refused, done: [], says: [the limit is 1], scores: {queue-paused: 6},\n"
        "             impacts: {unpause: 500 jobs start}}\n"
    )
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said


def test_a_target_that_is_never_away_is_named(place: Place) -> None:
    half = CASES.replace("unreachable: [redis]", "replies: {waiting: {error: {code: refused, message: no}}}")
    half = half.replace("unknown: [stopped, commands]", "unknown: [stopped]").replace(
        "says: [no target answered]", "says: []"
    )
    (place.folder / "paused.test.yaml").write_text(half)
    assert "redis unreachable" in place.run("test", ".", "--coverage").stdout
    (place.folder / "paused.test.yaml").write_text(CASES)
    assert "redis unreachable" not in place.run("test", ".", "--coverage").stdout


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (CASES.replace("expect: {outcome: fixed,", "expects: {outcome: fixed,"), "expects"),
        (CASES.replace("cases: paused\n", "cases: nowhere-to-be-found\n"), "nowhere-to-be-found"),
        (
            CASES.replace("gates: {unpause:", "gates: {unpuase:", 1),
            "8:13: RB202 paused has no gate 'unpuase'. did",
        ),
        (
            CASES.replace("unreachable: [redis]", "unreachable: [rdis]"),
            "20:19: RB202 paused has no target 'rdis'. did",
        ),
        (
            CASES.replace("  waiting: {pending", "  waitng: {pending", 1),
            "3:3: RB202 paused has no step 'waitng'. did",
        ),
        (CASES.replace("expect: {outcome: not_fixed}", "expect: {}"), "expects nothing"),
        ("cases: paused\ntests: []\n", "tests"),
        (
            CASES.replace("declined\n", "declined\n    inputs: {mots: 3}\n"),
            "11:14: RB202 paused has no input 'mots'",
        ),
        (
            CASES.replace("{pending: 500, paused", "{pendng: 500, paused", 1),
            "3:13: RB202 no answer to step",
        ),
        (
            CASES.replace("change: {paused", "change: {row.paused"),
            "28:26: RB202 no answer to step",
        ),
        (
            CASES.replace("facts: {commands", "facts: {comands"),
            "9:74: RB202 paused has no fact 'comands'",
        ),
        (
            CASES.replace("outcome: healthy", "outcome: heathy"),
            "18:23: RB104 'tests.expect.outcome'",
        ),
        (
            CASES.replace("{busy: confirmed", "{bsy: confirmed"),
            "35:43: RB202 paused has no cause 'bsy'",
        ),
    ],
    ids=[
        "a-misspelt-key",
        "no-such-playbook",
        "no-such-action",
        "no-such-target",
        "no-such-step",
        "nothing-expected",
        "no-tests",
        "no-such-input",
        "no-such-part-of-an-answer",
        "no-such-part-to-change",
        "no-such-fact",
        "no-such-outcome",
        "no-such-cause",
    ],
)
def test_a_broken_file_is_refused_with_its_mend(place: Place, broken: str, says: str) -> None:
    (place.folder / "paused.test.yaml").write_text(broken)
    finished = place.run("test", ".")
    assert finished.code in (2, 65) and says in finished.stderr and "Traceback" not in finished.said


def test_junit_counts_what_failed(place: Place) -> None:
    text = CASES.replace("expect: {outcome: not_fixed}", "expect: {outcome: fixed}")
    (place.folder / "paused.test.yaml").write_text(text)
    finished = place.run("test", ".", "--format", "junit")
    assert finished.code == 1 and 'tests="8" failures="1"' in finished.stdout and "was not_fixed" in finished.stdout


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("declined\n", "declined\n    cassette: ../../etc/passwd\n"), "no file beside it"),
        (("declined\n", "declined\n    replies: {waiting: {error: {code: refused}}}\n"), "needs a code and a message"),
        (("declined\n", "declined\n    replies: {waiting: {answer: 1, seconds: 2s}}\n"), "seconds"),
        (("declined\n", "declined\n    inputs: {most: some}\n"), "most"),
        (("declined\n", "declined\n    replies: {waiting: {change: {pending.old: 3}}}\n"), "there is no 'old'"),
    ],
    ids=["a-cassette-elsewhere", "half-an-error", "no-number", "no-such-value", "no-such-part"],
)
def test_what_breaks_in_one_test_fails_it_and_no_other(place: Place, change: tuple[str, str], says: str) -> None:
    (place.folder / "paused.test.yaml").write_text(CASES.replace(*change, 1))
    finished = place.run("test", ".", "--format", "json")
    (document,) = finished.document
    failed = [test for test in document["tests"] if not test["passed"]]
    assert finished.code == 1 and [test["name"] for test in failed] == ["declined"]
    assert says in failed[0]["differences"][0] and "Traceback" not in finished.said


def test_a_plan_carries_nothing_out(place: Place) -> None:
    text = CASES.replace("  - name: declined\n", "  - name: declined\n    mode: plan\n").replace(
        'gates: {unpause: "no"}\n    expect: {outcome: refused, exit_code: 1, offered: [unpause], done: []}',
        "expect: {outcome: diagnosed, offered: [unpause], done: []}",
    )
    (place.folder / "paused.test.yaml").write_text(text)
    assert place.run("test", ".").code == 0


def test_no_test_chosen_is_no_success(place: Place) -> None:
    assert place.run("test", ".", "-k", "nothing like it").code == 2
    assert place.run("test", ".", "-k", "resumed", "--at-least", "10").code == 2


def test_the_second_request_of_an_action_has_a_reply_of_its_own(place: Place) -> None:
    act = "    asynq: {resume: default}\n"
    each = PLAYBOOK.replace(act, "    each: \"['a', 'b']\"\n" + act)
    (place.folder / "paused.yaml").write_text(each)
    failing = '[{affected: 1}, {error: {code: WRONGTYPE, message: no}, happened: "no"}]'
    (place.folder / "paused.test.yaml").write_text(
        CASES[: CASES.index("tests:")]
        + f'tests:\n  - name: half\n    gates: {{unpause: "yes"}}\n    replies: {{unpause: {failing}}}\n'
        "    expect: {outcome: not_fixed}\n"
    )
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said


@pytest.mark.xdist_group("sandbox")
def test_a_recorded_run_gives_the_same_story_offline_and_notices_a_changed_question(
    sandbox: State, linkflow: Place, tmp_path: Path
) -> None:
    control.restore(sandbox)
    control.break_(sandbox, "F32", 4)
    kept = tmp_path / "kept"
    live = linkflow.run("run", "queue-backlog", "--approve", "unpause", "--record", str(kept), "--output", "json")
    assert live.code == 0, live.said
    (cassette,) = kept.glob("*.jsonl")
    assert all(password not in cassette.read_text() for password in sandbox.passwords.values())
    expect = json.dumps({"outcome": "fixed", "top": "queue-paused", "done": ["unpause"]})
    (kept / "queue-backlog.test.yaml").write_text(
        f"cases: queue-backlog\ntests:\n  - {{name: as it was, cassette: {cassette.name}, expect: {expect}}}\n"
    )
    place = Place(kept, tmp_path / "state")
    finished = place.run("test", ".")
    assert finished.code == 0, finished.said
    loaded = load("queue-backlog")
    played = read_cassette(cassette.read_text(), "kept")
    assert replayed(loaded, played, used_executors(loaded)) == ()
    assert played.end is not None
    other = replace(played, end={**played.end, "causes": played.end["causes"][1:]})
    assert replayed(loaded, other, used_executors(loaded))[0].startswith("cause ranked")
    lines = cassette.read_text().replace("rb:canary", "rb:another")
    cassette.write_text(lines)
    changed = place.run("test", ".")
    assert changed.code == 1 and "step 'canary' asks something else than was recorded" in changed.stdout


def test_the_cassette_of_another_playbook_is_not_played(tmp_path: Path) -> None:
    """It would answer nothing, or by chance something else."""
    header = {"cassette": 1, **{key: {} for key in HEADER}, "run": "R-1", "playbook": "other"}
    (tmp_path / "kept.jsonl").write_text(json.dumps(header) + "\n")
    with pytest.raises(UsageError, match=r"kept\.jsonl is of 'other', not of 'paused'"):
        cassette_of(tmp_path / "paused.test.yaml", "kept.jsonl", "paused")
