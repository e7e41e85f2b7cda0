"""Remembers what was said of a text, so that a second look at thousands of files is nearly free.

A verdict is found again only by a digest of everything it depends on. What cannot be read back exactly as it was
written counts as unknown; a cache that fails is no reason to fail.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

from ..errors import Complaint

NAME = "verdicts-1.db"
PATIENCE = 2.0  # seconds for another run that is writing
KEPT_DAYS = 30
AT_ONCE = 500
_TABLE = "create table if not exists verdicts (key blob primary key, body text, proof blob, day integer) without rowid"

Json = Any
Libraries = Mapping[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Claim:
    """An alert that a playbook asks for; `place` is the complaint that would be made there, still without words."""

    playbook: str
    labels: tuple[tuple[str, str], ...]
    place: Complaint


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with one file by itself, and what it has to say where several are judged together."""

    complaints: tuple[Complaint, ...] = ()
    claims: tuple[Claim, ...] = ()


def cache_folder(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path(environ.get("HOME", "/")) / ".cache") / "runbook"


def key_of(engine: bytes, path: str, content: bytes, libraries: Libraries) -> bytes:
    """`path` is part of it, since complaints name it; so is every library, with its own path and text."""
    digest = hashlib.sha256(engine)
    parts = [path.encode(errors="surrogateescape"), content]
    for name, (place, text) in sorted(libraries.items()):
        parts += [each.encode(errors="surrogatepass") for each in (name, place, text)]
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.digest()


class Verdicts:
    """The memory, open or out of order: then it knows nothing and keeps nothing."""

    def __init__(self, connection: sqlite3.Connection | None) -> None:
        self._connection = connection

    def known(self, keys: Sequence[bytes]) -> dict[bytes, Verdict]:
        """What is remembered of these."""
        found: dict[bytes, Verdict] = {}
        for start in range(0, len(keys), AT_ONCE):
            part = keys[start : start + AT_ONCE]
            marks = ",".join("?" * len(part))
            rows = self._ask(f"select key, body, proof from verdicts where key in ({marks})", part)
            for key, body, proof in rows:
                with contextlib.suppress(TypeError, ValueError, AttributeError):
                    if proof == _proof(key, body):
                        found[key] = _verdict(json.loads(body))
        return found

    def keep(self, verdicts: Iterable[tuple[bytes, Verdict]]) -> None:
        rows = []
        for key, verdict in verdicts:
            try:
                body = json.dumps(astuple(verdict))
            except ValueError:
                continue
            rows.append((key, body, _proof(key, body), _today()))
        if rows and self._connection is not None:
            try:
                with self._connection:
                    self._connection.executemany("insert or replace into verdicts values (?, ?, ?, ?)", rows)
                    self._connection.execute("delete from verdicts where day < ?", (_today() - KEPT_DAYS,))
            except sqlite3.Error:
                self._give_up()

    def _ask(self, query: str, values: Sequence[bytes]) -> list[tuple[bytes, str, bytes]]:
        if self._connection is None:
            return []
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError):
            self._give_up()
            return []

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


@contextlib.contextmanager
def open_verdicts(folder: Path) -> Iterator[Verdicts]:
    """The memory in this folder; a broken one is thrown away, one that is not ours alone is not used."""
    connection = _connect(folder)
    verdicts = Verdicts(connection)
    try:
        yield verdicts
    finally:
        verdicts._give_up()


def _connect(folder: Path) -> sqlite3.Connection | None:
    path = folder / NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _ours_alone(folder, 0o022):
            return None
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        if not _ours_alone(path, 0o077):
            return None
        return _opened(path) or _opened_anew(path)
    except (OSError, sqlite3.Error):
        return None


def _ours_alone(path: Path, forbidden: int) -> bool:
    """Who could write a verdict could also make us overlook a mistake."""
    status = path.lstat()
    return status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & forbidden


def _opened(path: Path) -> sqlite3.Connection | None:
    connection = sqlite3.connect(path, timeout=PATIENCE)
    try:
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = off")  # what is lost is judged again
        connection.execute(_TABLE)
        connection.execute("select key, body, proof, day from verdicts limit 1").fetchall()
    except sqlite3.OperationalError as error:
        connection.close()
        if "locked" in str(error) or "busy" in str(error):
            raise  # another run is at it: this one does without
        return None
    except sqlite3.DatabaseError:
        connection.close()
        return None
    return connection


def _opened_anew(path: Path) -> sqlite3.Connection | None:
    for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
        path.with_name(name).unlink(missing_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    return _opened(path)


def _verdict(body: Json) -> Verdict:
    complaints, claims = body
    return Verdict(
        tuple(Complaint(*each) for each in complaints),
        tuple(
            Claim(playbook, tuple((name, value) for name, value in labels), Complaint(*place))
            for playbook, labels, place in claims
        ),
    )


def _proof(key: bytes, body: str) -> bytes:
    return hashlib.sha256(key + body.encode()).digest()[:16]


def _today() -> int:
    return int(time.time() // 86400)
