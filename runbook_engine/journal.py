"""The journal: every event of every run, durable before anything acts on it, hash-chained so that a change shows.

Never lets a failed append look successful, never updates or deletes a record, and never reads a clock: times come
from the caller.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import JournalError, UsageError
from .journal_file import (
    LOCK_PATIENCE,
    cause_of,
    connect,
    connect_readonly,
    create_private,
    explained,
    make_private,
    refuse,
    refuse_network_filesystem,
    sync_folder,
)
from .journal_file import state_folder as state_folder  # the caller's way to `Journal.open`

if TYPE_CHECKING:
    from .executor import Json

MINIMUM_FREE = 64 * 1024 * 1024
MOST_PENDING = 256
FINISHED = "RunFinished"
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: no letter that reads as a digit
_IDS_SINCE = 1577836800  # 2020-01-01; five digits of minutes reach the year 2083
_ALL = "select run, seq, at, kind, data, hash from records"
_SUMMARY = """
select r.id, r.playbook, r.environment, r.started_at,
  (select at from records f where f.run = r.id and f.kind = :finished order by f.seq desc limit 1),
  (select kind from records l where l.run = r.id order by l.seq desc limit 1),
  (select data from records f where f.run = r.id and f.kind = :finished order by f.seq desc limit 1),
  (select count(*) from records c where c.run = r.id)
