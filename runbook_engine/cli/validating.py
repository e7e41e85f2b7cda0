"""`validate` and `explain`: what is said of files, without any target."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..errors import Complaint

INVALID = 65
SHAPES = click.Choice(["text", "concise", "json", "sarif", "junit", "github"])


@click.command("validate")
@click.argument("paths", nargs=-1)
@click.option("--format", "shape", type=SHAPES, help="Default: github under GITHUB_ACTIONS, else text.")
def validate_command(paths: tuple[str, ...], shape: str | None) -> int:
    """Check playbooks, libraries and runbook.yaml: files, folders, or `-` for standard input."""
    from ..complaint_formats import FORMATS
    from ..linter import summaries

    checked: dict[str, list[Complaint]] = {}
    for path, text in _texts(paths or ("playbooks",)):
        checked[path] = _complaints(path, text)
    complaints = [complaint for found in checked.values() for complaint in found]
    errors = [complaint for complaint in complaints if complaint.severity == "error"]
    chosen = shape or ("github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text")
    if printed := FORMATS[chosen](checked, summaries()):
        click.echo(printed)
    if chosen in ("text", "concise", "github"):
        click.echo(f"{len(errors)} errors, {len(complaints) - len(errors)} warnings in {len(checked)} files", err=True)
    return INVALID if errors else 0


@click.command("explain")
@click.argument("code", required=False)
def explain_command(code: str | None) -> None:
    """Say what CODE (RBnnn, from a complaint) means; without it, list every code."""
    from difflib import get_close_matches

    from ..errors import UsageError
    from ..linter import rules, summaries

    known = summaries()
    if code is None:
        for each, summary in known.items():
            click.echo(f"{each}  {summary}")
        return
    wanted = code.upper()
    if wanted not in known:
        close = get_close_matches(wanted, known, 1, 0.5)
        hint = f"did you mean {close[0]}?" if close else "`runbook explain` lists them"
        raise UsageError(f"there is no code {code!r}: {hint}")
    rule = next((each for each in rules() if wanted == each.CODE), None)
    click.echo(f"{wanted}  {'a warning' if rule else 'an error: the playbook is refused'}\n\n{known[wanted]}")
    if rule is not None and rule.__doc__:
        click.echo(f"\n{rule.__doc__.strip()}")


def _texts(paths: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    from ..catalog import SUFFIXES, TESTS
    from ..errors import UsageError

    for name in paths:
        path = Path(name)
        if name == "-":
            yield "<stdin>", sys.stdin.buffer.read()
        elif path.is_dir():
            files = sorted(
                each for each in path.rglob("*") if each.suffix in SUFFIXES and not each.name.endswith(TESTS)
            )
            yield from ((str(each), each.read_bytes()) for each in files if each.is_file())
        elif path.is_file():
            yield name, path.read_bytes()
        else:
            raise UsageError(f"{name} is neither a file nor a folder")


def _complaints(path: str, content: bytes) -> list[Complaint]:
    """Everything that is wrong with one file, whatever its kind."""
    from ..cases import Cases
    from ..catalog import folders, libraries_for
    from ..errors import PlaybookError
    from ..linter import run as lint
    from ..loader import kind_of_file, load_library, load_playbook, validate_document
    from ..targets import Configuration

    text = content.decode("utf-8", errors="replace")
    try:
        match kind_of_file(text, path):
            case "library":
                load_library(content, path)
            case "environments":
                validate_document(content, path, Configuration, {})
            case "cases":
                validate_document(content, path, Cases, {})
            case _:
                libraries = libraries_for(text, folders(os.environ, Path.cwd()), Path(path))
                loaded = load_playbook(content, path, libraries=libraries)
                return [*loaded.warnings, *lint(loaded)]
    except PlaybookError as error:
        return list(error.complaints)
    return []
