"""One validation from names to complaints: read in parts, remembered where nothing has changed, judged elsewhere."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from ..catalog import Entry, folders, libraries_for, libraries_in, playbook_of
from ..errors import Complaint, UsageError
from .files import PLAYBOOK, Source, sources
from .fingerprint import fingerprint
from .together import judged_together
from .verdicts import Verdict, Verdicts, cache_folder, key_of, open_verdicts

TESTS_OF = re.compile(rb"^cases:[ \t]*[\"']?([a-z][a-z0-9-]*)", re.MULTILINE)
PART = 1024  # files that are held in memory at once
Libraries = dict[str, tuple[str, str]]
FindLibraries = Callable[[Source], Libraries]


def validate(
    names: Sequence[str], environ: Mapping[str, str], stdin: BinaryIO, *, cached: bool = True
) -> dict[str, list[Complaint]]:
    """Every file that the names lead to, with what is wrong with it; what its author ignores says why."""
    files = sources(names, stdin)
    find = library_finder(environ)
    if not cached:
        return judged_together(dict(_judged(files, Verdicts(None), b"", find)))
    with open_verdicts(cache_folder(environ)) as verdicts:
        return judged_together(dict(_judged(files, verdicts, fingerprint(), find)))


def library_finder(environ: Mapping[str, str]) -> FindLibraries:
    """The libraries that a file uses; each folder is looked through once."""
    here = Path.cwd()
    places = folders(environ, here)
    barren: set[Path] = set()  # the same folder may be named in two ways

    @cache
    def look(place: Path) -> dict[str, Entry]:
        found = {} if here / place in barren else libraries_in(place)
        if not found:
            barren.add(here / place)
        return found

    @cache
    def of_tests(path: Path, name: str) -> Libraries:
        try:
            entry = playbook_of(path, name, places)
        except UsageError as error:
            return {PLAYBOOK: ("", str(error))}
        return {**libraries_for(entry.text, places, entry.path, look), PLAYBOOK: (str(entry.path), entry.text)}

    def find(source: Source) -> Libraries:
        if (tests := TESTS_OF.search(source.content)) is not None:
            return of_tests(Path(source.path), tests[1].decode())
        if not _may_use(source.content):
            return {}
        text = source.content.decode("utf-8", errors="replace")
        return libraries_for(text, places, Path(source.path), look)

    return find


def _may_use(content: bytes) -> bool:
    """Whether `use:` stands there as a word; most files have none, and finding that out is as good as free."""
    at = content.find(b"use:")
    while at > 0 and chr(content[at - 1]).isalnum():  # pause: or cause:
        at = content.find(b"use:", at + 1)
    return at >= 0


def judging() -> Any:
    """The loader and what it stands on are slow to import; a run that remembers every file needs none of it."""
    return importlib.import_module(".judging", __package__)


def _judged(
    files: Iterator[Source], verdicts: Verdicts, engine: bytes, find: FindLibraries
) -> Iterator[tuple[str, Verdict]]:
    while part := list(islice(files, PART)):
        readable = [source for source in part if source.complaint is None]
        libraries = {source.path: find(source) for source in readable}
        keys = {source.path: key_of(engine, source.path, source.content, libraries[source.path]) for source in readable}
        known = verdicts.known(list(keys.values()))
        found = {path: known[key] for path, key in keys.items() if key in known}
        missing = [source for source in readable if source.path not in found]
        if missing:
            work = [(source.path, source.content, libraries[source.path]) for source in missing]
            judged = dict(zip((source.path for source in missing), judging().judge_all(work), strict=True))
            found |= judged
            theirs = judging().depends_on_third_parties
            verdicts.keep((keys[each.path], judged[each.path]) for each in missing if not theirs(each.content))
        for source in part:
            yield source.path, found[source.path] if source.complaint is None else Verdict((source.complaint,))
