"""`list`, `show`, `validate` and `schema`: playbooks as files, without any target."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .run import complete_playbooks, load_named

if TYPE_CHECKING:
    from ..errors import Complaint
    from ..loader import LoadedPlaybook

Json = Any
INVALID = 65


@click.command("list")
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
def list_command(output: str) -> None:
    """List the playbooks that can be found, and where each is."""
    import re

    from ..catalog import entries, folders
    from ..safe_text import single_line

    title, area = re.compile(r"^title:\s*(.*)$", re.MULTILINE), re.compile(r"^area:\s*(\w+)", re.MULTILINE)
    rows = [
        {
            "name": entry.name,
            "area": found[1] if (found := area.search(entry.text)) else "",
            "title": found[1].strip("\"'") if (found := title.search(entry.text)) else "",
            "path": str(entry.path),
        }
        for entry in entries(folders(os.environ, Path.cwd()))
        if entry.kind == "runbook"
    ]
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        click.echo(f"{row['name']:{width}}  {row['area']:10}  {single_line(row['title'], 60)}")


@click.command("show")
@click.argument("name", shell_complete=complete_playbooks)
def show_command(name: str) -> None:
    """Show NAME as a person reads a guide: meaning, diagnosis, causes, what mends them."""
    from ..safe_text import safe_text

    click.echo(safe_text("\n".join(_page(load_named(name))), newlines=True))


def _page(loaded: LoadedPlaybook) -> Iterator[str]:
    playbook = loaded.playbook
    yield from (f"{playbook.name}: {playbook.title}", "", playbook.about.strip(), "")
    for note in (*(f"not for: {text}" for text in playbook.not_for), *playbook.notes):
        yield f"  {note.strip()}"
    if playbook.inputs:
        yield from ("", "Inputs")
        yield from (
            f"  {name} ({each.type}, default {each.default}): {each.help}" for name, each in playbook.inputs.items()
        )
    yield from ("", "Symptoms")
    yield from (f"  {probe.title or probe.id}: {probe.present}" for probe in playbook.symptoms)
    yield from ("", "Diagnosis")
    yield from (f"  {probe.title or probe.id} ({probe.executor or 'asks you'})" for probe in playbook.diagnosis)
    yield from ("", "Causes")
    for cause in playbook.causes:
        then = f" -> {', '.join(cause.fix)}" if cause.fix else f" -> see {cause.see.playbook}" if cause.see else ""
        yield f"  {cause.id}: {cause.needs}{then}"
    yield from ("", "Resolution")
    for action in playbook.resolution:
        undo = "with an undo" if action.undo else "no undo"
        yield f"  {action.id} ({action.effect}, {undo}): {action.title}"


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


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a playbook, for editors."""
    from ..schema import schema_text

    click.echo(schema_text())
