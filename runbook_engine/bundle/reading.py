"""Opens a bundle that came from somewhere else: nothing of it is unpacked to disk, and nothing in it is trusted.

A bundle that was changed, cut or made to do harm is refused with what is wrong. The digests show accidents and careless
changes; who can write them anew is known by the bundle's own digest, which `collect` prints.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import stat
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..events import Event, RunStarted, decode, with_taken_facts
from .packing import MANIFEST, SUFFIXES, VERSION, digest, digest_of

Json = Any
MOST_BYTES = 64 << 20
"""Three times what `collect` ever writes."""
MOST_FILES = 20_000
_NAME = re.compile(r"manifest\.json|(?:runs|answers/[A-Za-z0-9_-]{1,100})/[A-Za-z0-9_-]{1,100}\.jsonl?")


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """The run of one playbook: its records with their answers, as data and as events."""

    playbook: str
    records: tuple[tuple[str, Mapping[str, Json]], ...]
    events: tuple[Event, ...]

    @property
    def start(self) -> RunStarted:
        first = self.events[0]
        assert isinstance(first, RunStarted)
        return first


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose every file is as its manifest says."""

    path: Path
    manifest: Mapping[str, Json]
    runs: tuple[RecordedRun, ...]


def is_bundle(name: str) -> bool:
    """Whether this word means a bundle rather than a run: a file or folder, and never what a run is called."""
    return os.sep in name or name.endswith(SUFFIXES) or (Path(name) / MANIFEST).exists()


def open_bundle(path: Path) -> Bundle:
    """UsageError says what is wrong with it."""
    content = _folder(path) if path.is_dir() else _archive(path)
    if MANIFEST not in content:
        raise _refused(path, f"it has no {MANIFEST}")
    manifest = _document(path, MANIFEST, content[MANIFEST])
    _check(path, manifest, content)
    try:
        runs = tuple(_run(path, entry, content) for entry in manifest["playbooks"] if content.get(entry["records"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(path, f"a record is not as the engine writes it ({type(error).__name__}: {error})") from error
    return Bundle(path, manifest, runs)


def _refused(path: Path, why: str) -> UsageError:
    return UsageError(f"{path} is not read: {why}")


def _folder(path: Path) -> dict[str, bytes]:
    """The manifest, and of the other files those that it names."""
    content = {MANIFEST: _file(path, MANIFEST, MOST_BYTES)}
    files = _document(path, MANIFEST, content[MANIFEST]).get("files")
    if not isinstance(files, Mapping) or len(files) > MOST_FILES:
        raise _refused(path, f"its {MANIFEST} does not say which files belong to it")
    room = MOST_BYTES - len(content[MANIFEST])
    for name in [_sound(path, each) for each in files]:
        content[name] = _file(path, name, room)
        room -= len(content[name])
    return content


def _file(path: Path, name: str, room: int) -> bytes:
    try:
        _refuse_links(path, name)
        descriptor = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise _refused(path, f"{name}: {(error.strerror or str(error)).lower()}") from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(path, f"{name} is not a file")
        data = file.read(room + 1)
    if len(data) > room:
        raise _refused(path, f"it is larger than {MOST_BYTES >> 20} MiB")
    return data


def _refuse_links(path: Path, name: str) -> None:
    for folder in (path / name).relative_to(path).parents:
        if (path / folder).is_symlink() and str(folder) != ".":
            raise _refused(path, f"{folder} is a link")


def _archive(path: Path) -> dict[str, bytes]:
    """Unpacked in memory up to a limit before anything in it is looked at."""
    try:
        with path.open("rb") as packed, gzip.GzipFile(fileobj=packed) as zipped:
            data = zipped.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _refused(
            path, f"{reason.lower()}. a bundle is a folder or a .tar.gz that `runbook collect` wrote"
        ) from error
    if len(data) > MOST_BYTES:
        raise _refused(path, f"unpacked it is larger than {MOST_BYTES >> 20} MiB")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            return _members(path, tar)
    except (tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError) as error:
        raise _refused(path, f"it is not a sound archive ({error})") from error


def _members(path: Path, tar: tarfile.TarFile) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    for count, member in enumerate(tar):
        if count >= MOST_FILES:
            raise _refused(path, f"it has more than {MOST_FILES} files")
        name = _sound(path, member.name)
        if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
            raise _refused(path, f"{name} is not a plain file")
        if name in content:
            raise _refused(path, f"{name} stands in it twice")
        source = tar.extractfile(member)
        content[name] = source.read(MOST_BYTES) if source else b""
    return content


def _sound(path: Path, name: Json) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refused(path, f"{str(name)[:100]!r} is no name of a file of a bundle")
    return name


def _document(path: Path, name: str, data: bytes) -> dict[str, Json]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"{name} is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _refused(path, f"{name} is not a JSON object")
    return document


def _check(path: Path, manifest: Mapping[str, Json], content: Mapping[str, bytes]) -> None:
    if manifest.get("version") != VERSION:
        raise _refused(path, f"its version is {manifest.get('version')!r}; this engine reads {VERSION}")
    files = manifest.get("files")
    if not isinstance(files, Mapping) or not isinstance(manifest.get("playbooks"), list):
        raise _refused(path, f"its {MANIFEST} does not say which files and playbooks belong to it")
    if digest_of(manifest) != manifest.get("digest"):
        raise _refused(path, f"its {MANIFEST} was changed: its digest does not fit")
    for name in files.keys() | content.keys() - {MANIFEST}:
        said = files.get(name)
        if said is None:
            raise _refused(path, f"{name} does not belong to it")
        if name not in content:
            raise _refused(path, f"{name} is missing")
        if not isinstance(said, Mapping) or digest(content[name]) != said.get("sha256"):
            raise _refused(path, f"{name} was changed: its digest does not fit")


def _run(path: Path, entry: Mapping[str, Json], content: Mapping[str, bytes]) -> RecordedRun:
    records: list[tuple[str, dict[str, Json]]] = []
    for line in content[entry["records"]].splitlines():
        record = _document(path, entry["records"], line)
        data = record["data"]
        if record.get("answer") is not None:
            data = {**data, **_answer(path, record["answer"], content)}
        records.append((str(record["kind"]), data))
    events = tuple(with_taken_facts([decode(kind, data) for kind, data in records]))
    if not events or not isinstance(events[0], RunStarted):
        raise _refused(path, f"{entry['records']} does not begin with the start of a run")
    return RecordedRun(str(entry["playbook"]), tuple(records), events)


def _answer(path: Path, name: Json, content: Mapping[str, bytes]) -> dict[str, Json]:
    """What the call answered; or, where that was too large to be packed, that it is unknown."""
    try:
        answer = json.loads(content[name])
    except (ValueError, RecursionError) as error:
        raise _refused(path, f"{name} is not JSON ({error})") from error
    if isinstance(answer, dict) and answer.keys() == {"left_out"}:
        message = f"its answer of {answer['left_out']} bytes was left out of the bundle"
        return {"answer": None, "error": {"code": "left_out", "message": message}, "made_by": "engine"}
    return {"answer": answer}
