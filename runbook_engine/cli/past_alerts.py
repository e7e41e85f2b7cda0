"""`test --alerts`: a folder of past alerts against the playbooks, as text, JSON and JUnit."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

if TYPE_CHECKING:
    from ..alerts import Labels
    from ..loader import LoadedPlaybook
    from ..past_alerts import Entry, Judged

Json = Any
PAYLOADS, LINES = (".json",), (".jsonl", ".ndjson")  # one payload, or one on each line
LARGEST = 64 << 20  # bytes of one file


@dataclass(frozen=True, slots=True)
class Answered:
    """What past alerts tell, and where the playbooks stand that they tell it of."""

    folder: str
    judged: Judged
    playbooks: Sequence[LoadedPlaybook]

    @property
    def failed(self) -> bool:
        return bool(self.judged.unanswered or self.judged.never)

    def place(self, entry: Entry) -> str:
        """file:line:column of one entry of `alerts:`."""
        loaded = next(each for each in self.playbooks if each.playbook.name == entry.playbook)
        return ":".join(map(str, loaded.position(("alerts", entry.index))))


def answered(folder: str, names: Sequence[str], ignored: Sequence[str]) -> Answered:
    """The alerts of `folder` against the playbooks that `names` lead to. UsageError where one cannot be read."""
    from ..errors import UsageError
    from ..past_alerts import judge

    playbooks = _playbooks(names)
    if not playbooks:
        raise UsageError(f"{', '.join(names)} holds no playbook that alerts could be for")
    judged = judge(_past(folder), [each.playbook for each in playbooks], ignored)
    return Answered(folder, judged, playbooks)


def _playbooks(names: Sequence[str]) -> list[LoadedPlaybook]:
    from ..catalog import TESTS, entries, find_playbook, folders, libraries_for
    from ..loader import load_playbook
    from ..rehearsing.files import open_tests

    places, found = folders(os.environ, Path.cwd()), {}
    for name in names:
        path = Path(name)
        if path.name.endswith(TESTS):
            loaded = open_tests(path, os.environ).loaded
            found[loaded.playbook.name] = loaded
            continue
        listed = [each for each in entries([path]) if each.kind == "runbook"] if path.is_dir() else None
        for entry in [find_playbook(name, places)] if listed is None else listed:
            libraries = libraries_for(entry.text, places, entry.path)
            loaded = load_playbook(entry.text, str(entry.path), libraries=libraries)
            found[loaded.playbook.name] = loaded
    return list(found.values())


def _past(folder: str) -> list[tuple[Labels, str]]:
    """Every alert of every file below the folder, with its place. All files that cannot be read are told at once."""
    from ..errors import UsageError

    files = sorted(each for each in Path(folder).rglob("*") if each.suffix in (*PAYLOADS, *LINES) and each.is_file())
    if not files:
        raise UsageError(f"{folder} is no folder with alerts; expected *.json with a payload each, or *.jsonl")
    past: list[tuple[Labels, str]] = []
    wrong: list[str] = []
    for file in files:
        try:
            past += _of_file(file)
        except UsageError as error:
            wrong.append(str(error))
    if wrong:
        raise UsageError("\n".join(wrong))
    return past


def _of_file(file: Path) -> Iterator[tuple[Labels, str]]:
    from ..alerts import read_past
    from ..errors import UsageError

    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    if len(content) > LARGEST:
        raise UsageError(f"{file} is larger than {LARGEST >> 20} MiB; split it")
    text = content.decode("utf-8-sig", errors="replace")
    if file.suffix in PAYLOADS:
        yield from ((labels, str(file)) for labels in read_past(text, str(file)))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            place = f"{file}:{number}"
            yield from ((labels, place) for labels in read_past(line, place))


def as_text(found: Answered) -> Iterator[str]:
    from ..safe_text import safe_text

    yield from (safe_text(line) for line in _lines(found))


def _lines(found: Answered) -> Iterator[str]:
    judged = found.judged
    for kind in judged.kinds:
        times = f"{kind.times} time{'s' if kind.times != 1 else ''}"
        if kind.fate == "none":
            yield f"FAILED {kind.place}: no playbook is for {kind.alertname} ({times})"
            yield f"    {kind.why or 'none is called anything like it'}"
        elif kind.fate == "several":
            yield f"FAILED {kind.place}: {kind.alertname} ({times}) is for several alike: {', '.join(kind.playbooks)}"
            yield f"    each by {kind.why}: give one of them a label that the others do not name"
        yield from (f"NOTE {kind.place}: {kind.alertname}: label left out: {why}" for why in kind.unfit)
    for name, entries in judged.never.items():
        yield f"FAILED {found.place(entries[0])}: no past alert would call {name}"
        yield from (f"    {entry.why}" for entry in entries)
    for entry in judged.idle:
        yield f"NOTE {found.place(entry)}: {entry.playbook} is called, but never by this entry: {entry.why}"
    yield _summary(found)


def _summary(found: Answered) -> str:
    judged = found.judged
    times = {fate: sum(kind.times for kind in judged.kinds if kind.fate == fate) for fate in ("one", "ignored")}
    named = len({entry.playbook for entry in judged.entries})
    parts = [
        f"{found.folder}: {times['one']} of {sum(kind.times for kind in judged.kinds)} alerts have their playbook",
        f"{times['ignored']} ignored" if times["ignored"] else "",
        f"{named - len(judged.never)} of {named} playbooks would be called",
        f"for no alert: {', '.join(judged.without)}" if judged.without else "",
    ]
    return "; ".join(part for part in parts if part)


def document(found: Answered) -> dict[str, Json]:
    entries = [{**asdict(entry), "place": found.place(entry)} for entry in found.judged.entries]
    return {
        "folder": found.folder,
        "passed": not found.failed,
        "alerts": [asdict(kind) for kind in found.judged.kinds],
        "entries": entries,
        "never": list(found.judged.never),
        "without": list(found.judged.without),
    }


def as_junit(found: Answered) -> list[str]:
    """A test case for each kind of alert, and for each playbook."""
    from ..safe_text import safe_text

    judged = found.judged
    cases = [
        (f"alert {kind.alertname}", kind.why or "no playbook is for it" if kind in judged.unanswered else "")
        for kind in judged.kinds
    ]
    names = dict.fromkeys(entry.playbook for entry in judged.entries)
    cases += [(f"playbook {name}", "; ".join(entry.why for entry in judged.never.get(name, ()))) for name in names]
    failures = sum(bool(why) for _, why in cases)
    head = f'<testsuite name={quoteattr(safe_text(found.folder))} tests="{len(cases)}" failures="{failures}">'
    return [head, *(_testcase(safe_text(name), safe_text(why)) for name, why in cases), "</testsuite>"]


def _testcase(name: str, why: str) -> str:
    failure = f"<failure message={quoteattr(why)}/>" if why else ""
    return f'<testcase classname="alerts" name={quoteattr(name)}>{failure}</testcase>'
