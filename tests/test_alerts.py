"""Which playbook an alert is for, from the payloads that really arrive."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runbook_engine.alerts import match, named, read_alerts
from runbook_engine.catalog import entries, folders
from runbook_engine.errors import UsageError
from runbook_engine.loader import load_playbook
from runbook_engine.matrix import load
from runbook_engine.model import Playbook


def playbook(name: str, *alerts: dict[str, str], inputs: str = "{}") -> Playbook:
    text = (
        f"runbook: 1\nname: {name}\ntitle: A playbook\ntargets: {{redis: redis}}\nalerts: {json.dumps(alerts)}\n"
        f"inputs: {inputs}\nsymptoms:\n  - id: one\n    redis: [PING]\n    facts: {{pong: result}}\n"
        "    present: pong != 'PONG'\n"
    )
    return load_playbook(text, "memory.yaml", libraries={}).playbook


BACKLOG = playbook(
    "backlog", {"alertname": "QueueBacklog"}, inputs="{queue: {type: string, optional: true, label: queue}}"
)
CRITICAL = playbook("critical", {"alertname": "QueueBacklog", "severity": "critical"})
LOCKS = playbook("locks", {"alertname": "LockContention", "service": "db"}, {"alertname": "Deadlocks"})
KNOWN = [LOCKS, BACKLOG, CRITICAL]
WEBHOOK = {
    "version": "4",
    "groupKey": '{}:{alertname="QueueBacklog"}',
    "status": "firing",
    "receiver": "oncall",
    "groupLabels": {"alertname": "QueueBacklog"},
    "commonLabels": {"alertname": "QueueBacklog", "severity": "warning"},
    "commonAnnotations": {},
    "externalURL": "http://alertmanager",
    "alerts": [
        {"status": "firing", "labels": {"queue": "default"}, "startsAt": "2026-11-23T03:00:00Z"},
        {"status": "resolved", "labels": {"queue": "emails"}},
    ],
}


def test_a_webhook_gives_its_firing_alerts_with_the_common_labels() -> None:
    assert read_alerts(json.dumps(WEBHOOK), "x") == [
        {"alertname": "QueueBacklog", "severity": "warning", "queue": "default"}
    ]


@pytest.mark.parametrize(
    "document",
    [
        [
            {"labels": {"alertname": "A"}, "status": {"state": "active"}},
            {"labels": {"alertname": "B"}, "status": {"state": "suppressed"}},
        ],
        {"labels": {"alertname": "A"}},
        {"alertname": "A"},
    ],
    ids=["the-list-of-the-api", "one-alert", "bare-labels"],
)
def test_other_shapes_are_read_as_well(document: Any) -> None:
    assert read_alerts(json.dumps(document), "x") == [{"alertname": "A"}]


@pytest.mark.parametrize(
    "text", ["", "not json", "[]", "3", '{"alerts": []}', '{"alerts": [{"status": "resolved"}]}', "[" * 5000]
)
def test_what_holds_no_alert_says_what_was_expected(text: str) -> None:
    with pytest.raises(UsageError, match="expected"):
        read_alerts(text, "alert.json")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["alerts", "labels", "status", "state", "commonLabels", "alertname"]), inner, max_size=4
            )
        ),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(document: Any) -> None:
    try:
        alerts = read_alerts(json.dumps(document), "x")
    except UsageError:
        return
    for labels in alerts:
        match(labels, KNOWN)


NAMED = {"labels": {"alertname": "B"}}
SUPPRESSED = {"labels": {"alertname": "A"}, "status": {"state": "suppressed"}}
PENDING = {"labels": {"alertname": "A"}, "state": "pending"}


@pytest.mark.parametrize(
    ("document", "names"),
    [
        ([{"labels": {"g": "1"}, "alerts": [SUPPRESSED, NAMED]}], ["B"]),
        ({"status": "success", "data": {"alerts": [PENDING, {**NAMED, "state": "firing"}]}}, ["B"]),
        ([{"labels": {"alertname": "Noise"}}] * 300 + [NAMED], ["Noise", "B"]),
    ],
    ids=["groups-of-the-api", "prometheus", "many-alike"],
)
def test_nested_alerts_and_their_states_are_read(document: Any, names: list[str]) -> None:
    assert [labels["alertname"] for labels in read_alerts(json.dumps(document), "x")] == names


def test_a_label_that_does_not_fit_its_input_is_left_out_and_said() -> None:
    queue = '{queue: {type: string, optional: true, label: queue, pattern: "^[a-z]+$"}}'
    strict = playbook("strict", {"alertname": "A"}, inputs=queue)
    hits, _ = match({"alertname": "A", "queue": "x; rm -rf /"}, [strict])
    assert hits[0].inputs == {} and "queue" in hits[0].unfit[0]


def test_no_two_shipped_playbooks_claim_an_alert_equally() -> None:
    places = folders({}, Path("/nonexistent"))
    claims = Counter(
        tuple(sorted(alert.items()))
        for entry in entries(places)
        if entry.kind == "runbook"
        for alert in load(entry.name).playbook.alerts
    )
    assert [claim for claim, times in claims.items() if times > 1] == []


def test_the_most_specific_playbook_comes_first_with_the_labels_that_decided() -> None:
    hits, near = match({"alertname": "QueueBacklog", "severity": "critical", "queue": "default"}, KNOWN)
    assert [(hit.playbook, hit.why()) for hit in hits] == [
        ("critical", "alertname=QueueBacklog, severity=critical"),
        ("backlog", "alertname=QueueBacklog"),
    ]
    assert near == []


def test_labels_give_the_inputs_that_ask_for_them() -> None:
    hits, _ = match({"alertname": "QueueBacklog", "queue": "default"}, KNOWN)
    assert (hits[0].playbook, hits[0].inputs) == ("backlog", {"queue": "default"})


def test_near_misses_say_which_label_differs() -> None:
    hits, near = match({"alertname": "LockContention", "service": "web"}, KNOWN)
    assert hits == []
    assert [(each.playbook, each.why()) for each in near] == [
        ("locks", "alertname=LockContention, service is 'web', not 'db'")
    ]
    _, near = match(named("QueueBacklogs")[0], KNOWN)
    assert [each.playbook for each in near] == ["backlog", "critical"]
    assert match(named("DiskFull")[0], KNOWN) == ([], [])
