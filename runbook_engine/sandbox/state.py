"""What is known about one running sandbox, kept in a private file. It never starts or stops anything."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import UsageError

STATE_FILE = "state.json"
ROLES = ("postgres", "linkflow", "runbook", "operator")


@dataclass(frozen=True, slots=True)
class State:
    """Ports, pids and passwords of one sandbox. `run_folder` holds what an unprivileged PostgreSQL must reach."""

    folder: Path
    run_folder: Path
    pace: float
    seed: int
    supervisor: int
    started_at: str
    redis_port: int
    postgres_port: int
    api_port: int
    redis_binary: str
    postgres_binaries: Path
    passwords: Mapping[str, str] = field(repr=False)

    @property
    def socket(self) -> Path:
        # Not in the state folder: a unix socket's path may have 107 bytes, a state folder any number.
        return self.run_folder / "control.sock"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    @property
    def postgres_data(self) -> Path:
        return self.run_folder / "postgres"

    def log_file(self, service: str) -> Path:
        return self.folder / "logs" / f"{service}.log"

    def postgres_dsn(self, role: str = "linkflow", application: str = "linkflow") -> str:
        return (
            f"host=127.0.0.1 port={self.postgres_port} dbname=linkflow user={role} "
            f"password={self.passwords[role]} application_name={application} connect_timeout=5"
        )


def default_folder(environment: Mapping[str, str]) -> Path:
    """`$RUNBOOK_SANDBOX`, else `runbook/sandbox` in the user's state folder."""
    chosen = environment.get("RUNBOOK_SANDBOX")
    if chosen:
        return Path(chosen).expanduser().absolute()
    home = Path(environment.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    return home / "runbook" / "sandbox"


def save_state(state: State) -> None:
    document = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(state).items()}
    write_private(state.folder / STATE_FILE, json.dumps(document, indent=2))


def load_state(folder: Path) -> State:
    """The state of the sandbox in `folder`, whether or not it still runs."""
    path = folder / STATE_FILE
    try:
        document = json.loads(path.read_text())
        paths = {key: Path(document[key]) for key in ("folder", "run_folder", "postgres_binaries")}
        return State(**{**document, **paths})
    except FileNotFoundError:
        raise UsageError(f"{folder}: no sandbox here. Start one with `runbook sandbox up`") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"{path}: not a sandbox's state ({error}). Remove it and start the sandbox again") from error


def write_private(path: Path, text: str) -> None:
    """Replace the file at once, readable by nobody else at any moment."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    os.replace(fresh, path)