from runs r order by r.number desc limit :limit
"""


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it was written. `at` is wall time and for display; `hash` is the head of the chain up to here."""

    run: str
    seq: int
    at: float
    kind: str
    data: dict[str, Json]
    hash: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of `runbook runs`. `outcome` is None for a run that never came to its end."""

    id: str
    playbook: str
    environment: str
    started_at: float
    ended_at: float | None
    last_kind: str
    outcome: str | None
    exit_code: int | None
    records: int


class Journal:
    """One open journal, used by one thread. Records wait in memory until the next durable one takes them along."""

    def __init__(self, connection: sqlite3.Connection, folder: Path, refusal: str) -> None:
        self._connection = connection
        self._folder = folder
        self._refusal = refusal  # why nothing can be written, or ""
        self._heads: dict[str, tuple[int, str]] = {}
        self._pending: list[tuple[str, int, float, str, str, str]] = []

    @classmethod
    def open(cls, folder: Path, *, readonly: bool = False, patience: float = LOCK_PATIENCE) -> Journal:
        """The journal of this folder, made when missing. A second process may read, and may write other runs."""
        folder = folder.absolute()
        path = folder / "journal.db"
        with explained(path):
            if readonly:
                return cls(connect_readonly(path, patience), folder, "the journal was opened for reading only")
            make_private(folder)
            refuse_network_filesystem(folder)
            created = create_private(path)
            connection, refusal = connect(path, patience)
            if created:
                sync_folder(folder)
        return cls(connection, folder, refusal)

    def start(self, playbook: str, environment: str, at: float, minimum_free: int = MINIMUM_FREE) -> str:
        """A new run. Its id is short, sorts by time and can be typed: `R-7KQ2M`."""
        self._refuse_when_closed()
        self.require_space(minimum_free)
        with self._transaction():
            last = self._connection.execute("select id from runs order by number desc limit 1").fetchone()
            number = max(int(at - _IDS_SINCE) // 60, 0, _number(last[0]) + 1 if last else 0)
            run = _run_id(number)
            self._connection.execute(
                "insert into runs (id, playbook, environment, started_at) values (?, ?, ?, ?)",
                (run, _encodable(playbook), _encodable(environment), float(at)),
            )
        return run

    def require_space(self, minimum_free: int = MINIMUM_FREE) -> None:
        """Refuse while there is still room to say why."""
        with explained(self._folder):
            free = shutil.disk_usage(self._folder).free
        if free < minimum_free:
            raise JournalError(
                f"{self._folder}: only {free >> 20} MiB are free, the journal needs {minimum_free >> 20} MiB before "
                "anything may be started. free some space, or set RUNBOOK_STATE to a folder on another disk"
            )

    def append(self, run: str, kind: str, data: Mapping[str, Json], at: float, durable: bool = True) -> Record:
        """Write one record. Once a durable append has returned, it and all before it survive a power cut."""
        self._refuse_when_closed()
        seq, previous = self._head(run)
        seq += 1
        text = _canonical_data(run, kind, data)
        chained = _chained(previous, run, seq, float(at), kind, text)
        self._pending.append((run, seq, float(at), kind, text, chained))
        self._heads[run] = (seq, chained)
        if durable or len(self._pending) >= MOST_PENDING:
            self._flush()
        return Record(run, seq, float(at), kind, json.loads(text), chained)

    def records(self, run: str) -> list[Record]:
        """All records of a run, oldest first."""
        rows = self._rows(f"{_ALL} where run = ? order by seq", (run,))
        return [_record(row) for row in rows]

    def runs(self, limit: int = 50) -> list[RunSummary]:
        """The latest runs, newest first."""
        return [_summary(row) for row in self._rows(_SUMMARY, {"finished": FINISHED, "limit": limit})]

    def find(self, run_prefix: str) -> str:
        """The one run that a person means by a few characters of its id, or by `last`."""
        known = [row[0] for row in self._rows("select id from runs order by number desc", ())]
        if run_prefix == "last" and known:
            return str(known[0])
        wanted = _typed(run_prefix)
        matches = [run for run in known if run == wanted] or [run for run in known if run.startswith(wanted)]
        if len(matches) == 1:
            return str(matches[0])
        if matches:
            raise UsageError(f"run {run_prefix!r} is not clear: it may be {_listed(matches)}. type more of it")
        latest = f"the latest are {_listed(known)}" if known else "there are no runs yet"
        raise UsageError(f"run {run_prefix!r} is not in the journal; {latest}. see `runbook runs`")

    def head(self, run: str) -> str:
        """The last hash of the chain. Kept elsewhere, it proves that nothing was cut off or rewritten."""
        return self._head(run)[1]

    def verify(self, run: str, head: str | None = None) -> list[str]:
        """What is wrong with the chain of a run; nothing when it is sound.

        Without the head that was printed at the end of the run, a cut tail or a wholly rewritten chain cannot be seen.
        """
        opening = self._opening(run)
        rows = self._rows(f"{_ALL} where run = ? order by seq", (run,))
        problems, hashes = _broken_links(rows, opening)
        return problems + ([] if head is None else _cut_tail([opening, *hashes], head))

    def history(self, *, since: float, kinds: Sequence[str]) -> Iterator[Record]:
        """Records of these kinds over all runs, oldest first."""
        marks = ", ".join("?" * len(kinds))
        query = f"{_ALL} where at >= ? and kind in ({marks}) order by at, run, seq"
        return map(_record, self._rows(query, (since, *kinds)))

    @contextlib.contextmanager
    def lease(self, key: str, *, passing: bool = False) -> Iterator[None]:
        """Hold this key, a playbook and its target for instance, against every other process until the block ends.

        A `passing` key, the number of a run for instance, leaves no file behind.
        """
        locks = self._folder / "locks"
        make_private(locks)
        path = locks / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.lock"
        with explained(path):
            lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        taken = False
        try:
            with explained(path):
                _take(lock, key)
            taken = True
            yield
        finally:
            if taken and passing:
                with contextlib.suppress(OSError):
                    path.unlink()
            os.close(lock)

    def close(self) -> None:
        """Commit what waits and let go. A journal that has failed is closed without another word."""
        try:
            if self._pending and not self._refusal:
                self._flush()
        finally:
            self._refusal = self._refusal or "the journal is closed"
            self._connection.close()

    def _refuse_when_closed(self) -> None:
        if self._refusal:
            raise JournalError(f"{self._folder / 'journal.db'}: cannot be written: {self._refusal}")

    def _flush(self) -> None:
        with self._transaction():
            self._connection.executemany("insert into records values (?, ?, ?, ?, ?, ?)", self._pending)
        self._pending.clear()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._connection.execute("begin immediate")
            yield
            self._connection.execute("commit")
        except sqlite3.Error as error:
            # After a failed commit nobody knows what is on the disk, and a second fsync may lie: this journal is done.
            self._refusal = cause_of(error)
            self._forget()
            refuse(error, self._folder / "journal.db")
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        self._pending.clear()
        self._heads.clear()
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("rollback")

    def _head(self, run: str) -> tuple[int, str]:
        if run not in self._heads:
            opening = self._opening(run)
            rows = self._rows("select seq, hash from records where run = ? order by seq desc limit 1", (run,))
            self._heads[run] = rows[0] if rows else (0, opening)
        return self._heads[run]

    def _opening(self, run: str) -> str:
        rows = self._rows("select id, playbook, environment, started_at from runs where id = ?", (run,))
        if not rows:
            raise UsageError(f"run {run!r} is not in the journal. see `runbook runs`")
        return hashlib.sha256(json.dumps(rows[0]).encode()).hexdigest()

    def _rows(self, query: str, values: Sequence[object] | Mapping[str, object]) -> list[Any]:
        if self._pending:
            self._flush()
        with explained(self._folder / "journal.db"):
            return self._connection.execute(query, values).fetchall()


def _take(lock: int, key: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(lock, 100, 0).decode("ascii", "replace").strip()
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(os.fstat(lock).st_mtime))
        raise UsageError(
            f"{key}: another process acts on it: pid {holder or 'unknown'}, since {since}. wait for it, or end it first"
        ) from error
    if not os.fstat(lock).st_nlink:
        raise UsageError(f"{key}: another process has only just let go of it. try again")
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _canonical_data(run: str, kind: str, data: Mapping[str, Json]) -> str:
    try:
        return json.dumps(data, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise JournalError(f"run {run}: the record {kind} cannot be written, it is not plain JSON: {error}") from error


def _chained(previous: str, run: str, seq: int, at: float, kind: str, data: str) -> str:
    """Hash of the one before and of the record's canonical JSON, put together here because `data` already is."""
    record = (
        f'{{"at":{at!r},"data":{data},"kind":{json.dumps(kind, default=repr)},"run":{json.dumps(run)},"seq":{seq}}}'
    )
    return hashlib.sha256((previous + record).encode("utf-8", "surrogatepass")).hexdigest()


