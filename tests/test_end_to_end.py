"""From one command to a verified fix: a LinkFlow that is really broken, and nothing left of it afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Place

DOCUMENT = {
    "version", "run", "playbook", "digest", "environment", "outcome", "exit_code", "reason", "symptoms", "facts",
    "unknown", "causes", "actions", "unchecked", "seconds",
}  # fmt: skip
SYMPTOM = {"id", "present", "recovering", "title", "because"}
CAUSE = {"id", "verdict", "score", "title", "for", "against", "explained_by", "fix"}
ACTION = {"id", "effect", "decision", "status", "impact", "items", "verified", "held"}


@pytest.mark.parametrize(
    ("fault", "words", "cause", "action"),
    [
        pytest.param("F32", ("--approve", "unpause"), "queue-paused", "unpause", id="paused-and-approved-in-advance"),
        pytest.param("F30", (), "no-workers", "start-workers", id="killed-workers-and-nobody-at-a-terminal"),
    ],
)
def test_the_demo_ends_fixed_with_one_document_and_no_process_left(
    tmp_path: Path, fault: str, words: tuple[str, ...], cause: str, action: str
) -> None:
    place = Place(tmp_path, tmp_path / "state")
    command = ("demo", "queue-backlog", "--fault", fault, *words, "--output", "json")
    finished, survivors = place.run_and_look_for_survivors(tmp_path, *command)
    assert finished.code == 0, finished.stderr
    assert survivors == []
    document = finished.document
    assert document.keys() >= DOCUMENT and document["version"] == 1
    assert (document["outcome"], document["exit_code"], document["environment"]) == ("fixed", 0, "sandbox")
    assert document["digest"].startswith("sha256:") and document["seconds"] > 0
    assert all(symptom.keys() >= SYMPTOM for symptom in document["symptoms"])
    assert all(found.keys() >= CAUSE for found in document["causes"])
    assert (document["causes"][0]["id"], document["causes"][0]["verdict"]) == (cause, "confirmed")
    assert [cause["verdict"] for cause in document["causes"]].count("confirmed") == 1
    assert len(document["actions"]) == 1
    done = document["actions"][0]
    assert done.keys() >= ACTION
    assert (done["id"], done["status"], done["verified"], done["held"]) == (action, "done", True, True)
    assert done["decision"]["verdict"] == "yes" and done["decision"]["by"] and done["decision"]["how"]
    assert "Traceback" not in finished.stderr and "\x1b" not in finished.said
    assert place.problems_of(document["run"]) == []
    report = place.run("report", document["run"], "--format", "json")
    assert report.document == document
    assert f"run {document['run']}" in place.run("report", "last").stdout


@pytest.mark.xdist_group("sandbox")
def test_a_healthy_linkflow_is_called_healthy_and_nothing_is_offered(linkflow: Place) -> None:
    finished = linkflow.run("run", "queue-backlog", "--output", "json")
    assert finished.code == 0, finished.stderr
    assert (finished.document["outcome"], finished.document["actions"]) == ("healthy", [])
