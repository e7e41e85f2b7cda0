"""The first playbook, as a newcomer meets it: through the command line, in an empty folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


class Newcomer:
    """Somebody with a copy of the first playbook, and a job that leaves locks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "nightly.lock"
        shutil.copy(EXAMPLES / "first-playbook.yaml", folder / "stale-lock.yaml")
        self.environ = {**os.environ, "HOME": str(folder), "RUNBOOK_STATE": str(folder / "state"), "NO_COLOR": "1"}

    def runbook(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "runbook_engine", *words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # no terminal: nobody can be asked
            capture_output=True,
            text=True,
            timeout=60,
        )

    def run(self, *words: str, exit_code: int) -> Any:
        done = self.runbook("run", "stale-lock.yaml", "-i", f"lock={self.lock}", *words, "--output", "json")
        assert done.returncode == exit_code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def leave_a_lock(self, owner: object) -> None:
        self.lock.write_text(f"{owner}\n")

    def repository(self) -> Path:
        """The examples where the job's lock is one of this test's own."""
        copy = self.folder / "repository"
        shutil.copytree(EXAMPLES, copy / "examples")
        first = copy / "examples" / "first-playbook.yaml"
        first.write_text(first.read_text(encoding="utf-8").replace("/tmp/nightly.lock", str(self.lock)))
        return copy

    def locks(self) -> list[str]:
        return sorted(path.name for path in self.folder.glob("nightly.lock*"))


@pytest.fixture
def newcomer(tmp_path: Path) -> Newcomer:
    return Newcomer(tmp_path)


@pytest.fixture
def running_job() -> Iterator[int]:
    job = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
    try:
        yield job.pid
    finally:
        job.kill()
        job.wait()


@pytest.fixture
def dead_process() -> int:
    """A process id that nobody has any more."""
    gone = subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.DEVNULL)
    gone.wait()
    return gone.pid


def test_the_examples_are_sound(newcomer: Newcomer) -> None:
    done = newcomer.runbook("validate", str(EXAMPLES))
    assert done.returncode == 0 and "0 errors, 0 warnings" in done.stderr, done.stdout + done.stderr


def test_without_a_lock_all_is_well(newcomer: Newcomer) -> None:
    assert newcomer.run(exit_code=0)["outcome"] == "healthy"


def test_while_the_job_runs_nothing_is_offered(newcomer: Newcomer, running_job: int) -> None:
    newcomer.leave_a_lock(running_job)
    document = newcomer.run("--approve", "move-lock-aside", exit_code=0)
    assert document["outcome"] == "healthy" and str(running_job) in document["reason"]
    assert document["causes"][0]["id"] == "job-running" and document["actions"] == []
    assert newcomer.locks() == ["nightly.lock"]


def test_a_lock_without_a_number_is_left_alone(newcomer: Newcomer) -> None:
    newcomer.leave_a_lock("not a number")
    document = newcomer.run("--yes", exit_code=3)
    assert document["outcome"] == "inconclusive" and "owner" in document["unknown"]
    assert newcomer.locks() == ["nightly.lock"]


def test_a_plan_says_what_would_be_done_and_does_nothing(newcomer: Newcomer, dead_process: int) -> None:
    newcomer.leave_a_lock(dead_process)
    document = newcomer.run("--plan", exit_code=1)
    assert document["outcome"] == "diagnosed" and document["causes"][0]["id"] == "stale-lock"
    assert document["actions"][0]["status"] == "skipped" and "1 lock file" in document["actions"][0]["impact"]
    assert newcomer.locks() == ["nightly.lock"]


def test_nobody_there_to_confirm_means_nothing_is_done(newcomer: Newcomer, dead_process: int) -> None:
    newcomer.leave_a_lock(dead_process)
    assert newcomer.run(exit_code=5)["outcome"] == "refused"
    assert newcomer.locks() == ["nightly.lock"]


def test_an_approved_fix_is_verified_and_an_undo_brings_the_lock_back(newcomer: Newcomer, dead_process: int) -> None:
    newcomer.leave_a_lock(dead_process)
    document = newcomer.run("--approve", "move-lock-aside", exit_code=0)
    assert document["outcome"] == "fixed"
    action = document["actions"][0]
    assert (action["id"], action["status"], action["verified"], action["held"]) == (
        "move-lock-aside",
        "done",
        True,
        True,
    )
    assert newcomer.locks() == [f"nightly.lock.{document['run']}"]

    undone = newcomer.runbook("undo", document["run"], "--approve", "move-lock-aside:undo")
    assert undone.returncode == 0, undone.stdout + undone.stderr
    assert newcomer.locks() == ["nightly.lock"] and newcomer.lock.read_text() == f"{dead_process}\n"


def test_the_gate_says_that_the_effect_is_its_authors_word(newcomer: Newcomer, dead_process: int) -> None:
    newcomer.leave_a_lock(dead_process)
    shown = newcomer.runbook("run", "stale-lock.yaml", "-i", f"lock={newcomer.lock}", "--plan").stdout
    assert "declared by the author" in shown and 'mv -n -- "$lock"' in shown


def test_an_input_that_is_no_path_is_refused_before_anything_is_asked(newcomer: Newcomer) -> None:
    done = newcomer.runbook("run", "stale-lock.yaml", "-i", "lock=$(reboot)")
    assert done.returncode == 2 and "lock" in done.stderr


def test_the_walk_runs_as_it_is_written(newcomer: Newcomer, dead_process: int) -> None:
    """Every command of examples/README.md, in its order, in one shell, with the exit codes that it tells."""
    walk = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```", walk, re.MULTILINE | re.DOTALL)
    told = [int(code) for code in re.findall(r"<!-- exit (\d+) -->", walk)]
    assert len(blocks) == len(told)
    script = "\n".join(f"{block}echo walk:$?" for block in blocks)
    script = script.replace("/tmp/nightly.lock", str(newcomer.lock)).replace("REPOSITORY", str(newcomer.repository()))
    environ = {**newcomer.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TERM": "dumb"}
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=newcomer.folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert [int(code) for code in re.findall(r"^walk:(\d+)$", done.stdout, re.MULTILINE)] == told, (
        done.stdout + done.stderr
    )
    assert newcomer.locks() == ["nightly.lock"]
