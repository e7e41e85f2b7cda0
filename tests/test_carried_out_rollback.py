"""A bad version, really taken back and really brought forward again; and debug mode that ends by itself."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from carried_out import Trial, action_of, assert_fixed, broken
from commands import Place

from runbook_engine.sandbox import control, release_ledger, releases
from runbook_engine.sandbox.knobs import load_knobs
from runbook_engine.sandbox.service import run as run_service
from runbook_engine.sandbox.state import State
from runbook_engine.sandbox.world import World

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-rollback")]


def versions(state: State) -> dict[str, Any]:
    """What each service says that it runs, and whether the bug of the new version is in."""
    running = {name: json.loads(run_service([str(state.folder), name, "status"])) for name in release_ledger.SERVICES}
    return {name: status["images"] for name, status in running.items()} | {"bug": load_knobs(state.folder).bug}


def all_of(revision: str, bug: bool = False) -> dict[str, Any]:
    return {name: [f"linkflow/{name}:{revision}"] for name in release_ledger.SERVICES} | {"bug": bug}


def world_of(state: State) -> World:
    control.restore(state)
    return World(state, random.Random(5), lambda line: None)


def test_a_release_that_panics_is_taken_back_and_a_second_run_is_healthy(sandbox: State, tmp_path: Path) -> None:
    trial = broken(sandbox, tmp_path, "F15")
    trial.playbook = "service-rollback"
    document = trial.run("roll-back")
    assert document["causes"][0]["id"] == "bad-api-release", document["causes"][:3]
    assert_fixed(document, "roll-back")
    assert versions(sandbox) == all_of("r1")
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]


def test_all_that_run_the_unwanted_version_go_back_and_the_undo_brings_them_forward(
    sandbox: State, tmp_path: Path
) -> None:
    world = world_of(sandbox)
    for service in release_ledger.SERVICES:
        releases.deploy(world, service)
    assert versions(sandbox) == all_of("r2")
    trial = Trial(sandbox, tmp_path, "service-rollback", {"release": "r2"})
    document = trial.run("roll-back")
    assert document["causes"][0]["id"] == "release-unwanted", document["causes"][:3]
    assert_fixed(document, "roll-back")
    assert versions(sandbox) == all_of("r1")
    trial.undo()
    assert versions(sandbox) == all_of("r2")
    control.restore(sandbox)
    assert versions(sandbox) == all_of("r1")


def test_a_version_that_does_not_run_is_no_reason_to_do_anything(sandbox: State, tmp_path: Path) -> None:
    world_of(sandbox)
    trial = Trial(sandbox, tmp_path, "service-rollback", {"release": "r9"})
    assert trial.run("roll-back")["outcome"] == "healthy", trial.document["symptoms"]


def test_the_api_alone_goes_back_where_nobody_tells_of_the_scheduler(sandbox: State, tmp_path: Path) -> None:
    releases.deploy(world_of(sandbox), "api")
    place = other_environment(sandbox, tmp_path, lambda targets: targets.pop("scheduler"))
    done = place.run("run", "service-rollback", "-i", "release=r2", "--approve", "roll-back-api", "--output", "json")
    assert done.document["outcome"] == "fixed", done.said
    assert versions(sandbox) == all_of("r1")


NEW = {"revision": "r2", "image": "linkflow/api:r2", "digest": "sha256:b", "current": True}
NEW["deployed_at"] = "2026-11-23T00:00:00Z"
OLD = {"revision": "r1", "image": "linkflow/api:r1", "digest": "sha256:a", "deployed_at": "2026-11-20T00:00:00Z"}
LATEST = {"image": "linkflow/api:latest", "digest": None}


@pytest.mark.parametrize(
    ("history", "cause"),
    [
        ({"revisions": [NEW]}, "nothing-to-go-back-to"),
        ({"revisions": [OLD | LATEST, NEW | LATEST]}, "same-image"),
        ({"revisions": [OLD | {"digest": "sha256:b"}, NEW]}, "same-image"),
        ({"revisions": [OLD, NEW], "managed_by": "argocd"}, "reconciled"),
    ],
    ids=["no version before", "both say latest", "one image by two names", "reconciled"],
)
def test_a_rollback_that_would_not_help_is_not_offered_and_says_why(
    sandbox: State, tmp_path: Path, history: dict[str, Any], cause: str
) -> None:
    world_of(sandbox)

    def say(targets: dict[str, Any]) -> None:
        program = f"print({json.dumps(history)!r})"
        targets["api_service"]["command"]["history"] = [sys.executable, "-c", program]

    place = other_environment(sandbox, tmp_path, say)
    done = place.run("run", "service-rollback", "-i", "release=r2", "--approve", "roll-back", "--output", "json")
    document = done.document
    assert (document["outcome"], document["causes"][0]["id"]) == ("diagnosed", cause), document["causes"][:3]
    assert document["actions"] == []


def other_environment(state: State, folder: Path, change: Any) -> Place:
    """The sandbox as somebody else's runbook.yaml names it."""
    document = yaml.safe_load((state.folder / "runbook.yaml").read_text())
    change(document["environments"]["sandbox"]["targets"])
    (folder / "runbook.yaml").write_text(yaml.safe_dump(document))
    return Place(folder, folder / "state")


