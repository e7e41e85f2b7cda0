"""The journal's file: where it lies, private to its user, opened durable, and what SQLite's errors mean to a person.

Never opens a file that others could read or that is not a plain file of this user.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

from .errors import JournalError

JOURNAL_FORMAT = 1
LOCK_PATIENCE = 5.0
_OURS = {"journal.db", "journal.db-wal", "journal.db-shm", "locks", "reports", "exports"}
_NETWORK = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "glusterfs", "fuse.glusterfs", "lustre", "beegfs")
)

_SCHEMA = """
create table if not exists meta (key text primary key, value text not null);
create table if not exists runs (
  number integer primary key, id text not null unique, playbook text not null, environment text not null,
  started_at real not null);
create table if not exists records (
  run text not null, seq integer not null, at real not null, kind text not null, data text not null, hash text not null,
  unique (run, seq));
create index if not exists records_by_kind on records (kind, at);
create trigger if not exists records_stay before update on records begin select raise(abort, 'append only'); end;
create trigger if not exists records_kept before delete on records begin select raise(abort, 'append only'); end;
"""


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where journal, locks and reports live; created for this user alone."""
    if environ.get("RUNBOOK_STATE"):
        folder = Path(environ["RUNBOOK_STATE"]).expanduser().absolute()
    elif os.path.isabs(environ.get("XDG_STATE_HOME", "")):
        folder = Path(environ["XDG_STATE_HOME"]) / "runbook"
    else:
        home = environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
        folder = Path(home) / ".local" / "state" / "runbook"
    make_private(folder)
    return folder


def make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tighten(folder)
    except OSError as error:
        raise JournalError(
            f"{folder}: cannot be made a private folder for the journal: {error.strerror}. "
            "set RUNBOOK_STATE to a folder that you own"
        ) from error


def _tighten(folder: Path) -> None:
    mode = folder.stat().st_mode
    if mode & 0o022:
        raise JournalError(
            f"{folder}: others may write there. `chmod 700` it, or set RUNBOOK_STATE to a folder of your own"
        )
    # A folder that serves other things too (somebody's home, /) is left as it is: the files in it are 0600 anyway.
    if mode & 0o077 and {entry.name for entry in folder.iterdir()} <= _OURS:
        folder.chmod(0o700)


def create_private(path: Path) -> bool:
    """Make the file ours before SQLite opens it, which would make it readable by others."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        return True
    except FileExistsError:
        # Only looked at, never opened: closing a second descriptor would drop the locks of this process's connection.
        found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise JournalError(
            f"{path}: is not a plain file of this user. move it away, or set RUNBOOK_STATE to another folder"
        )
    if found.st_mode & 0o077:
        path.chmod(0o600)
    return False


def connect_readonly(path: Path, patience: float) -> sqlite3.Connection:
    if path.exists():
        return _connect(f"{path.as_uri()}?mode=ro", patience)
    connection = _connect(":memory:", patience)
    connection.executescript(_SCHEMA)
    return connection


def connect(path: Path, patience: float) -> tuple[sqlite3.Connection, str]:
    """A connection that may write, and why it must not after all, or nothing."""
    with contextlib.ExitStack() as stack:
        connection = _connect(f"{path.as_uri()}?mode=rw", patience)
        stack.callback(connection.close)
        refusal = _prepare(connection, patience)
        stack.pop_all()
    return connection, refusal


def _connect(uri: str, patience: float) -> sqlite3.Connection:
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=patience)


def _prepare(connection: sqlite3.Connection, patience: float) -> str:
    found = _format_of(connection)
    if found > JOURNAL_FORMAT:
        return (
            f"it has format {found} and this version knows {JOURNAL_FORMAT}. "
            "upgrade runbook, or set RUNBOOK_STATE to another folder"
        )
    _switch_to_wal(connection, patience)
    connection.execute("pragma synchronous = full")
    connection.execute("pragma fullfsync = on")
    if not found:
        opening = f"insert or ignore into meta values ('journal_format', '{JOURNAL_FORMAT}');"
        connection.executescript(f"begin immediate; {_SCHEMA} {opening} commit;")
    return ""


def _format_of(connection: sqlite3.Connection) -> int:
    if not connection.execute("select 1 from sqlite_master where name = 'meta'").fetchone():
        return 0
    row = connection.execute("select value from meta where key = 'journal_format'").fetchone()
    return int(row[0]) if row else 0


def _switch_to_wal(connection: sqlite3.Connection, patience: float) -> None:
    # Two processes that open a fresh journal at once: this one pragma does not wait for its lock by itself.
    for left in range(int(patience / 0.05), -1, -1):
        try:
            if connection.execute("pragma journal_mode = wal").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError as error:
            if not left or not error.sqlite_errorname.startswith("SQLITE_BUSY"):
                raise
        time.sleep(0.05)
    raise JournalError("the journal cannot be put into WAL mode. set RUNBOOK_STATE to a folder on a local disk")


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_network_filesystem(folder: Path) -> None:
    try:
        mounts = Path("/proc/mounts").read_text(errors="surrogateescape")
    except OSError:
        return
    found = filesystem_of(folder.resolve(), mounts)
    if found in _NETWORK:
        raise JournalError(
            f"{folder}: lies on a network filesystem ({found}), where a journal cannot be kept safe. "
            "set RUNBOOK_STATE to a folder on a local disk"
        )


def filesystem_of(folder: Path, mounts: str) -> str:
    """The type of the filesystem that holds a folder, from the text of /proc/mounts; empty when not listed."""
    best, found = -1, ""
    for line in mounts.splitlines():
        place = line.split()[1:3]
        if len(place) == 2:
            point = place[0].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
            if folder.is_relative_to(point) and len(point) >= best:
                best, found = len(point), place[1]
    return found


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        refuse(error, path)
    except OSError as error:
        raise JournalError(
            f"{path}: {error.strerror}. set RUNBOOK_STATE to a folder that this user can write"
        ) from error


def refuse(error: sqlite3.Error, path: Path) -> NoReturn:
    raise JournalError(f"{path}: {cause_of(error)}") from error


_CAUSES = {
    "SQLITE_FULL": "the disk is full. free some space, then `runbook resume`",
    "SQLITE_READONLY": "it cannot be written. mend its permissions, or set RUNBOOK_STATE to another folder",
    "SQLITE_BUSY": "another process holds it locked. end that process, or try again",
    "SQLITE_LOCKED": "another process holds it locked. end that process, or try again",
    "SQLITE_IOERR": "the disk failed to read or write it. look at the kernel log, or set RUNBOOK_STATE to another disk",
    "SQLITE_CORRUPT": "it is damaged. move it away for examination; a new one will be made",
    "SQLITE_NOTADB": "it is not a journal. move it away, or set RUNBOOK_STATE to another folder",
    "SQLITE_CANTOPEN": "it cannot be opened. mend its permissions, or set RUNBOOK_STATE to another folder",
    "SQLITE_CONSTRAINT": "another process has written to the same run. let one of the two end, then `runbook resume`",
}


def cause_of(error: sqlite3.Error) -> str:
    name = getattr(error, "sqlite_errorname", "")
    for known, cause in _CAUSES.items():
        if name.startswith(known):
            return f"{cause} ({error})"
    return f"SQLite says {error}"
