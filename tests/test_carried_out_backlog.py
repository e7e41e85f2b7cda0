"""Every resolution of `queue-backlog` and `lock-contention`, carried out on a LinkFlow that is really broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from carried_out import assert_fixed, broken

from runbook_engine.sandbox.state import State

pytestmark = [pytest.mark.trial, pytest.mark.xdist_group("sandbox-backlog")]


@pytest.mark.parametrize(
    ("fault", "action"),
    [
        ("F30", "start-workers"),
        ("F32", "unpause"),
        ("F35b", "scale-workers"),
        ("F36", "quarantine"),
        ("F38", "restart-workers"),
        ("F43", "disable-schedule"),
        ("F80", "terminate-root"),
        ("F81", "terminate-root"),
        ("F81", "cancel-ddl"),
        ("F83", "cancel-build"),
    ],
)
def test_the_resolution_mends_it_and_a_second_run_is_healthy(
    sandbox: State, tmp_path: Path, fault: str, action: str
) -> None:
    trial = broken(sandbox, tmp_path, fault)
    assert_fixed(trial.run(action), action)
    assert trial.again()["outcome"] == "healthy", trial.document["reason"]
