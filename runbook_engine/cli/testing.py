"""`test`: rehearses playbooks from the cases beside them. No socket is opened, no program is started."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..cases import Cases
    from ..cassette import Cassette
    from ..coverage import Coverage
    from ..loader import LoadedPlaybook
    from ..rehearsing.workers import Refused, Rehearsed
    from .past_alerts import Answered

Json = Any
FAILED, INVALID = 1, 65
SHAPES = click.Choice(["text", "json", "junit"])
PERCENT = click.FloatRange(0, 100)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is shown and what fails besides a test."""

    coverage: bool
    at_least: float | None
    branches_at_least: float | None
    shape: str
    verbose: bool
    alerts: str | None = None  # the folder of past ones
    ignored: tuple[str, ...] = ()


@click.command("test")
@click.argument("paths", nargs=-1)
@click.option("-k", "only", metavar="TEXT", help="Only tests whose name contains this.")
@click.option("--coverage", is_flag=True, help="Show which causes, actions and branches no test visits.")
@click.option("--at-least", type=PERCENT, metavar="PERCENT", help="Fail below this coverage of causes and actions.")
@click.option("--branches-at-least", type=PERCENT, metavar="PERCENT", help="Fail below this coverage of branches.")
@click.option("--verbose", is_flag=True, help="With coverage: every branch, and every fact that was never unknown.")
@click.option("--update", is_flag=True, help="Rewrite what failing tests expect to what came out, after a review.")
@click.option("--yes", is_flag=True, help="With --update: ask nothing. Needed where nobody is there, as in CI.")
@click.option("--watch", is_flag=True, help="Run again whatever a change concerns, until Ctrl-C.")
@click.option("--alerts", metavar="DIR", help="Past alerts: fail where none is for one, or none calls a playbook.")
@click.option("--ignore-alert", "ignored", multiple=True, metavar="NAME", help="An alert that needs none; * fits all.")
@click.option("--format", "shape", type=SHAPES, default="text", show_default=True)
def test_command(
    paths: tuple[str, ...],
    only: str | None,
    coverage: bool,
    at_least: float | None,
    branches_at_least: float | None,
    verbose: bool,
    update: bool,
    yes: bool,
    watch: bool,
    alerts: str | None,
    ignored: tuple[str, ...],
    shape: str,
) -> int:
    """Rehearse the cases in PATHS (files `*.test.yaml` or folders): no target is touched."""
    names = paths or ("playbooks",)
    wanted = Wanted(coverage, at_least, branches_at_least, shape, verbose, alerts, ignored)
    _check(wanted, only, update=update, yes=yes, watch=watch)
    if watch:
        from .watching import watch as keep_watching

        keep_watching(names, only or "", wanted)
    past = _answered(names, wanted)
    done, refused = _rehearsed(names, only or "", needed=past is None)
    if update:
        from .rewriting import rewrite

        done = rewrite(done, only or "", yes=yes)
    if refused and not done and past is None and wanted.shape == "text":
        return INVALID
    code = show(done, wanted, past, refused)
    return INVALID if refused else code


def _answered(names: Sequence[str], wanted: Wanted) -> Answered | None:
    from .past_alerts import answered

    return answered(wanted.alerts, names, wanted.ignored) if wanted.alerts is not None else None


def _rehearsed(names: Sequence[str], only: str, *, needed: bool) -> tuple[list[Rehearsed], list[Refused]]:
    """Every test that was asked for; none is a mistake where they are `needed`. What is wrong with a file is told."""
    from ..errors import UsageError
    from ..rehearsing.workers import rehearse_all

    files = find_files(names) if needed else _files_there_are(names)
    done, refused = told_apart(rehearse_all(files, only, os.environ) if files else [])
    if files and not refused and not any(each.tests for each in done):
        raise UsageError(f"no test is called anything like {only!r}")
    return done, refused


