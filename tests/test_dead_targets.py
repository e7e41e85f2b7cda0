"""Redis, PostgreSQL, or both stopped or frozen: the run still ends, says what it could not establish, and ranks what
it can."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from commands import Finished, Place

from runbook_engine.sandbox import control
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = pytest.mark.xdist_group("sandbox")

WITHOUT_CAUSE = """
runbook: 1
name: nobody-answers
title: Something is slow
targets: {redis: redis, db: postgres}
symptoms:
  - {id: slow, title: Sessions run long, sql: select count(*) as n from pg_stat_activity, facts: {n: row.n}, present: n > 100000}
diagnosis:
  - {id: keys, title: Keys, target: redis, redis: [DBSIZE], facts: {keys: result}}
causes:
  - {id: many-keys, title: Many keys, needs: keys > 100000000}
"""  # noqa: E501 - laid out as people write it


@contextmanager
def stopped(state: State, *services: str) -> Iterator[None]:
    try:
        for service in services:
            request(state, {"service": service, "action": "stop"})
        yield
    finally:
        for service in services:
            request(state, {"service": service, "action": "start"})
        control.restore(state)


@contextmanager
def frozen(state: State) -> Iterator[None]:
    """Both servers with all their processes take connections, and answer nothing."""
    pids = control.status(state.folder)["pids"]
    parents = [*pids["redis"], *pids["postgres"]]
    family = [pid for parent in parents for pid in (parent, *children(parent))]
    try:
        for pid in family:
            os.kill(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in family:
            os.kill(pid, signal.SIGCONT)
        control.restore(state)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def diagnose(place: Place, playbook: str = "queue-backlog") -> Finished:
    finished = place.run("run", playbook, "--budget", "20s", "--output", "json")
    assert "Traceback" not in finished.said and "our bug" not in finished.said, finished.said
    run = finished.document["run"]
    assert finished.document["exit_code"] == finished.code
    assert place.problems_of(run) == []
    report = place.run("report", run)
    assert report.code == 0 and run in report.stdout and "Traceback" not in report.said
    assert place.run("report", run, "--format", "json").document == finished.document
    return finished


def test_without_redis_its_refusal_is_the_cause_and_all_else_is_unknown(sandbox: State, linkflow: Place) -> None:
    with stopped(sandbox, "redis"):
        finished = diagnose(linkflow)
    document = finished.document
    assert (finished.code, document["outcome"]) == (1, "diagnosed")
    assert (document["causes"][0]["id"], document["causes"][0]["verdict"]) == ("redis-not-answering", "confirmed")
    assert document["facts"]["redis_write"] == "refused"
    assert "refused" in document["unknown"]["worst"] and "paused" in document["unknown"]
    assert document["facts"]["pg_clients"] > 0, "PostgreSQL still answers"
    assert [symptom["present"] for symptom in document["symptoms"]] == [None]
    assert document["actions"] == []


def test_without_postgres_its_own_playbook_knows_nothing_and_says_so(sandbox: State, linkflow: Place) -> None:
    control.break_(sandbox, "F32", 3)
    with stopped(sandbox, "postgres"):
        queue, locks = diagnose(linkflow), diagnose(linkflow, "lock-contention")
    document = queue.document
    assert (document["causes"][0]["id"], document["causes"][0]["verdict"]) == ("queue-paused", "confirmed")
    assert "refused" in document["unknown"]["victims"]
    assert (queue.code, document["outcome"]) == (5, "refused"), "Redis answers: its fix is offered, to nobody"
    assert (locks.code, locks.document["outcome"]) == (69, "error")
    assert all("refused" in reason for reason in locks.document["unknown"].values())
    assert "confirmed" not in {cause["verdict"] for cause in locks.document["causes"]}


def test_without_both_what_is_confirmable_is_confirmed(sandbox: State, linkflow: Place, tmp_path: Path) -> None:
    playbook = tmp_path / "nobody-answers.yaml"
    playbook.write_text(WITHOUT_CAUSE)
    with stopped(sandbox, "postgres", "redis"):
        finished, nothing = diagnose(linkflow), diagnose(linkflow, str(playbook))
    assert (finished.code, finished.document["causes"][0]["id"]) == (1, "redis-not-answering")
    assert {"worst", "victims"} <= finished.document["unknown"].keys()
    assert (nothing.code, nothing.document["outcome"]) == (69, "error")
    assert nothing.document["unknown"].keys() == {"n", "keys"}


def test_frozen_servers_end_with_the_deadline_of_each_probe(sandbox: State, linkflow: Place) -> None:
    with frozen(sandbox):
        finished = diagnose(linkflow)
    document = finished.document
    assert (finished.code, document["causes"][0]["id"]) == (1, "redis-not-answering")
    assert document["facts"]["redis_write"] == "timeout"
    assert {"worst", "victims"} <= document["unknown"].keys()


def test_a_budget_that_is_spent_ends_the_diagnosis_and_lists_what_is_unchecked(sandbox: State, linkflow: Place) -> None:
    with frozen(sandbox):
        finished = linkflow.run("run", "queue-backlog", "--budget", "1s", "--output", "json")
    assert (finished.code, finished.document["outcome"]) == (3, "inconclusive"), "the workers' service answered"
    assert len(finished.document["unchecked"]) > 5
    assert all(reason for reason in finished.document["unknown"].values())


def test_ctrl_c_ends_a_diagnosis_of_frozen_servers(sandbox: State, linkflow: Place) -> None:
    with frozen(sandbox), linkflow.begun("run", "queue-backlog", "--output", "json") as run:
        assert run.stderr is not None
        run.stderr.readline()
        time.sleep(0.5)
        run.send_signal(signal.SIGINT)
        output, said = run.communicate(timeout=8)
        assert (run.returncode, "Traceback" in said) == (130, False)
    assert '"outcome": "interrupted"' in output
    assert linkflow.problems_of("last") == []