def test_debug_lines_appear_for_their_time_and_end_by_themselves(sandbox: State, tmp_path: Path) -> None:
    world_of(sandbox)
    trial = Trial(sandbox, tmp_path, "debug-mode", {"lasting": "150s", "disk_min": "0"})
    document = trial.run("debug-api")
    assert_fixed(document, "debug-api")
    assert document["facts"]["api_lines"] > 0
    assert trial.run("debug-api")["outcome"] == "healthy"
    until = load_knobs(sandbox.folder).debug_until
    assert 0 < until - time.time() <= 15  # 150 s at a pace of 0.1
    time.sleep(max(0.0, until - time.time()) + 0.1)
    assert json.loads(run_service([str(sandbox.folder), "api", "status"]))["debug"] == 0
    written = sandbox.log_file("api").read_text().count('"level": "debug"')
    time.sleep(1)
    assert written > 0 and sandbox.log_file("api").read_text().count('"level": "debug"') == written


def test_the_undo_ends_debug_mode_at_once(sandbox: State, tmp_path: Path) -> None:
    world_of(sandbox)
    trial = Trial(sandbox, tmp_path, "debug-mode", {"lasting": "1h", "disk_min": "0"})
    assert_fixed(trial.run("debug-api"), "debug-api")
    trial.undo()
    assert load_knobs(sandbox.folder).debug_until <= time.time()


@pytest.mark.parametrize(
    ("inputs", "cause"),
    [
        ({"service": "worker"}, "not-self-ending"),
        ({"disk_min": "100"}, "disk-too-full"),
    ],
)
def test_debug_mode_is_not_offered_where_it_would_stay_or_fill_the_disk(
    sandbox: State, tmp_path: Path, inputs: dict[str, str], cause: str
) -> None:
    world_of(sandbox)
    document = Trial(sandbox, tmp_path, "debug-mode", {"lasting": "1m", **inputs}).run("*")
    assert (document["outcome"], document["causes"][0]["id"]) == ("diagnosed", cause), document["causes"]
    assert document["actions"] == [] and load_knobs(sandbox.folder).debug_until == 0.0


def test_without_a_machine_to_look_at_a_person_says_that_there_is_room(sandbox: State, tmp_path: Path) -> None:
    world_of(sandbox)
    place = other_environment(sandbox, tmp_path, lambda targets: targets.pop("machine"))
    words = ["run", "debug-mode", "-i", "lasting=1m", "--yes", "--output", "json"]
    refused = place.run(*words).document
    assert (refused["outcome"], refused["causes"][0]["id"]) == ("diagnosed", "disk-unknown")
    assert place.run(*words, "-i", "disk_checked=true").document["outcome"] == "fixed"


def test_without_a_time_debug_mode_is_left_alone(sandbox: State, tmp_path: Path) -> None:
    world_of(sandbox)
    document = Trial(sandbox, tmp_path, "debug-mode").run("*")
    assert document["outcome"] == "healthy", document["symptoms"]
    with pytest.raises(AssertionError, match="was not offered"):
        action_of(document, "debug-api")
