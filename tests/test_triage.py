"""Triage on a LinkFlow that is really broken: which playbooks apply, in which order, and what is asked only once."""

from __future__ import annotations

import json
import os
import signal

import pytest
from commands import Place

from runbook_engine.matrix import load
from runbook_engine.sandbox import control
from runbook_engine.sandbox.state import State
from runbook_engine.triage import Finding, in_order

pytestmark = pytest.mark.xdist_group("sandbox")


def found(document: dict[str, object], verdict: str) -> list[str]:
    rows = document["playbooks"]
    assert isinstance(rows, list)
    return [row["playbook"] for row in rows if row["verdict"] == verdict]


def test_a_healthy_linkflow_needs_no_playbook(sandbox: State, linkflow: Place) -> None:
    control.restore(sandbox)
    finished = linkflow.run("triage", "--output", "json")
    document = finished.document
    assert (finished.code, found(document, "applies"), found(document, "unknown")) == (0, [], []), finished.said
    assert {"queue-backlog", "lock-contention"} <= set(found(document, "clear"))
    assert document["sent"] <= document["questions"]


def test_what_applies_is_named_with_its_reason_and_the_alert_that_rang(sandbox: State, linkflow: Place) -> None:
    control.restore(sandbox)
    control.break_(sandbox, "F32", 3)
    payload = {"alerts": [{"status": "firing", "labels": {"alertname": "QueueBacklog"}}]}
    (linkflow.folder / "alert.json").write_text(json.dumps(payload))
    try:
        finished = linkflow.run("triage", "--alert", "alert.json", "--output", "json")
        shown = linkflow.run("triage")
    finally:
        control.heal(sandbox)
    document = finished.document
    assert finished.code == 1 and "queue-backlog" in found(document, "applies")
    row = next(row for row in document["playbooks"] if row["playbook"] == "queue-backlog")
    assert "worst.pending >= backlog" in row["because"]
    assert document["alerts"][0]["matches"][0]["playbook"] == "queue-backlog"
    assert "PRESENT" in shown.stdout and "next  runbook run " in shown.stdout and "\x1b" not in shown.stdout


def test_at_a_terminal_it_says_who_has_not_answered_yet(sandbox: State, linkflow: Place) -> None:
    control.restore(sandbox)
    control.break_(sandbox, "F32", 3)
    try:
        with linkflow.at_a_terminal("triage") as screen:
            screen.see(r"\r\x1b\[K  \d+ playbooks? still to answer")
            assert screen.end() == 1
    finally:
        control.heal(sandbox)
    assert "\x1b[K  0 playbooks still to answer" in screen.shown  # the last one has been counted
    drawn, _, rest = screen.shown.rpartition("still to answer")
    assert "; applies: " in drawn + rest and rest.count("\x1b[K") == 1, screen.shown
    assert "PRESENT" in rest.partition("\x1b[K")[2]


def test_a_frozen_postgres_makes_its_symptoms_unknown_and_the_others_are_answered(
    sandbox: State, linkflow: Place
) -> None:
    control.restore(sandbox)
    pids = control.status(sandbox.folder)["pids"]["postgres"]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        finished = linkflow.run("triage", "--budget", "15s", "--output", "json")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert "lock-contention" in found(finished.document, "unknown"), finished.said
    assert finished.document["seconds"] < 30 and "Traceback" not in finished.said


def test_what_brings_others_about_comes_first() -> None:
    backlog, locks = load("queue-backlog").playbook, load("lock-contention").playbook
    upstream = locks.model_copy(update={"explains": ("queue-backlog",)})
    findings = [Finding(each.name, each.title, "applies") for each in (backlog, locks)]
    ordered = in_order(findings, [backlog, upstream])
    assert [(each.playbook, each.after) for each in ordered] == [
        ("lock-contention", ()),
        ("queue-backlog", ("lock-contention",)),
    ]


def test_an_alert_stands_in_for_the_name_of_its_playbook(sandbox: State, linkflow: Place) -> None:
    control.restore(sandbox)
    (linkflow.folder / "alert.json").write_text('{"labels": {"alertname": "QueueBacklog"}}')
    for word in ("QueueBacklog", "alert.json"):
        finished = linkflow.run("run", word, "--output", "json")
        assert (finished.code, finished.document["playbook"]) == (0, "queue-backlog"), finished.said
        assert "by alertname=QueueBacklog" in finished.stderr
    (linkflow.folder / "alert.json").write_text('{"labels": {"alertname": "SomethingElse"}}')
    refused = linkflow.run("run", "alert.json")
    assert refused.code == 2 and "no playbook is for the alert" in refused.stderr
    assert linkflow.run("match", "--alert", "alert.json").code == 1
