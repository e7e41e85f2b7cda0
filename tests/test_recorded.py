"""A recorded run against a playbook that has changed since: what is asked otherwise, newly, or no more."""

from __future__ import annotations

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Place
from test_cases import PLAYBOOK

from runbook_engine.cases import Case, Expectation, StoryError
from runbook_engine.cassette import Cassette, Recorded, question_of
from runbook_engine.cast import CaseCast
from runbook_engine.events import CallRequested
from runbook_engine.loader import load_playbook
from runbook_engine.recorded import first_difference, no_longer_asked, place_of
from runbook_engine.rehearsal import Line


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "paused.yaml").write_text(PLAYBOOK)
    return Place(folder, tmp_path / "state")


def cassette(folder: Path, *, pack: bool = False, **changes: object) -> Path:
    """A recorded run of `paused`, as `run --record` would have written it."""
    header = {
        "cassette": 1,
        "run": "R-1",
        "playbook": "paused",
        "digest": "sha256:old",
        "inputs": {"most": 10},
        "environment": "test",
        "targets": {"redis": "redis"},
        "places": {},
        "policy": {},
        "baselines": {},
        "pace": 1.0,
        "budget": 60.0,
        "mode": "run",
        "wall": 1_800_000_000.0,
    }
    asked = {"executor": "asynq", "target": "redis", "overrides": {}, "bindings": {}, "idents": {}, "effect": "read"}
    infos = [(f"load/1/{n}", "load", "redis", ["INFO"], {"result": {"total_commands_processed": n}}) for n in (1, 2)]
    calls = [("waiting/1/1", "waiting", "asynq", {"inspect": "default"}, {"pending": 500, "paused": True}), *infos]
    lines: list[dict[str, object]] = [header]
    for name, step, executor, request, answer in calls:
        question = {**asked, "executor": executor, "request": changes.get(step, request)}
        lines.append({"call": name, "step": step, "asked": question, "reply": {"answer": answer}})
    if "gone" in changes:
        question = {**asked, "request": ["PING"]}
        lines.append({"call": "gone/1/1", "step": "gone", "asked": question, "reply": {"answer": {}}})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    file = folder / ("old.jsonl.gz" if pack else "old.jsonl")
    file.write_bytes(gzip.compress(text.encode()) if pack else text.encode())
    return file


RECORDED = "cases: paused\ntests:\n  - {name: recorded, cassette: old.jsonl, expect: {outcome: refused}}\n"


def test_a_changed_query_fails_at_its_place_in_the_playbook(place: Place) -> None:
    (place.folder / "paused.test.yaml").write_text(RECORDED)
    cassette(place.folder)
    assert place.run("test", ".").code == 0
    cassette(place.folder, load=["INFO", "memory"])
    told = place.run("test", ".")
    assert told.code == 1 and "FAILED paused.test.yaml:3: recorded" in told.stdout
    assert (
        "paused.yaml:16:5: step 'load' asks something else than was recorded: "
        'request was ["INFO", "memory"], is ["INFO"]. '
        "record it again with `runbook run --record DIR`, or give the step a reply"
    ) in told.stdout


def test_a_new_step_fails_and_a_removed_one_is_told(place: Place) -> None:
    (place.folder / "paused.test.yaml").write_text(RECORDED)
    cassette(place.folder, gone=True)
    told = place.run("test", ".")
    assert told.code == 0
    assert "NOTE paused.test.yaml:3: recorded: recorded step 'gone' is not asked any more" in told.stdout
    assert "recorded step 'gone'" in place.run("test", ".", "--format", "junit").stdout
    (document,) = place.run("test", ".", "--format", "json").document
    assert document["tests"][0]["notes"][0].endswith("the playbook has no such step")
    another = "  - {id: more, title: More, redis: [PING], facts: {pong: result}}\ncauses:\n"
    (place.folder / "paused.yaml").write_text(PLAYBOOK.replace("causes:\n", another))
    told = place.run("test", ".")
    assert told.code == 1 and "paused.yaml:19:29: nobody answers step 'more': it is new since the record" in told.stdout


def test_a_step_that_the_same_story_asks_no_more_is_told() -> None:
    loaded = load_playbook(PLAYBOOK, "paused.yaml")
    asked = {"request": ["INFO"]}
    kept = Cassette({"run": "R-1"}, {"load/1/1": Recorded("load", asked, Line())})
    as_it_was = Case(name="x", cassette="c", expect=Expectation(outcome="fixed"))
    assert list(no_longer_asked(loaded, kept, as_it_was, {"load"})) == []
    assert "look at its `when`" in next(no_longer_asked(loaded, kept, as_it_was, set()))
    other = as_it_was.model_copy(update={"replies": {"waiting": {}}})
    assert list(no_longer_asked(loaded, kept, Case(**{**other.model_dump(), "expect": other.expect}), set())) == []


def test_the_place_of_a_step_is_that_of_its_question() -> None:
    loaded = load_playbook(PLAYBOOK, "paused.yaml")
    assert place_of(loaded, "waiting") == ("paused.yaml", 10, 5)
    assert place_of(loaded, "unpause") == ("paused.yaml", 32, 5)
    assert place_of(loaded, "unpause:undo") == ("paused.yaml", 34, 7)
    assert place_of(loaded, "waiting", "bindings") == ("paused.yaml", 10, 5)
    assert place_of(loaded, "nothing") is None


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        (["GET", "a"], ["GET", "b"], ("request[1]", "'a'", "'b'")),
        ({"a": 1, "b": 2}, {"a": 1, "c": 2}, ("request.c", "null", "2")),
        ("select " + "x" * 90 + "1", "select " + "x" * 90 + "2", ("request", f"'…{'x' * 24}1'", f"'…{'x' * 24}2'")),
        (["a"], ["a", "b"], ("request", '["a"]', '["a", "b"]')),
        ("select 1", "select 12", ("request", "'select 1'", "'select 12'")),
    ],
    ids=["in-a-list", "another-key", "far-inside-a-text", "one-more", "longer"],
)
def test_the_first_difference_is_shown_and_no_more(was: object, now: object, told: tuple[str, str, str]) -> None:
    assert first_difference(was, now, "request") == told


def test_a_sample_that_came_too_late_for_the_recorded_run_is_not_waited_for() -> None:
    """It was due at the moment when the run had heard enough; a replay may be due a hair earlier."""
    request = CallRequested("load/1/2", "load", "Load", "redis", "redis", {}, "read", "observe", ["INFO"])
    first = replace(request, id="load/1/1")
    recorded = Recorded("load", question_of(first), Line(answer={"result": {}}))
    cast = CaseCast(
        Case(name="x", expect=Expectation(outcome="healthy")), {}, Cassette({"run": "R-1"}, {first.id: recorded})
    )
    assert cast.call(request).seconds == math.inf
    with pytest.raises(StoryError, match="nobody answers step 'load': it was not asked when this was recorded"):
        replace(cast, cassette=Cassette({"run": "R-1"})).call(request)
    with pytest.raises(StoryError, match="nobody answers step 'load': it is new since the recording"):
        replace(cast, cassette=Cassette({"run": "R-1", "digest": "sha256:1"}), digest="sha256:2").call(request)
