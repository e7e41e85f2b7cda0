"""The environment document of a sandbox: what `runbook.yaml` would hold for it. It describes and never connects."""

from __future__ import annotations

import sys
from typing import Any

from . import recovery
from .release_ledger import SERVICES as SERVICES_WITH_RELEASES
from .state import State, write_private

SERVICES = {
    "workers": "worker",
    "api_service": "api",
    "scheduler": "scheduler",
    "redis_service": "redis",
    "postgres_service": "postgres",
}


def environment(state: State) -> dict[str, Any]:
    targets: dict[str, Any] = {
        "redis": {
            "kind": "redis",
            "host": "127.0.0.1",
            "port": state.redis_port,
            "db": 0,
            "password": {"file": str(state.folder / "redis.password")},
        },
        "db": database(state, "runbook"),
        "owner": database(state, "linkflow"),
        "admin": {**database(state, "operator"), "database": "postgres"},
        "backups": {"kind": "local", "env": backups(state)},
        "api": {"kind": "http", "url": state.api_url},
        "machine": {"kind": "host"},
    }
    for target, service in SERVICES.items():
        targets[target] = {"kind": "service", "service": service, "command": service_commands(state, service)}
    return {"environments": {"sandbox": {"pace": state.pace, "targets": targets}}}


def database(state: State, role: str) -> dict[str, Any]:
    return {
        "kind": "postgres",
        "host": "127.0.0.1",
        "port": state.postgres_port,
        "user": role,
        "password": {"file": str(state.folder / f"{role}.password")},
        "database": "linkflow",
    }


def backups(state: State) -> dict[str, Any]:
    """What a recovery needs to know of the machine that holds the backups."""
    return {
        "RECOVERY_BIN": str(state.postgres_binaries),
        "RECOVERY_BASE": str(recovery.base(state.run_folder)),
        "RECOVERY_ARCHIVE": str(recovery.archive(state.run_folder)),
        "RECOVERY_WORK": str(recovery.work(state.run_folder)),
        "RECOVERY_DUMP": str(recovery.dump(state.run_folder)),
        "PGHOST": "127.0.0.1",
        "PGPORT": str(state.postgres_port),
        "PGUSER": "operator",
        "PGPASSWORD": {"file": str(state.folder / "operator.password")},
    }


def service_commands(state: State, service: str) -> dict[str, list[str]]:
    program = [sys.executable, "-m", "runbook_engine.sandbox.service", str(state.folder), service]
    released = {"history": [*program, "history"], "rollback": [*program, "rollback", "{revision}"]}
    return {
        "status": [*program, "status"],
        "start": [*program, "start"],
        "stop": [*program, "stop"],
        "restart": [*program, "restart"],
        "scale": [*program, "scale", "{replicas}"],
        "logs": [*program, "logs", "{lines}", "{since}"],
        **(released if service in SERVICES_WITH_RELEASES else {}),
        **({"debug": [*program, "debug", "{seconds}"]} if service == "api" else {}),
    }


def write_environment(state: State) -> None:
    import yaml

    write_private(state.folder / "runbook.yaml", yaml.safe_dump(environment(state), sort_keys=False, width=1000))
