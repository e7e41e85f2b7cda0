# ruff: noqa: E501 - the questions are laid out as people write them
"""Every resolution of `high-latency` and `connection-pool-exhaustion`, carried out on a LinkFlow that is really broken."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from carried_out import Trial, action_of, assert_fixed, broken

from runbook_engine.sandbox import control
from runbook_engine.sandbox.baseline import wait_until
from runbook_engine.sandbox.knobs import turn
from runbook_engine.sandbox.postgres import connect_superuser
from runbook_engine.sandbox.service import request
from runbook_engine.sandbox.state import State

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-database")]

INDEXES = "select array_agg(indexdef order by indexdef) from pg_indexes where tablename = 'executions'"
SETTINGS = "select array_agg(setting) from pg_db_role_setting, unnest(setconfig) as setting where setrole = 'linkflow'::regrole"
FREE_SOME = """
select count(pg_terminate_backend(pid)) from (select pid from pg_stat_activity where application_name = 'linkflow-api'
and state = 'idle in transaction' limit 7) few
"""
HELD = "select count(*) from pg_stat_activity where application_name = 'linkflow-api' and state = 'idle in transaction'"


@pytest.fixture
def linkflow(sandbox: State) -> Iterator[State]:
    """The sandbox; healthy again afterwards."""
    yield sandbox
    control.restore(sandbox)


def ask(state: State, question: str) -> Any:
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "linkflow") as connection:
        return connection.execute(question).fetchone()[0]


def workers(state: State) -> int:
    return int(request(state, {"service": "worker", "action": "status"})["running"])


def fixed_and_healthy_again(trial: Trial, action: str) -> None:
    """Mended, a second run finds nothing, and the way back of the first is still at hand."""
    assert_fixed(trial.run(action), action)
    events, document = trial.events, trial.document
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]
    trial.events, trial.document = events, document


def undone(trial: Trial) -> None:
    """Taken back, and proved so where it has a proof."""
    document = trial.undo()
    assert document["outcome"] in ("undone", "fixed"), document["reason"]


@pytest.mark.parametrize(
    ("action", "columns"), [("add-index-of-two", "(workflow_id, created_at)"), ("add-index", "(workflow_id)")]
)
def test_the_missing_index_is_built_and_the_undo_drops_that_one(
    linkflow: State, tmp_path: Path, action: str, columns: str
) -> None:
    trial = broken(linkflow, tmp_path, "F20")
    before = ask(linkflow, INDEXES)
    fixed_and_healthy_again(trial, action)
    built = [definition for definition in ask(linkflow, INDEXES) if definition not in before]
    assert len(built) == 1 and built[0].endswith(f"USING btree {columns}")
    undone(trial)
    assert ask(linkflow, INDEXES) == before


def test_outdated_statistics_are_taken_anew(linkflow: State, tmp_path: Path) -> None:
    fixed_and_healthy_again(broken(linkflow, tmp_path, "F22"), "analyze")


def test_a_list_is_hashed_once_it_fits_and_the_undo_gives_back_the_setting(linkflow: State, tmp_path: Path) -> None:
    trial = broken(linkflow, tmp_path, "F24")
    before = ask(linkflow, SETTINGS)
    fixed_and_healthy_again(trial, "raise-work-mem")
    assert (before, ask(linkflow, SETTINGS)) == (["work_mem=64kB"], ["work_mem=64MB"])
    undone(trial)
    assert ask(linkflow, SETTINGS) == before


@pytest.mark.timeout(400)  # it is watched for two minutes whether it helped
def test_one_statement_is_cancelled_and_the_others_go_on(linkflow: State, tmp_path: Path) -> None:
    """The longest one only; as the others are slow all the same, it is said not to have helped."""
    trial = broken(linkflow, tmp_path, "F24")
    with (
        psycopg.connect(linkflow.postgres_dsn(application="report"), autocommit=True) as session,
        ThreadPoolExecutor(1) as pool,
    ):
        ended = pool.submit(session.execute, "select pg_sleep(100)")
        time.sleep(7)  # longer than a minute at this pace
        document = trial.run("cancel-runaway")
        done = action_of(document, "cancel-runaway")
        assert (done["status"], document["outcome"]) == ("done", "not_fixed"), (done, document["reason"])
        with pytest.raises(psycopg.errors.QueryCanceled):
            ended.result(timeout=5)


def test_an_api_that_sits_on_its_transactions_is_restarted(linkflow: State, tmp_path: Path) -> None:
    control.restore(linkflow)
    turn(linkflow.folder, visits="GET /api/v1/admin/report", visitors=5)
    wait_until(lambda: ask(linkflow, HELD) == 5, "all connections of the API to be in a transaction", 20)
    turn(linkflow.folder, visitors=0)
    time.sleep(4)
    trial = Trial(linkflow, tmp_path, "high-latency")
    fixed_and_healthy_again(trial, "restart-api")
    assert trial.document["causes"][0]["id"] == "pool-starved-client"


@pytest.mark.parametrize(
    ("fault", "action"), [("F70", "terminate-idle"), ("F71", "terminate-idle-in-tx"), ("F75", "cancel-slow")]
)
def test_connections_are_taken_from_who_does_nothing_with_them(
    linkflow: State, tmp_path: Path, fault: str, action: str
) -> None:
    trial = broken(linkflow, tmp_path, fault)
    fixed_and_healthy_again(trial, action)
    assert len(action_of(trial.document, action)["items"]) >= 10


def test_forgotten_transactions_are_limited_and_the_undo_gives_back_the_setting(
    linkflow: State, tmp_path: Path
) -> None:
    """LinkFlow's own role needs a connection for it: where none at all is left, the first resolution comes first."""
    trial = broken(linkflow, tmp_path, "F71", used_max="0.5")
    ask(linkflow, FREE_SOME)
    time.sleep(0.5)
    fixed_and_healthy_again(trial, "limit-idle-in-tx")
    assert ask(linkflow, SETTINGS) == ["idle_in_transaction_session_timeout=60s"]
    undone(trial)
    assert ask(linkflow, SETTINGS) is None


def test_workers_are_scaled_to_what_the_connections_suffice_for_and_back(linkflow: State, tmp_path: Path) -> None:
    trial = broken(linkflow, tmp_path, "F73")
    before = workers(linkflow)
    fixed_and_healthy_again(trial, "scale-down")
    assert 1 <= workers(linkflow) < before
    undone(trial)
    assert workers(linkflow) == before


@pytest.mark.parametrize(
    ("fault", "cause", "goes_on"),
    [
        ("F21", "lock-waits", "runbook run lock-contention"),
        ("F23", "n-plus-one", ""),
        ("F26", "cpu-or-io-host", ""),
        ("F72", "lock-pileup", "runbook run lock-contention"),
    ],
)
def test_where_nothing_here_would_help_nothing_is_offered(
    linkflow: State, tmp_path: Path, fault: str, cause: str, goes_on: str
) -> None:
    document = broken(linkflow, tmp_path, fault).run("*")
    assert (document["causes"][0]["id"], document["causes"][0]["verdict"]) == (cause, "confirmed")
    assert document["outcome"] == "diagnosed" and not document["actions"]
    assert not goes_on or any(line.startswith(goes_on) for line in document["next"])