def _broken_links(rows: list[Any], opening: str) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    hashes: list[str] = []
    previous, expected = opening, 1
    for run, seq, at, kind, data, stored in rows:
        if not isinstance(seq, int):
            problems.append(f"a record has {seq!r} where its number was")
            continue
        if seq != expected:
            problems.append(f"{_span(expected, seq - 1)} missing")
        elif _chained(previous, run, seq, at, kind, data) != stored:
            problems.append(
                f"record {seq} ({kind}) was changed, swapped or inserted: its hash does not follow from the one before"
            )
        previous, expected = stored, seq + 1
        hashes.append(stored)
    return problems, hashes


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first >= last else f"records {first} to {last} are"


def _cut_tail(hashes: list[str], head: str) -> list[str]:
    known = [index for index, each in enumerate(hashes) if len(head) >= 8 and each.startswith(head)]
    if not known:
        left = f"{len(hashes) - 1} records are left"
        return [f"no record has the head {head}: the tail was cut off or the chain was rewritten; {left}"]
    added = len(hashes) - 1 - known[-1]
    return [f"{added} records were added after the head {head}"] if added else []


def _record(row: Any) -> Record:
    run, seq, at, kind, data, chained = row
    try:
        return Record(run, seq, at, kind, json.loads(data), chained)
    except ValueError as error:
        raise JournalError(f"run {run}: record {seq} ({kind}) was changed and is not JSON any more") from error


def _summary(row: Any) -> RunSummary:
    run, playbook, environment, started_at, ended_at, last_kind, finished, records = row
    end = json.loads(finished) if finished else {}
    return RunSummary(
        run,
        playbook,
        environment,
        started_at,
        ended_at,
        last_kind or "",
        end.get("outcome"),
        end.get("exit_code"),
        records,
    )


def _encodable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()  # a file name's undecodable bytes, for instance


def _run_id(number: int) -> str:
    digits = ""
    while number or len(digits) < 5:
        number, digit = divmod(number, 32)
        digits = _ALPHABET[digit] + digits
    return f"R-{digits}"


def _number(run: str) -> int:
    number = 0
    for digit in run.removeprefix("R-"):
        number = number * 32 + _ALPHABET.index(digit)
    return number


def _typed(prefix: str) -> str:
    """What a person typed, as the id is written: small letters, a missing `R-`, O for 0, I and L for 1."""
    digits = re.sub("^(?:R-|R$)", "", prefix.strip().upper()).translate(str.maketrans("OIL", "011"))
    return f"R-{digits}"


def _listed(runs: list[str], most: int = 5) -> str:
    return ", ".join(runs[:most]) + (f" and {len(runs) - most} more" if len(runs) > most else "")
