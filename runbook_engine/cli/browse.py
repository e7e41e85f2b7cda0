"""`list` and `show`: playbooks as files, without any target."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .run import complete_playbooks, load_named

if TYPE_CHECKING:
    from ..loader import LoadedPlaybook

Json = Any


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
