"""Past alerts against playbooks: what nobody answers, and who would never be called."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from runbook_engine.loader import load_playbook
from runbook_engine.model import Playbook
from runbook_engine.past_alerts import judge

ROOT = Path(__file__).parent.parent


def text_of(name: str, *alerts: dict[str, str], inputs: str = "{}") -> str:
    return (
        f"runbook: 1\nname: {name}\ntitle: A playbook\ntargets: {{redis: redis}}\nalerts: {json.dumps(alerts)}\n"
        f"inputs: {inputs}\nsymptoms:\n  - id: one\n    redis: [PING]\n    facts: {{pong: result}}\n"
        "    present: pong != 'PONG'\n"
    )


def playbook(name: str, *alerts: dict[str, str], inputs: str = "{}") -> Playbook:
    return load_playbook(text_of(name, *alerts, inputs=inputs), f"{name}.yaml", libraries={}).playbook


BACKLOG = playbook(
    "backlog", {"alertname": "QueueBacklog"}, inputs="{queue: {type: integer, optional: true, label: queue}}"
)
CRITICAL = playbook("critical", {"alertname": "QueueBacklog", "severity": "critical"})
LOCKS = playbook("locks", {"alertname": "LockContention", "service": "db"}, {"alertname": "Deadlocks"})
SILENT = playbook("silent")


def past(*alerts: dict[str, str]) -> list[tuple[dict[str, str], str]]:
    return [(labels, f"past.jsonl:{number}") for number, labels in enumerate(alerts, 1)]


def test_each_kind_of_alert_is_told_once_with_its_playbook() -> None:
    judged = judge(
        past(
            {"alertname": "Deadlocks", "instance": "a"},
            {"alertname": "Deadlocks", "instance": "b"},
            {"alertname": "QueueBacklog"},
        ),
        [LOCKS, BACKLOG],
    )
    assert [(kind.alertname, kind.fate, kind.playbooks, kind.times) for kind in judged.kinds] == [
        ("Deadlocks", "one", ("locks",), 2),
        ("QueueBacklog", "one", ("backlog",), 1),
    ]
    assert not judged.unanswered and not judged.never


def test_an_alert_that_none_is_for_is_told_with_the_nearest() -> None:
    (kind,) = judge(past({"alertname": "QueueBaklog"}, {"alertname": "QueueBaklog"}), [BACKLOG, LOCKS]).unanswered
    assert (kind.fate, kind.times, kind.place) == ("none", 2, "past.jsonl:1")
    assert kind.why == "nearest backlog: alertname is 'QueueBaklog', not 'QueueBacklog'"


def test_an_alert_for_several_alike_is_a_question_at_night() -> None:
    twin = playbook("twin", {"alertname": "QueueBacklog"})
    (kind,) = judge(past({"alertname": "QueueBacklog"}), [BACKLOG, twin]).unanswered
    assert (kind.fate, kind.playbooks) == ("several", ("backlog", "twin"))


def test_more_labels_decide() -> None:
    judged = judge(past({"alertname": "QueueBacklog", "severity": "critical"}), [BACKLOG, CRITICAL])
    assert [kind.playbooks for kind in judged.kinds] == [("critical",)]
    assert list(judged.never) == ["backlog"]
    (entry,) = judged.never["backlog"]
    assert (entry.matched, entry.chosen) == (1, 0)
    assert entry.why == "critical names more labels of every alert that it matches"


def test_a_playbook_that_no_alert_calls_is_told_with_what_stands_against_it() -> None:
    judged = judge(past({"alertname": "LockContention", "service": "database"}), [LOCKS])
    assert [entry.why for entry in judged.never["locks"]] == [
        (
            "no past alert has alertname=LockContention, service=db; of the nearest alertname=LockContention, "
            "service is 'database', not 'db'"
        ),
        "no past alert has alertname=Deadlocks",
    ]


def test_an_entry_that_never_decides_is_no_failure_where_another_does() -> None:
    judged = judge(past({"alertname": "Deadlocks"}), [LOCKS])
    assert not judged.never
    assert [(entry.playbook, entry.index) for entry in judged.idle] == [("locks", 0)]


def test_a_playbook_for_no_alert_can_not_be_expected_to_match() -> None:
    judged = judge(past({"alertname": "Deadlocks"}), [LOCKS, SILENT])
    assert judged.without == ["silent"] and not judged.never


def test_what_needs_no_playbook_is_ignored_by_its_name() -> None:
    judged = judge(past({"alertname": "Watchdog"}, {"alertname": "Deadlocks"}), [LOCKS], ["Watch*"])
    assert [(kind.alertname, kind.fate) for kind in judged.kinds] == [("Deadlocks", "one"), ("Watchdog", "ignored")]
    assert judge(past({"alertname": "Watchdog"}), [LOCKS], ["watch*"]).unanswered, "names of alerts have their case"


def test_a_label_that_the_playbook_does_not_take_is_told() -> None:
    (kind,) = judge(past({"alertname": "QueueBacklog", "queue": "emails"}), [BACKLOG]).kinds
    assert kind.fate == "one" and len(kind.unfit) == 1 and kind.unfit[0].startswith("label queue: ")


# By the command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "books").mkdir()
    (tmp_path / "past").mkdir()
    (tmp_path / "books" / "locks.yaml").write_text(text_of("locks", {"alertname": "Deadlocks"}))
    (tmp_path / "books" / "backlog.yaml").write_text(text_of("backlog", {"alertname": "QueueBacklog"}))
    (tmp_path / "past" / "one.json").write_text(
        json.dumps({"alerts": [{"status": "resolved", "labels": {"alertname": "Deadlocks"}}]})
    )
    return tmp_path


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runbook_engine", "test", *words],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), "NO_COLOR": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_resolved_alert_of_the_past_counts(folder: Path) -> None:
    done = run(folder, "books/locks.yaml", "--alerts", "past")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "past: 1 of 1 alerts have their playbook; 1 of 1 playbooks would be called\n"


def test_who_is_never_called_fails_at_its_line(folder: Path) -> None:
    done = run(folder, "books", "--alerts", "past")
    assert done.returncode == 1
    assert done.stdout.splitlines()[:2] == [
        "FAILED books/backlog.yaml:5:10: no past alert would call backlog",
        "    no past alert has alertname=QueueBacklog",
    ]


def test_lines_of_a_log_of_payloads_are_read_each(folder: Path) -> None:
    lines = [{"labels": {"alertname": "QueueBacklog"}}, {"labels": {"alertname": "Unheard\u001b[2J"}}]
    (folder / "past" / "log.jsonl").write_text("\n\n".join(map(json.dumps, lines)) + "\n")
    done = run(folder, "books", "--alerts", "past")
    assert done.returncode == 1
    assert "FAILED past/log.jsonl:3: no playbook is for Unheard␛[2J (1 time)" in done.stdout
    assert "\x1b" not in done.stdout


def test_every_file_that_is_no_payload_is_told_at_once(folder: Path) -> None:
    (folder / "past" / "a.json").write_text("alertname: x")
    (folder / "past" / "b.json").write_bytes(b"\xff\xfe{}")
    (folder / "past" / "c.json").write_text("{}")
    done = run(folder, "books", "--alerts", "past")
    assert done.returncode == 2 and not done.stdout
    assert all(f"past/{name}.json" in done.stderr for name in "abc")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["books", "--alerts", "nowhere"], "nowhere is no folder with alerts"),
        (["books", "--ignore-alert", "x"], "--ignore-alert belongs to --alerts"),
        (["books", "--alerts", "past", "--watch"], "leave out --watch"),
        (["nothing.yaml", "--alerts", "past"], "nothing.yaml"),
        (["past", "--alerts", "past"], "past holds no playbook"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, words: list[str], says: str) -> None:
    done = run(folder, *words)
    assert done.returncode == 2 and says in done.stderr, done.stderr


def test_json_and_junit_have_both(folder: Path) -> None:
    done = run(folder, "books", "--alerts", "past", "--format", "json")
    document: Any = json.loads(done.stdout)
    assert document["tests"] == [] and document["alerts"]["never"] == ["backlog"]
    assert document["alerts"]["alerts"][0]["playbooks"] == ["locks"]
    done = run(folder, "books", "--alerts", "past", "--format", "junit")
    suite = ElementTree.fromstring(done.stdout).find("testsuite")
    assert suite is not None and (suite.get("tests"), suite.get("failures")) == ("3", "1")


def test_our_playbooks_are_called_by_the_example() -> None:
    done = run(
        ROOT, "playbooks", "-k", "Without a duration", "--alerts", "examples/alerts", "--ignore-alert", "Watchdog"
    )
    assert done.returncode == 0, done.stdout
    assert "16 of 17 alerts have their playbook; 1 ignored" in done.stdout