def _check(wanted: Wanted, only: str | None, *, update: bool, yes: bool, watch: bool) -> None:
    """Options that contradict each other."""
    from ..errors import UsageError

    if only and (wanted.at_least is not None or wanted.branches_at_least is not None):
        raise UsageError("--at-least speaks of all tests; leave out -k")
    if (update or watch) and wanted.shape != "text":
        raise UsageError("--update and --watch are for people; leave out --format")
    if update and watch:
        raise UsageError("--update asks, and --watch goes on: one at a time")
    if wanted.ignored and wanted.alerts is None:
        raise UsageError("--ignore-alert belongs to --alerts")
    if watch and wanted.alerts is not None:
        raise UsageError("--alerts is judged once; leave out --watch")
    if yes and not update:
        raise UsageError("--yes belongs to --update")
    if update and not yes and os.environ.get("CI", "").lower() not in ("", "0", "false"):
        raise UsageError("--update in CI would make every test pass; with --yes it does")


def find_files(names: Sequence[str]) -> list[Path]:
    """Every file with tests that the names lead to; none is a mistake."""
    from ..errors import UsageError
    from ..rehearsing.files import find_tests

    files = list(dict.fromkeys(find_tests(names)))
    if not files:
        raise UsageError("no *.test.yaml there; `runbook test playbooks` runs those of a folder")
    return files


def _files_there_are(names: Sequence[str]) -> list[Path]:
    """A playbook without tests is no mistake where it is its alerts that are asked about."""
    from ..errors import UsageError

    files: list[Path] = []
    for name in names:
        with suppress(UsageError):
            files += find_files([name])
    return list(dict.fromkeys(files))


def told_apart(found: Sequence[Rehearsed | Refused]) -> tuple[list[Rehearsed], list[Refused]]:
    """What was rehearsed, and the files that could not be: what is wrong with those is told, once each."""
    from ..errors import PlaybookError
    from ..rehearsing.workers import Refused
    from ..safe_text import safe_text
    from .run import show_complaints

    refused = [each for each in found if isinstance(each, Refused)]
    complaints = tuple(dict.fromkeys(complaint for each in refused for complaint in each.complaints))
    if complaints:
        show_complaints(PlaybookError(complaints), "what they are about was not rehearsed")
    for says in dict.fromkeys(each.says for each in refused if each.says):
        click.echo(safe_text(f"runbook: {says}"), err=True)
    return [each for each in found if not isinstance(each, Refused)], refused


def show(
    done: Sequence[Rehearsed], wanted: Wanted, past: Answered | None = None, refused: Sequence[Refused] = ()
) -> int:
    """Tell what came of it; the exit code."""
    from . import past_alerts, rehearsed

    covered = _covered(done)
    too_little = _below(wanted.at_least, [each.share() for each in covered.values()])
    too_few_branches = _below(wanted.branches_at_least, [each.branches.share() for each in covered.values()])
    too_little |= too_few_branches
    if wanted.shape == "json":
        click.echo(rehearsed.as_json(done, covered, past, refused))
    elif wanted.shape == "junit":
        click.echo(rehearsed.as_junit(done, past, refused))
    else:
        verbose = wanted.verbose or too_few_branches
        for line in rehearsed.as_text(done, covered if wanted.coverage or too_little else None, verbose=verbose):
            click.echo(line)
        for line in past_alerts.as_text(past) if past is not None else ():
            click.echo(line)
    failed = any(not test.passed for each in done for test in each.tests) or (past is not None and past.failed)
    return FAILED if failed or too_little else 0


def _below(least: float | None, shares: Sequence[float]) -> bool:
    return least is not None and any(share * 100 < least for share in shares)


def _covered(done: Sequence[Rehearsed]) -> dict[str, Coverage]:
    """What all files of a playbook visit together, by playbook."""
    covered: dict[str, Coverage] = {}
    for each in done:
        known = covered.get(each.playbook)
        covered[each.playbook] = each.coverage if known is None else known.with_(each.coverage)
    return covered


def _prepare(path: Path) -> tuple[Path, LoadedPlaybook, Cases]:
    """The playbook under test and its tests, for whoever plays them by other means."""
    from ..rehearsing.files import open_tests

    file = open_tests(path, os.environ)
    return path, file.loaded, file.cases


def _cassette(path: Path, name: str | None, playbook: str) -> Cassette | None:
    from ..rehearsing.files import cassette_of

    return cassette_of(path, name, playbook)
