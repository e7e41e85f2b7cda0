"""`triage` and `match`: which playbook to take, from what is measured now and from the alert that woke somebody up."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .run import load_env, open_journal, seconds

if TYPE_CHECKING:
    from ..alerts import Labels, Matched
    from ..loader import LoadedPlaybook
    from ..screen.ink import Ink
    from ..triage import Finding, Heard, Triaged

Json = Any
OUTPUTS = click.Choice(["text", "json"])
ALERT = "Alertmanager's webhook payload, one alert as JSON, - for standard input, or an alert's name."
HEALTHY, APPLIES, UNKNOWN, NO_MATCH, NOBODY_ANSWERED = 0, 1, 3, 1, 69


@click.command("triage")
@click.option("--alert", metavar="FILE|NAME", help=f"Say also which playbook it is for. {ALERT}")
@click.option("-e", "--env", "environment", metavar="ENV", help="The environment of runbook.yaml to ask.")
@click.option("--budget", default="60s", callback=seconds, help="Time for all symptoms together.  [default: 60s]")
@click.option("--output", type=OUTPUTS, default="text")
def triage_command(alert: str | None, environment: str | None, budget: float, output: str) -> int:
    """Ask the symptoms of every playbook at once; say which apply, most upstream first. Changes nothing."""
    from ..triage import triage

    alerts = alerts_of(alert) if alert else []
    playbooks, broken = shipped_and_own()
    found = load_env(environment)
    began = time.monotonic()
    if output == "text":
        click.echo(f"asking {found.name} about {len(playbooks)} playbooks …", err=True)
    with closing(open_journal(readonly=True)) as past, _progress(output) as heard:
        done = triage(playbooks, found, past, budget=budget, heard=heard)
    took = time.monotonic() - began
    matched = [(labels, *matching(labels, playbooks)) for labels in alerts]
    where = f" --env {shlex.quote(environment)}" if environment else ""
    if output == "json":
        document = _document(done, found.name, took, broken)
        document["alerts"] = [_match_document(*each) for each in matched]
        click.echo(json.dumps(found.redactor.json(document), indent=2, ensure_ascii=True, default=str))
    else:
        for line in _lines(done, matched, where, took):
            click.echo(found.redactor.text(line))
    for line in broken:
        click.echo(line, err=True)
    return _exit_code(done, broken)


@contextmanager
def _progress(output: str) -> Iterator[Heard]:
    """A line that is drawn anew as answers come, and gone at the end; nothing where nobody can see it."""
    from ..errors import counted
    from ..terminal import ERASE

    applying: list[str] = []
    live = output == "text" and sys.stderr is not None and sys.stderr.isatty()

    def draw(line: str) -> None:
        if live:
            click.echo(ERASE + line[: shutil.get_terminal_size().columns - 1], nl=False, err=True)

    def heard(finding: Finding, left: int) -> None:
        if finding.verdict == "applies":
            applying.append(finding.playbook)
        so_far = f"; applies: {', '.join(applying)}" if applying else ""
        draw(f"  {counted(left, 'playbook')} still to answer{so_far}")

    try:
        yield heard
    finally:
        draw("")


@click.command("match")
@click.option("--alert", metavar="FILE|NAME", required=True, help=ALERT)
@click.option("--explain", is_flag=True, help="Show every playbook that names an alert, and why it does not match.")
@click.option("--output", type=OUTPUTS, default="text")
def match_command(alert: str, explain: bool, output: str) -> int:
    """Say which playbook an alert is for, by which label, and which nearly matched. Asks no target."""
    playbooks, broken = shipped_and_own()
    matched = [(labels, *matching(labels, playbooks, everything=explain)) for labels in alerts_of(alert)]
    if output == "json":
        click.echo(json.dumps([_match_document(*each) for each in matched], indent=2, ensure_ascii=True))
    else:
        ink = _ink()
        for each in matched:
            for line in _match_lines(ink, *each):
                click.echo(line)
    for line in broken:
        click.echo(line, err=True)
    return HEALTHY if all(hits for _, hits, _ in matched) else NO_MATCH


def shipped_and_own() -> tuple[list[LoadedPlaybook], list[str]]:
    """Every playbook that can be found and loaded, and a line for each that cannot."""
    from ..catalog import entries, folders, libraries_for
    from ..errors import PlaybookError
    from ..loader import load_playbook
    from ..safe_text import safe_text

    places = folders(os.environ, Path.cwd())
    loaded, broken = [], []
    for entry in entries(places):
        if entry.kind != "runbook":
            continue
        try:
            libraries = libraries_for(entry.text, places, entry.path)
            loaded.append(load_playbook(entry.text, str(entry.path), libraries=libraries))
        except PlaybookError as error:
            broken.append(safe_text(f"left out: {error.complaints[0]}"))
    return loaded, broken


def alerts_of(word: str) -> list[Labels]:
    """The labels of the alerts in a file or on standard input; or a name that stands for itself."""
    from ..alerts import LARGEST, named, read_alerts
    from ..errors import UsageError

    if word == "-":
        if sys.stdin is None:
            raise UsageError("standard input is closed; name the file of the alert")
        return read_alerts(sys.stdin.read(LARGEST + 1), "standard input")
    if not word.strip():
        raise UsageError("an alert without a name; give its name, or the file of its payload")
    try:
        path = Path(word)
        if not (path.suffix == ".json" or os.sep in word or path.is_file()):
            return named(word)
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return read_alerts(file.read(LARGEST + 1), word)
    except (OSError, ValueError) as error:
        raise UsageError(f"{word[:80]} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def matching(
    labels: Labels, playbooks: Sequence[LoadedPlaybook], everything: bool = False
) -> tuple[list[Matched], list[Matched]]:
    from ..alerts import compared, match

    known = [each.playbook for each in playbooks]
    hits, near = match(labels, known)
    if everything:
        sure = {each.playbook for each in (*hits, *near)}
        near += [each for each in compared(labels, known) if each.playbook not in sure]
    return hits, near


def chosen_by_alert(word: str) -> tuple[str, dict[str, str], str] | None:
    """The playbook that an alert in place of a name stands for, the inputs its labels give, and why.

    None when it is no alert that any playbook names. Several that match equally well are a question to the person.
    """
    from ..errors import UsageError
    from ..safe_text import safe_text

    playbooks, broken = shipped_and_own()
    for line in broken:
        click.echo(line, err=True)
    is_file = word == "-" or word.endswith(".json")
    found = [hits for labels in alerts_of(word) if (hits := matching(labels, playbooks)[0])]
    if not found:
        if is_file:
            raise UsageError(
                f"no playbook is for the alert in {word}: `runbook match --alert {word} --explain` says why"
            )
        return None
    names = {each.playbook for hits in found for each in hits if len(each.agreed) == len(hits[0].agreed)}
    if len(names) > 1:
        raise UsageError(
            f"the alert matches several playbooks: {', '.join(sorted(names))}. Run one of them by its name"
        )
    best = found[0][0]
    if any(hits[0].inputs != best.inputs for hits in found):
        given = "; ".join(_command(hits[0]) for hits in found)
        raise UsageError(f"these alerts give {best.playbook} different inputs. Run one of them: {safe_text(given)}")
    return best.playbook, dict(best.inputs), safe_text(best.why())


def _exit_code(done: Triaged, broken: Sequence[str]) -> int:
    """A playbook that could not be read is a question that was not asked: that is not healthy."""
    verdicts = {finding.verdict for finding in done.findings}
    if "applies" in verdicts:
        return APPLIES
    if not done.answered:
        return NOBODY_ANSWERED
    return UNKNOWN if "unknown" in verdicts or broken else HEALTHY


def _document(done: Triaged, environment: str, took: float, broken: Sequence[str]) -> dict[str, Json]:
    return {
        "version": 1,
        "environment": environment,
        "playbooks": [asdict(finding) for finding in done.findings],
        "left_out": list(broken),
        "questions": done.asked,
        "sent": done.sent,
        "answered": done.answered,
        "seconds": round(took, 2),
        "exit_code": _exit_code(done, broken),
    }


def _match_document(labels: Labels, hits: Sequence[Matched], near: Sequence[Matched]) -> dict[str, Json]:
    def told(each: Matched) -> dict[str, Json]:
        differing = {name: {"wanted": wanted, "has": has} for name, (wanted, has) in each.differing.items()}
        return {
            "playbook": each.playbook,
            "agreed": dict(each.agreed),
            "differing": differing,
            "inputs": dict(each.inputs),
        }

    return {"labels": dict(labels), "matches": [told(each) for each in hits], "near": [told(each) for each in near]}


def _ink() -> Ink:
    from ..terminal import screen_for

    return screen_for(sys.stdout, os.environ).ink


def _lines(
    done: Triaged, matched: Sequence[tuple[Labels, list[Matched], list[Matched]]], where: str, took: float
) -> Iterator[str]:
    from ..screen.ink import indented, row

    ink, findings = _ink(), done.findings
    for each in matched:
        yield from _match_lines(ink, *each)
        yield ""
    words = {"applies": "PRESENT", "unknown": "UNKNOWN"}
    for finding in findings:
        if finding.verdict not in words:
            continue
        yield from row(ink, words[finding.verdict], finding.playbook, ink.safe(finding.title))
        yield from indented(ink, ink.safe(finding.because))
        if finding.after:
            yield from indented(ink, f"may follow from {', '.join(finding.after)}: look there first")
    for verdict, says in (("clear", "clear"), ("skipped", "not asked")):
        names = [finding.playbook for finding in findings if finding.verdict == verdict]
        if names:
            yield from row(ink, "ok" if verdict == "clear" else "skip", says, ", ".join(names))
    yield f"{done.asked} questions, {done.sent} asked of the targets, {took:.1f}s; nothing was changed"
    first = next((finding for finding in findings if finding.verdict == "applies"), None)
    if first is not None:
        yield f"  next  runbook run {first.playbook}{where}"


def _command(found: Matched) -> str:
    given = "".join(f" -i {shlex.quote(f'{name}={value}')}" for name, value in found.inputs.items())
    return f"runbook run {found.playbook}{given}"


def _match_lines(ink: Ink, labels: Labels, hits: Sequence[Matched], near: Sequence[Matched]) -> Iterator[str]:
    from ..screen.ink import row

    yield ink.paint(ink.safe(f"alert {labels.get('alertname', '(without a name)')}"), "bold")
    for each in hits:
        yield from row(ink, "ok", each.playbook, ink.safe(f"matches by {each.why()}"[:500]))
        yield ink.safe(f"            {_command(each)}")
        yield from (f"            label left out: {ink.safe(why)}" for why in each.unfit)
    for each in near:
        yield from row(ink, "skip", each.playbook, ink.safe(f"does not match: {each.why()}"))
    if not hits:
        yield "  no playbook is for this alert; `runbook triage` asks what is wrong"
