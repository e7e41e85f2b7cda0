"""`test --watch`: runs again what a change concerns, whenever a playbook, a test, a cassette or a library changes."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from .testing import Wanted

EVERY = 0.5  # seconds between two looks
Stamps = dict[Path, tuple[int, int] | None]


def watch(names: Sequence[str], only: str, wanted: Wanted) -> NoReturn:
    """Until Ctrl-C, which ends it like any other command."""
    from .testing import find_files

    files = find_files(names)
    sources = {path: [path] for path in files}
    stamps: Stamps = {}
    affected, why = files, ""
    while True:
        if affected:
            before = _stamps(sources)
            sources |= _run(affected, only, wanted, why, sources)
            stamps = _stamps(sources) | before  # what changed while they ran is seen at the next look
            click.echo(f"watching {len(stamps)} files; Ctrl-C ends it", err=True)
        time.sleep(EVERY)
        affected, changed = _look(names, sources, stamps)
        why = f"changed: {', '.join(map(str, changed))}"


def _look(names: Sequence[str], sources: dict[Path, list[Path]], stamps: Stamps) -> tuple[list[Path], list[Path]]:
    """The files with tests that a change concerns, and what has changed. What is gone is forgotten."""
    from ..errors import UsageError
    from .testing import find_files

    try:
        files = find_files(names)
    except UsageError:  # all of them are gone for a moment, as with an editor that writes a file anew
        files = []
    for path in [path for path in sources if path not in files]:
        del sources[path]
    now = _stamps(sources)
    changed = {path for path, stamp in now.items() if stamps.get(path) != stamp}
    new = [path for path in files if path not in sources]
    return [path for path in files if path in new or changed & set(sources[path])], sorted({*changed, *new})


def _run(
    files: list[Path], only: str, wanted: Wanted, why: str, known: dict[Path, list[Path]]
) -> dict[Path, list[Path]]:
    """Rehearse these and tell; what each depends on. A file that is broken is watched until it is mended."""
    from ..rehearsing.workers import rehearse_all
    from .testing import show, told_apart

    if why:
        click.echo(f"\n{why}; running {', '.join(map(str, files))}", err=True)
    done, refused = told_apart(rehearse_all(files, only, os.environ))
    show(done, wanted)
    found = {each.path: [*each.sources] for each in done}
    return found | {each.path: [*each.sources, *known.get(each.path, ())] for each in refused}


def _stamps(sources: dict[Path, list[Path]]) -> Stamps:
    return {path: _stamp(path) for path in _unique(each for listed in sources.values() for each in listed)}


def _unique(paths: Iterable[Path]) -> Iterable[Path]:
    return dict.fromkeys(paths)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size
