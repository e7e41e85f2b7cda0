"""Finds playbooks and libraries by name or path: here, on $RUNBOOK_PATH, in the user's folder, in the package."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from .errors import UsageError

SUFFIXES = (".yaml", ".yml")
TESTS = (".test.yaml", ".test.yml")
USES = re.compile(r"\buse:\s*[\"']?([a-z][a-z0-9-]*)\.")
KIND = re.compile(r"^(runbook|library|cases|environments):", re.MULTILINE)
NAME = re.compile(r"^name:\s*[\"']?([a-z][a-z0-9-]*)", re.MULTILINE)
LIBRARY = re.compile(r"^library:\s*[\"']?([a-z][a-z0-9-]*)", re.MULTILINE)
LARGEST = 1 << 20  # bytes; the reader refuses more anyway


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that can be found: a playbook or a library."""

    kind: str
    name: str
    path: Path
    text: str


def folders(environ: Mapping[str, str], here: Path) -> list[Path]:
    """Where playbooks are looked for, in this order; the first one that has a name wins."""
    extra = [Path(part) for part in environ.get("RUNBOOK_PATH", "").split(os.pathsep) if part]
    package = Path(__file__).parent / "playbooks"
    source = Path(__file__).parent.parent / "playbooks"
    shipped = package if package.is_dir() else source
    return [here / "playbooks", *extra, config_folder(environ) / "playbooks", shipped]


def config_folder(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_CONFIG_HOME") or str(Path(environ.get("HOME", "/")) / ".config")
    return Path(base) / "runbook"


def entries(places: list[Path]) -> Iterator[Entry]:
    """Every playbook and library that can be found; a name that was seen before is hidden."""
    seen: set[tuple[str, str]] = set()
    for path in _files(places):
        entry = _entry(path)
        if entry is not None and (entry.kind, entry.name) not in seen:
            seen.add((entry.kind, entry.name))
            yield entry


def find_playbook(name: str, places: list[Path]) -> Entry:
    """A playbook by its name, or by the path of its file."""
    path = Path(name)
    if path.suffix in SUFFIXES or os.sep in name:
        text = read_text(path)
        return Entry("runbook", path.stem, path, text)
    known = [entry for entry in entries(places) if entry.kind == "runbook"]
    for entry in known:
        if entry.name == name:
            return entry
    close = get_close_matches(name, [entry.name for entry in known], 1)
    hint = f"did you mean {close[0]!r}?" if close else "`runbook list` shows the ones there are"
    raise UsageError(f"no playbook is called {name!r}: {hint}")


def playbook_of(tests: Path, name: str, places: list[Path]) -> Entry:
    """The playbook that stands beside its tests, else the one that has the name."""
    beside = next((each for end in SUFFIXES if (each := tests.with_name(f"{name}{end}")).is_file()), None)
    return find_playbook(str(beside) if beside else name, places)


def libraries_in(place: Path) -> dict[str, Entry]:
    """Every library of one folder and those below it, by its name; the first that has a name wins."""
    found: dict[str, Entry] = {}
    for path in _files([place]):
        entry = _entry(path) if _may_be_library(path) else None
        if entry is not None and entry.kind == "library":
            found.setdefault(entry.name, entry)
    return found


def _may_be_library(path: Path) -> bool:
    """A look at the bytes: of thousands of files only a few are worth more."""
    try:
        with open(path, "rb") as file:
            return b"library:" in file.read(LARGEST + 1)
    except OSError:
        return False


def libraries_for(
    text: str,
    places: list[Path],
    beside: Path | None = None,
    look: Callable[[Path], Mapping[str, Entry]] = libraries_in,
) -> dict[str, tuple[str, str]]:
    """The libraries a playbook's text uses: name -> (path, text). A missing one is the loader's complaint."""
    missing = set(USES.findall(text))
    near = [beside.parent, beside.parent.parent] if beside is not None else []
    found: dict[str, Entry] = {}
    for place in (*near, *places):
        if not missing:
            break
        here = look(place)
        found |= {name: here[name] for name in missing & here.keys()}
        missing -= here.keys()
    return {name: (str(entry.path), entry.text) for name, entry in found.items()}


def read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST + 1).decode("utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _files(places: list[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_dir():
            files = (path for path in place.rglob("*") if path.suffix in SUFFIXES and not path.name.endswith(TESTS))
            files = (path for path in files if path.is_file())  # reading a pipe would wait for ever
            yield from sorted(files)


def _entry(path: Path) -> Entry | None:
    try:
        text = read_text(path)
    except UsageError:
        return None
    kind = KIND.search(text)
    if kind is None or kind[1] not in ("runbook", "library"):
        return None
    name = (NAME if kind[1] == "runbook" else LIBRARY).search(text)
    return Entry(kind[1], name[1] if name else path.stem, path, text)
