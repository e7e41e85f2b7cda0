"""`validate`: what is wrong with files, without any target, and the mending of what has one right mend."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ..errors import Complaint

INVALID = 65
SHAPES = click.Choice(["text", "concise", "json", "sarif", "junit", "github"])
FOR_PEOPLE = ("text", "concise", "github")
PROFILES = click.Choice(["default", "basic", "production"])


@click.command("validate")
@click.argument("paths", nargs=-1)
@click.option("--format", "shape", type=SHAPES, help="Default: github under GITHUB_ACTIONS, else text.")
@click.option("--profile", type=PROFILES, default="default", show_default=True, help="How warnings are weighed; below.")
@click.option("--fix", is_flag=True, help="Mend what has exactly one right mend, show the difference, judge the rest.")
@click.option("--diff", is_flag=True, help="Change nothing; show what --fix would change.")
@click.option("--no-cache", is_flag=True, help="Judge every file anew. Else unchanged files are remembered.")
def validate_command(
    paths: tuple[str, ...], shape: str | None, profile: str, fix: bool, diff: bool, no_cache: bool
) -> int:
    """Check playbooks, libraries, tests and runbook.yaml: files, folders, or `-` for standard input.

    Without PATHS the folder playbooks is checked. The exit code is 65 when there is an error, else 0.

    \b
    Profiles:
      default     every warning is shown, none refuses
      basic       errors, and warnings about what is wrong wherever it stands
      production  everything; warnings about safety are errors
    """
    from ..profiles import weighed
    from ..validation.run import validate

    chosen = shape or ("github" if os.environ.get("GITHUB_ACTIONS") == "true" else "text")
    names = paths or ("playbooks",)
    stdin = sys.stdin.buffer if sys.stdin is not None else io.BytesIO()  # closed, as with `<&-`
    if fix or diff:
        _mend(names, write=fix and not diff, apart=chosen not in FOR_PEOPLE)
    found = validate(names, os.environ, stdin, cached=not no_cache)
    checked = {path: weighed(complaints, profile) for path, complaints in found.items()}
    _show(checked, chosen)
    return INVALID if any(each.severity == "error" for every in checked.values() for each in every) else 0


def _mend(names: Sequence[str], *, write: bool, apart: bool) -> None:
    """What a program reads stays apart from the difference, which is for people."""
    from ..errors import UsageError
    from ..safe_text import safe_text
    from ..validation.mending import mend_files

    if "-" in names:
        raise UsageError("standard input cannot be mended: name a file")
    files = 0
    for line in mend_files(names, os.environ, write=write):
        files += line.startswith("+++ ")
        click.echo(safe_text(line), err=apart)
    click.echo(
        f"{files or 'no'} {'file' if files < 2 else 'files'} {'mended' if write else 'would be mended'}", err=True
    )


def _show(checked: Mapping[str, Sequence[Complaint]], shape: str) -> None:
    from ..complaint_formats import FORMATS, github_summary
    from ..errors import counted

    if printed := FORMATS[shape](checked, _summaries() if shape == "sarif" else {}):
        click.echo(printed)
    if shape not in FOR_PEOPLE:
        return
    every = [complaint for found in checked.values() for complaint in found]
    complaints = [complaint for complaint in every if not complaint.ignored]
    errors = sum(complaint.severity == "error" for complaint in complaints)
    ignored = f", {len(every) - len(complaints)} ignored" if len(every) > len(complaints) else ""
    told = f"{counted(errors, 'error')}, {counted(len(complaints) - errors, 'warning')}{ignored}"
    click.echo(f"{told} in {counted(len(checked), 'file')}", err=True)
    place = os.environ.get("GITHUB_STEP_SUMMARY")
    if shape == "github" and place:
        try:
            with open(place, "a", encoding="utf-8", errors="replace") as file:
                file.write(github_summary(checked))
        except OSError as error:
            click.echo(f"runbook: the summary cannot be written: {error.strerror or error}", err=True)


def _summaries() -> dict[str, str]:
    from ..linter import summaries

    return summaries()
