"""What a nightly job leaves behind for the day of the accident: a base backup with the WAL archive, and a dump.

Nothing of it exists before somebody asks, so that a start costs nothing. It also takes back whatever a recovery, or the
accident itself, has left in the sandbox. `python -m runbook_engine.sandbox.recovery FOLDER base|dump|restore`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ..errors import RunbookError, TargetError, UsageError
from .postgres import account, connect_superuser
from .state import State, load_state

MOST_ARCHIVE = 256 * 1024 * 1024  # beyond it the next base backup begins a new archive
LIVE, RESTORED, KEPT = "linkflow", "linkflow_new", "linkflow_old"
STAGED = "select relname from pg_class where relnamespace = 'public'::regnamespace and relname like '%\\_recovered'"


def archive(run_folder: Path) -> Path:
    return run_folder / "archive"


def base(run_folder: Path) -> Path:
    return run_folder / "backup" / "base"


def dump(run_folder: Path) -> Path:
    return run_folder / "backup" / "linkflow.dump"


def work(run_folder: Path) -> Path:
    """Where a recovery may build its side instance."""
    return run_folder / "recovery"


def kept(run_folder: Path) -> Path:
    """What an accident destroyed, for its heal."""
    return run_folder / "kept"


def take_base_backup(state: State, fresh: bool = False) -> Path:
    """A base backup, from which on the WAL is archived. One that is there already serves, unless its archive grew."""
    folder, segments = base(state.run_folder), archive(state.run_folder)
    if (folder / "backup_label").exists() and not fresh and _size(segments) < MOST_ARCHIVE:
        return folder
    for old in (folder, segments):
        shutil.rmtree(old, ignore_errors=True)
    for new in (segments, folder.parent, work(state.run_folder)):
        _make(new)
    _tool(state, "pg_basebackup", f"--pgdata={folder}", "--checkpoint=fast", "--wal-method=none", "--no-sync")
    return folder


def take_dump(state: State) -> Path:
    """A logical dump of LinkFlow's database as it is now."""
    path = dump(state.run_folder)
    _make(path.parent)
    _tool(state, "pg_dump", "--format=custom", "--compress=0", f"--file={path}", LIVE)
    return path


def keep_rows(state: State, table: str, condition: str) -> int:
    """A copy of rows that are about to be destroyed. How many."""
    _make(kept(state.run_folder))
    statement = f"copy (select * from {table} where {condition}) to stdout"
    with (
        connect_superuser(state.postgres_port, state.passwords["postgres"], LIVE) as connection,
        connection.cursor().copy(statement) as rows,
    ):
        content = b"".join(bytes(block) for block in rows)
    (kept(state.run_folder) / f"{table}.copy").write_bytes(content)
    return content.count(b"\n")


def keep_table(state: State, table: str) -> None:
    """A copy of a table that is about to be dropped."""
    _make(kept(state.run_folder))
    path = kept(state.run_folder) / f"{table}.dump"
    _tool(state, "pg_dump", "--format=custom", "--compress=0", f"--table=public.{table}", f"--file={path}", LIVE)


def restore(state: State) -> None:
    """LinkFlow's own database under its own name, with all its rows, and nothing of a recovery beside it."""
    stop_side(state.run_folder)
    _rename_back(state)
    for copy in sorted(kept(state.run_folder).glob("*.dump")):
        _bring_table_back(state, copy)
    with connect_superuser(state.postgres_port, state.passwords["postgres"], LIVE) as connection:
        for (staged,) in connection.execute(STAGED).fetchall():
            connection.execute(f'drop table "{staged}"')
        for copy in sorted(kept(state.run_folder).glob("*.copy")):
            _bring_rows_back(connection, copy)


def stop_side(run_folder: Path) -> None:
    """End a side instance that was built below `run_folder`, and remove it."""
    side = work(run_folder) / "side"
    with contextlib.suppress(FileNotFoundError, ValueError, ProcessLookupError):
        pid = int((side / "postmaster.pid").read_text().split("\n", 1)[0])
        os.kill(pid, signal.SIGQUIT)
        deadline = time.monotonic() + 10
        while Path(f"/proc/{pid}/fd").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
    shutil.rmtree(side, ignore_errors=True)


def _rename_back(state: State) -> None:
    with connect_superuser(state.postgres_port, state.passwords["postgres"], "postgres") as connection:
        there = {name for (name,) in connection.execute("select datname from pg_database").fetchall()}
        if RESTORED in there:
            connection.execute(f"drop database {RESTORED} with (force)")
        if KEPT in there:
            connection.execute(f"drop database if exists {LIVE} with (force)")
            connection.execute(f"alter database {KEPT} rename to {LIVE}")
        connection.execute(f"alter database {LIVE} allow_connections true")


def _bring_rows_back(connection: Any, copy: Path) -> None:
    table = copy.stem
    with connection.transaction():
        connection.execute(f"create temp table back (like {table}) on commit drop")
        with connection.cursor().copy("copy back from stdin") as rows:
            rows.write(copy.read_bytes())
        connection.execute(f"insert into {table} select * from back on conflict do nothing")
    copy.unlink()


def _bring_table_back(state: State, copy: Path) -> None:
    with connect_superuser(state.postgres_port, state.passwords["postgres"], LIVE) as connection:
        gone = connection.execute("select to_regclass(%s) is null", (f"public.{copy.stem}",)).fetchone()[0]
    if gone:
        _tool(state, "pg_restore", "--single-transaction", f"--dbname={LIVE}", str(copy))
    copy.unlink()


def _tool(state: State, program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs, as the superuser of the database and the account of the server."""
    where = {"PGHOST": "127.0.0.1", "PGPORT": str(state.postgres_port), "PGUSER": "postgres"}
    done = subprocess.run(
        [str(state.postgres_binaries / program), *arguments],
        env={**os.environ, **where, "PGPASSWORD": state.passwords["postgres"]},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        timeout=120,
        **account().popen,
    )
    if done.returncode != 0:
        raise TargetError("fault", f"{program} failed: {done.stderr.strip()[-500:]}", "no")


def _make(folder: Path) -> None:
    """A folder that belongs to the account of the server."""
    if not folder.exists():
        folder.mkdir(mode=0o700)
        os.chown(folder, account().uid, account().gid)


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*")) if folder.exists() else 0


def main(arguments: list[str]) -> None:
    match arguments:
        case [folder, "base"]:
            take_base_backup(load_state(Path(folder)), fresh=True)
        case [folder, "dump"]:
            take_dump(load_state(Path(folder)))
        case [folder, "restore"]:
            restore(load_state(Path(folder)))
        case _:
            raise UsageError("usage: python -m runbook_engine.sandbox.recovery FOLDER base|dump|restore")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except RunbookError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from None
