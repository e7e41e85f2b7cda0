"""`fmt`: writes playbooks in one layout. A file changes only when meaning and comments are proved to stay."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..errors import Complaint

CHANGED, INVALID = 1, 65
STDIN = "-"


@dataclass(frozen=True, slots=True)
class _Formatted:
    """One file: what it holds, and what it should; or why that cannot be said."""

    path: str
    before: str
    after: str
    complaints: tuple[Complaint, ...] = ()


@click.command("fmt")
@click.argument("paths", nargs=-1)
@click.option("--check", is_flag=True, help="Change nothing; exit with 1 when a file is not in the layout.")
@click.option("--diff", is_flag=True, help="Change nothing; show what would change.")
def fmt_command(paths: tuple[str, ...], check: bool, diff: bool) -> int:
    """Write playbooks, libraries, tests and runbook.yaml in one layout: files, folders, or `-` from stdin to stdout.

    Comments and meaning stay: a file for which that cannot be proved is left alone. Default: the folder playbooks.
    """
    done = [_formatted(path, content) for path, content in _contents(paths or ("playbooks",))]
    changed = [each for each in done if each.after != each.before and not each.complaints]
    for each in done:
        _show(each, diff)
        if each.path == STDIN and not (check or diff or each.complaints):
            click.echo(each.after, nl=False)
    if not (check or diff):
        for each in changed:
            if each.path != STDIN:
                replace_file(Path(each.path), each.after)
    broken = sum(bool(each.complaints) for each in done)
    word = "would be formatted" if check or diff else "formatted"
    click.echo(f"{len(changed)} {word}, {broken} broken, of {len(done)} files", err=True)
    return INVALID if broken else CHANGED if changed and check else 0


def _contents(paths: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    from ..catalog import KIND, LARGEST, SUFFIXES
    from ..errors import UsageError

    for name in paths:
        path = Path(name)
        if name == STDIN:
            yield STDIN, sys.stdin.buffer.read()
        elif path.is_dir():
            for each in sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file()):
                content = _bytes(each, LARGEST)
                # What is no file of ours may stand in the same folder and has a layout of its own.
                if KIND.search(content.decode("utf-8", "replace")):
                    yield str(each), content
        elif path.is_file():
            yield name, _bytes(path, LARGEST)
        else:
            raise UsageError(f"{name} is neither a file nor a folder")


def _bytes(path: Path, most: int) -> bytes:
    from ..errors import UsageError

    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def _formatted(path: str, content: bytes) -> _Formatted:
    from ..errors import PlaybookError
    from ..layout import format_text
    from ..loader import kind_of_file
    from ..loading.source_text import readable_text

    shown = "<stdin>" if path == STDIN else path
    try:
        text = readable_text(content, shown)
        kind_of_file(text, shown)
        return _Formatted(path, text, format_text(text, shown))
    except PlaybookError as error:
        return _Formatted(path, "", "", error.complaints)


def _show(each: _Formatted, diff: bool) -> None:
    from difflib import unified_diff

    from ..safe_text import safe_text

    for complaint in each.complaints:
        click.echo(safe_text(str(complaint), newlines=True), err=True)
        if complaint.snippet:
            click.echo(safe_text(complaint.snippet, newlines=True), err=True)
    if each.complaints or each.after == each.before:
        return
    if not diff:
        if each.path != STDIN:
            click.echo(safe_text(each.path))
        return
    before, after = each.before.split("\n"), each.after.split("\n")
    for line in unified_diff(before, after, each.path, each.path, lineterm=""):
        click.echo(safe_text(line))


def replace_file(path: Path, text: str) -> None:
    """At once or not at all: what stops in the midst leaves the old file. A link stays a link."""
    from ..errors import UsageError

    real = path.resolve()
    try:
        descriptor, made = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                file.write(text)
            os.chmod(made, real.stat().st_mode & 0o7777)
            os.replace(made, real)
        except BaseException:
            os.unlink(made)
            raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
