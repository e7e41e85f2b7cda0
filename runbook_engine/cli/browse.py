"""`list` and `show`: playbooks as files, without any target."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from .run import complete_playbooks, load_named

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
@click.option("--format", "shape", type=click.Choice(["text", "md", "html"]), default="text", show_default=True)
def show_command(name: str, shape: str) -> None:
    """Show NAME as a person reads a guide: meaning, impact, diagnosis, causes, mitigation.

    md and html are pages for a docs site, or for what an alert's `runbook_url` names; `#cause-ID` leads to a cause.
    """
    from ..guide import FORMATS

    click.echo(FORMATS[shape](load_named(name)), nl=False)
