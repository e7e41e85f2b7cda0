"""Writes a bundle: a manifest, one file for each answer, the records of each run; a folder or a .tar.gz of it.

Files are for their owner alone. It must never grow beyond its limit, and what it leaves out it names.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..journal import Record
from ..loader import LoadedPlaybook
from .collecting import Collected

Json = Any
VERSION = 1
MANIFEST = "manifest.json"
MOST_BYTES = 20_000_000
LARGEST_FACT = 64_000
SUFFIXES = (".tar.gz", ".tgz")


@dataclass(slots=True)
class Files:
    """What will be written. Answers that several playbooks got are kept once."""

    content: dict[str, bytes] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)  # digest -> file

    def answer(self, playbook: str, call: str, answer: Json) -> str:
        data = _json(answer)
        name = self.named.setdefault(digest(data), f"answers/{playbook}/{_plain(call)}.json")
        self.content[name] = data
        return name


@dataclass(frozen=True, slots=True)
class Moment:
    """When, where and by which engine."""

    engine: str
    environment: str
    began: float
    ended: float


def pack(collected: Collected, moment: Moment, most: int = MOST_BYTES) -> dict[str, bytes]:
    """Every file of the bundle by its name, the manifest among them."""
    files = Files()
    entries: list[dict[str, Json]] = []
    playbooks: list[dict[str, Json]] = []
    for loaded, records in collected.runs:
        file, answers = _records(files, loaded.playbook.name, records)
        entries += _entries(loaded.playbook.name, records, answers, file)
        playbooks.append(_run(loaded, records, file))
    for name, answer in collected.extras.items():
        entries.append({"playbook": "", "step": name, "files": [files.answer("extras", name, answer)]})
    cut = _cut(files, most)
    for entry in entries:
        entry["files"] = [_described(name, files.content[name]) for name in entry["files"]]
    manifest = {
        "version": VERSION,
        "engine": moment.engine,
        "environment": moment.environment,
        "began": round(moment.began, 3),
        "ended": round(moment.ended, 3),
        "playbooks": playbooks,
        "not_asked": dict(collected.left_out),
        "entries": entries,
        "redaction": dict(sorted(collected.hits.items())),
        "cut": cut,
        "files": {name: _described(None, data) for name, data in sorted(files.content.items())},
    }
    manifest["digest"] = digest_of(manifest)
    return {MANIFEST: _json(manifest), **files.content}


def _described(name: str | None, data: bytes) -> dict[str, Json]:
    said = {"bytes": len(data), "sha256": digest(data)}
    return said if name is None else {"file": name, **said}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def digest_of(manifest: Mapping[str, Json]) -> str:
    """Of everything it says, and by the digests of the files of the whole bundle."""
    said = {name: value for name, value in manifest.items() if name != "digest"}
    return digest(json.dumps(said, sort_keys=True, ensure_ascii=True).encode())


def _records(files: Files, playbook: str, records: Sequence[Record]) -> tuple[str, dict[str, list[str]]]:
    """The records as lines, answers in files of their own; and which files are whose."""
    lines: list[str] = []
    answers: dict[str, list[str]] = {}
    for record in records:
        data: dict[str, Json] = dict(record.data)
        line: dict[str, Json] = {"seq": record.seq, "at": record.at, "kind": record.kind}
        if record.kind == "CallFinished" and data.get("answer") is not None:
            line["answer"] = files.answer(playbook, str(data["id"]), data.pop("answer"))
            answers.setdefault(str(data["id"]).split("/")[0], []).append(line["answer"])
        if record.kind == "StepFinished":
            data["facts"] = {name: _short(value) for name, value in data["facts"].items()}
        lines.append(json.dumps({**line, "data": data}, ensure_ascii=True, allow_nan=False, default=str))
    name = f"runs/{playbook}.jsonl"
    files.content[name] = ("\n".join(lines) + "\n").encode()
    return name, answers


def _short(fact: Json) -> Json:
    size = len(json.dumps(fact, default=str))
    return fact if size <= LARGEST_FACT else f"({size} bytes; the answer has it)"


def _entries(
    playbook: str, records: Sequence[Record], answers: Mapping[str, Sequence[str]], run: str
) -> list[dict[str, Json]]:
    """One for each step that ended: which facts, when, how long, what went wrong, and where its answer is."""
    return [
        {
            "playbook": playbook,
            "step": record.data["step"],
            "title": record.data["title"],
            "target": record.data["target"],
            "facts": sorted({*record.data["facts"], *record.data["unknown"]}),
            "at": round(record.at, 3),
            "seconds": record.data["seconds"],
            "error": record.data["error"],
            "skipped": record.data["skipped"],
            "files": list(answers.get(record.data["step"], ())),
            "records": run,
        }
        for record in records
        if record.kind == "StepFinished"
    ]


def _run(loaded: LoadedPlaybook, records: Sequence[Record], file: str) -> dict[str, Json]:
    end = next((record.data for record in reversed(records) if record.kind == "RunFinished"), None)
    return {
        "playbook": loaded.playbook.name,
        "title": loaded.playbook.title,
        "explains": list(loaded.playbook.explains),
        "digest": loaded.digest,
        "records": file,
        "outcome": end["outcome"] if end else "cut off",
        "seconds": round(end["at"], 3) if end else None,
    }


def _cut(files: Files, most: int) -> list[dict[str, Json]]:
    """The largest answers go first, then the longest records, until the rest fits."""
    cut: list[dict[str, Json]] = []
    room = most - _manifest_size(files)
    order = sorted(files.content, key=lambda name: (name.startswith("runs/"), -len(files.content[name])))
    size = sum(map(len, files.content.values()))
    for name in order:
        if size <= room:
            break
        bytes_there = len(files.content[name])
        files.content[name] = b"" if name.startswith("runs/") else _json({"left_out": bytes_there})
        size -= bytes_there - len(files.content[name])
        cut.append({"file": name, "bytes": bytes_there})
    return cut


def _manifest_size(files: Files) -> int:
    """About what the manifest takes for naming so many files, twice."""
    return 100_000 + 1000 * len(files.content)


def _json(value: Json) -> bytes:
    return (json.dumps(value, ensure_ascii=True, allow_nan=False, indent=1, default=str) + "\n").encode()


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:100]


def refuse_existing(path: Path) -> None:
    """Nobody's file is written over, and that is said before anything is asked."""
    if path.is_dir() and not path.name.endswith(SUFFIXES) and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} is there already. name another place with --to, or move it away")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path.absolute().parent} is no folder: --to names a file or folder in one that exists")


def write(path: Path, content: Mapping[str, bytes], at: float) -> None:
    """A .tar.gz by its name, else a folder. Readable by its owner alone; complete, or not there at all."""
    try:
        if path.name.endswith(SUFFIXES):
            _write_archive(path, content, at)
        else:
            _write_folder(path, content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {(error.strerror or str(error)).lower()}") from error


def _write_archive(path: Path, content: Mapping[str, bytes], at: float) -> None:
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=int(at)) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(data), int(at), 0o600
            tar.addfile(member, io.BytesIO(data))
    _write_file(path, packed.getvalue())


def _write_folder(path: Path, content: Mapping[str, bytes]) -> None:
    path.mkdir(mode=0o700, exist_ok=True)
    path.chmod(0o700)
    for name, data in sorted(content.items(), key=lambda item: item[0] == MANIFEST):
        for folder in reversed((path / name).relative_to(path).parents[:-1]):
            (path / folder).mkdir(mode=0o700, exist_ok=True)
        _write_file(path / name, data)


def _write_file(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError:
        path.unlink(missing_ok=True)
        raise
