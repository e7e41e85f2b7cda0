"""`runs` and `report`: what the journal tells."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import click

from .run import open_journal


@click.command("runs")
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
def runs_command(limit: int, output: str) -> None:
    """List earlier runs, newest first."""
    from dataclasses import asdict

    with closing(open_journal(readonly=True)) as journal:
        found = journal.runs(limit=limit)
    if output == "json":
        click.echo(json.dumps([asdict(run) for run in found], indent=2))
        return
    if not found:
        click.echo("no runs yet")
    for run in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(run.started_at))
        state = run.outcome or "unfinished"
        click.echo(f"{run.id:10}  {when}  {state:12}  {run.playbook}  {run.environment}")


@click.command("report")
@click.argument("run")
@click.option("--format", "shape", type=click.Choice(["md", "json"]), default="md", help="Markdown or JSON.")
def report_command(run: str, shape: str) -> None:
    """Report RUN: Markdown to paste into the incident channel, or the JSON document. RUN may be a bundle."""
    from ..bundle.reading import is_bundle

    if is_bundle(run):
        from .collecting import report_bundle

        report_bundle(Path(run), shape)
        return
    from ..report import fold, to_json, to_markdown

    with closing(open_journal(readonly=True)) as journal:
        run = journal.find(run)
        problems = journal.verify(run)
        records = [(record.kind, record.data) for record in journal.records(run)]
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    document = fold(records)
    click.echo(to_json(document) if shape == "json" else to_markdown(document, records))
