"""What other repositories take from ours: the pre-commit hooks and the GitHub action, run as they are written."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import RUNBOOK, Place

ROOT = Path(__file__).parent.parent
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOK_KEYS = frozenset(
    ["id", "name", "description", "entry", "language", "types", "files", "require_serial", "minimum_pre_commit_version"]
)
FINE = """runbook: 1
name: fine
title: Fine
targets: {redis: redis}
symptoms:
  - id: a
    redis: [LLEN, jobs]
    facts: {n: result}
    present: n > 0
"""
FILES = {
    "playbooks/fine.yaml": FINE,
    "services/mail/playbooks/deep/fine.yml": FINE,
    "playbooks/notes.md": "no playbook",
    "runbook.yaml": "environments: {e: {targets: {redis: {kind: redis}}}}\n",
    "docker-compose.yaml": "services: {}\n",
    "my-playbooks.yaml": "services: {}\n",
    "notplaybooks/x.yaml": "services: {}\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Place:
    folder = tmp_path / "repository"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=folder, check=True)
    path = f"{Path(RUNBOOK).parent}:{os.environ['PATH']}"
    return Place(folder, tmp_path / "state", {"PATH": path, "HOME": str(tmp_path)})


def chosen(hook: Any, place: Place) -> list[str]:
    """The files of the repository that pre-commit would hand to the hook."""
    listed = subprocess.run(["git", "ls-files"], cwd=place.folder, capture_output=True, text=True, check=True)
    assert hook["types"] == ["yaml"]  # by pre-commit's own list: *.yaml and *.yml
    return [
        name for name in listed.stdout.split() if re.search(hook["files"], name) and name.endswith((".yaml", ".yml"))
    ]


def commit(hook: Any, place: Place) -> Any:
    program, *words = shlex.split(hook["entry"])
    return place.run(*words, *hook.get("args", []), *chosen(hook, place), program=program)


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_says_what_pre_commit_wants_to_know(name: str) -> None:
    assert HOOKS[name].keys() <= HOOK_KEYS
    assert HOOKS[name].keys() >= {"id", "name", "entry", "language", "files"} and HOOKS[name]["language"] == "python"


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_looks_at_our_files_and_no_others(name: str, repository: Place) -> None:
    assert chosen(HOOKS[name], repository) == [
        "playbooks/fine.yaml",
        "runbook.yaml",
        "services/mail/playbooks/deep/fine.yml",
    ]
    assert commit(HOOKS[name], repository).code == 0


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_refuses_a_broken_playbook(name: str, repository: Place) -> None:
    (repository.folder / "playbooks" / "fine.yaml").write_text(FINE.replace("n > 0", "n >> 0"))
    done = commit(HOOKS[name], repository)
    assert done.code == 65 and re.match(r"playbooks/fine\.yaml:9:\d+: RB201 ", done.stdout), done.said


def test_the_mending_hook_mends(repository: Place) -> None:
    path = repository.folder / "playbooks" / "fine.yaml"
    path.write_text(FINE.replace("present", "presnt"))
    assert commit(HOOKS["runbook-validate"], repository).code == 65 and path.read_text() != FINE
    assert commit(HOOKS["runbook-fix"], repository).code == 0 and path.read_text() == FINE


def step(name: str) -> Any:
    (found,) = [each for each in ACTION["runs"]["steps"] if each["name"] == name]
    return found


def carry_out(name: str, place: Place, **given: str) -> Any:
    """A step of the action as GitHub runs it: its inputs by their defaults, its environment, `bash -e -o pipefail`."""
    inputs = {key: value["default"] for key, value in ACTION["inputs"].items()} | given
    environ = {
        key: re.sub(r"\$\{\{ inputs\.(\w+) \}\}", lambda found: inputs[found[1]], value)
        for key, value in step(name)["env"].items()
    }
    words = ("--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step(name)["run"])
    return place.run(*words, program="bash", **environ, GITHUB_ACTIONS="true")


def test_the_action_takes_every_input_through_the_environment_alone() -> None:
    for each in ACTION["runs"]["steps"]:
        assert each["shell"] == "bash" and "${{" not in each["run"]
    used = set(re.findall(r"inputs\.(\w+)", yaml.safe_dump(ACTION["runs"])))
    assert used == ACTION["inputs"].keys()


@pytest.mark.parametrize("version", ["", "1.2.3"])
def test_the_action_installs_its_own_ref_or_the_version_that_is_asked_for(version: str, repository: Place) -> None:
    name = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["name"]
    asked = repository.folder / "bin"
    asked.mkdir()
    (asked / "python3").write_text('#!/bin/sh\nfor last; do :; done\necho "$last"\n')
    (asked / "python3").chmod(0o755)
    assert step("Install")["env"]["OURS"] == "${{ github.action_path }}"
    repository.more["PATH"] = f"{asked}:{os.environ['PATH']}"
    done = carry_out("Install", repository, version=version)
    assert done.stdout == (f"{name}=={version}\n" if version else "${{ github.action_path }}\n"), done.said


def test_the_action_passes_a_sound_repository_and_annotates_a_broken_one(repository: Place) -> None:
    assert carry_out("Validate", repository).code == 0
    (repository.folder / "playbooks" / "fine.yaml").write_text(FINE.replace("present", "presnt"))
    done = carry_out("Validate", repository, paths="playbooks runbook.yaml services")
    assert done.code == 65 and done.stdout.startswith("::error file=playbooks/fine.yaml,line=")


def test_the_action_weighs_by_the_profile_it_is_given(repository: Place) -> None:
    action = "causes: [{id: c, needs: n > 5, fix: [m]}]\nresolution: [{id: m, effect: disruptive, manual: do it}]\n"
    (repository.folder / "playbooks" / "fine.yaml").write_text(FINE + action)
    assert [carry_out("Validate", repository, profile=each).code for each in ("default", "production")] == [0, 65]


def test_the_action_writes_sarif_and_leaves_the_verdict_to_the_next_step(repository: Place) -> None:
    (repository.folder / "playbooks" / "fine.yaml").write_text(FINE.replace("present", "presnt"))
    assert carry_out("SARIF", repository, sarif="out.sarif").code == 0
    document = json.loads((repository.folder / "out.sarif").read_text())
    assert document["version"] == "2.1.0" and document["runs"][0]["results"]
    assert carry_out("SARIF", repository, sarif="out.sarif", paths="nowhere").code != 0


def test_the_action_rehearses_tests(repository: Place) -> None:
    tests = repository.folder / "playbooks" / "fine.test.yaml"
    tests.write_text(
        "cases: fine\ntests:\n  - name: no jobs\n    replies: {a: {result: 0}}\n    expect: {outcome: healthy}\n"
    )
    assert carry_out("Test", repository, tests="playbooks").code == 0
    tests.write_text(tests.read_text().replace("healthy", "fixed"))
    assert carry_out("Test", repository, tests="playbooks").code != 0
