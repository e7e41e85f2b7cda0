"""`doctor`: are the targets of an environment reachable, who answers, and what is missing for a full diagnosis."""

from __future__ import annotations

import json
from typing import Any

import click

from .run import load_env

Json = Any
UNAVAILABLE = 69


@click.command("doctor")
@click.option("-e", "--env", "environment", metavar="ENV", help="The environment of runbook.yaml to check.")
@click.option("--output", type=click.Choice(["text", "json"]), default="text")
def doctor_command(environment: str | None, output: str) -> int:
    """Check every target of an environment. Changes nothing."""
    from ..doctor import examine
    from ..safe_text import safe_text

    found = load_env(environment)
    reports = [found.redactor.json(report) for report in examine(found)]
    if output == "json":
        click.echo(json.dumps({"environment": found.name, "targets": reports}, indent=2, default=str))
    else:
        for report in reports:
            for line in _lines(report):
                click.echo(safe_text(line))
    return 0 if all(report["reachable"] for report in reports) else UNAVAILABLE


def _lines(report: dict[str, Json]) -> list[str]:
    word = "ok    " if report["reachable"] and not report["missing"] else "LOOK  " if report["reachable"] else "FAILED"
    answers = report["identity"] if report["reachable"] else f"{report['code']}: {report['message']}"
    lines = [f"{word}  {report['target']:16} {report['kind']:9} {answers}"]
    if report["writes"] is not None:
        lines.append(f"          the credential can write: {'yes' if report['writes'] else 'no'}")
    lines += [f"          missing: {item}" for item in report["missing"]]
    return lines
