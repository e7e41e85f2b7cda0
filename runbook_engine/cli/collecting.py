"""`collect` and `analyze`: the evidence of an incident in one file, and what it means, also far from its targets."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .run import load_env, open_journal, seconds

if TYPE_CHECKING:
    from ..bundle.analyzing import Analysis
    from ..bundle.reading import Bundle
    from ..journal import Journal
    from ..loader import LoadedPlaybook

Json = Any
OUTPUTS = click.Choice(["text", "json"])
RESERVE = 18.0
"""Seconds of the whole that are kept back: for what hangs, for masking and for writing."""
LEAST = 5.0
HEALTHY, DIAGNOSED, INCONCLUSIVE, NOBODY_ANSWERED, INTERRUPTED = 0, 1, 3, 69, 130
SHOWN_CAUSES = 3
TOLD = ("confirmed", "suspected", "explained")


@click.command("collect")
@click.option("--to", metavar="PATH", help="A folder, or a file that ends with .tar.gz. Default: a .tar.gz here.")
@click.option("-e", "--env", "environment", metavar="ENV", help="The environment of runbook.yaml to ask.")
@click.option("--budget", default="60s", callback=seconds, help="Time for everything.  [default: 60s]")
@click.option("--output", type=OUTPUTS, default="text")
def collect_command(to: str | None, environment: str | None, budget: float, output: str) -> int:
    """Collect the evidence of this moment, redacted, in one bundle. Changes nothing.

    `runbook analyze BUNDLE` says what it means, on any machine, without touching a target. Ctrl-C ends the asking: what
    had answered by then is written.
    """
    from .. import __version__
    from ..bundle.collecting import collect
    from ..bundle.packing import Moment, pack, refuse_existing, write

    clock, began = time.monotonic(), time.time()
    found = load_env(environment)
    path = Path(to or f"runbook-{_plain(found.name)}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(began))}.tar.gz")
    refuse_existing(path)
    playbooks = _playbooks()
    click.echo(f"asking {found.name} with {len(playbooks)} playbooks …", err=True)
    past = _past()
    try:
        collected = collect(playbooks, found, past, max(LEAST, budget - RESERVE - (time.monotonic() - clock)))
    finally:
        if past is not None:
            past.close()
    content = pack(collected, Moment(__version__, found.name, began, time.time()))
    write(path, content, began)
    manifest = json.loads(content["manifest.json"])
    took = time.monotonic() - clock
    if output == "json":
        said = {name: manifest[name] for name in ("version", "environment", "playbooks", "redaction", "cut", "digest")}
        size = sum(map(len, content.values()))
        click.echo(json.dumps({"path": str(path), "bytes": size, "seconds": round(took, 2), **said}, indent=2))
    else:
        for line in _collected_lines(path, manifest, sum(map(len, content.values())), took):
            click.echo(line)
    if collected.interrupted:
        click.echo("interrupted: the bundle holds what had answered by then", err=True)
    return INTERRUPTED if collected.interrupted else HEALTHY


@click.command("analyze")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--current", is_flag=True, help="Judge by the playbooks of this machine, not by those of the bundle.")
@click.option("--output", type=OUTPUTS, default="text")
def analyze_command(bundle: Path, current: bool, output: str) -> int:
    """Say what the evidence in BUNDLE means: its causes, most upstream first. Asks no target."""
    from ..bundle.analyzing import analyze
    from ..bundle.reading import open_bundle

    opened = open_bundle(bundle)
    known = {each.playbook.name: each for each in _playbooks()} if current else None
    judged = analyze(opened, known)
    code = _exit_code(judged)
    if output == "json":
        click.echo(json.dumps(_document(opened, judged, code), indent=2, ensure_ascii=True, default=str))
    else:
        for line in _lines(opened, judged):
            click.echo(line)
    return code


def report_bundle(path: Path, shape: str) -> None:
    """The reports of every playbook of a bundle; in Markdown those that found something, and the others by name."""
    from ..bundle.analyzing import analyze, records_of
    from ..bundle.reading import open_bundle
    from ..report import fold, to_json, to_markdown

    opened = open_bundle(path)
    judged = [each for each in analyze(opened) if each.events]
    folded = [(each, records_of(each)) for each in judged]
    if shape == "json":
        click.echo(to_json({"version": 1, **_about(opened), "runs": [fold(records) for _, records in folded]}))
        return
    click.echo(f"Bundle of {opened.manifest['environment']}, collected {_when(opened)}\n")
    for each, records in folded:
        if each.outcome != "healthy":
            click.echo(to_markdown(fold(records), records) + "\n")
    clear = [each.playbook for each in judged if each.outcome == "healthy"]
    click.echo(f"Nothing found by: {', '.join(clear) or 'none'}")


def _plain(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in name)[:60]


def _playbooks() -> list[LoadedPlaybook]:
    from .triage import shipped_and_own

    playbooks, broken = shipped_and_own()
    for line in broken:
        click.echo(line, err=True)
    return playbooks


def _past() -> Journal | None:
    """Earlier runs, for their baselines; a machine without any has none."""
    from ..errors import RunbookError

    try:
        return open_journal(readonly=True)
    except RunbookError:
        return None


def _collected_lines(path: Path, manifest: dict[str, Json], size: int, took: float) -> Iterator[str]:
    from ..units import format_size

    answered = sum(1 for entry in manifest["entries"] if entry["files"])
    failed = sum(1 for entry in manifest["entries"] if entry.get("error"))
    yield f"{path}  {format_size(path.stat().st_size if path.is_file() else size)} ({format_size(size)} unpacked)"
    yield f"{answered} answers, {failed} questions failed, {took:.1f}s; nothing was changed"
    hidden = ", ".join(f"{kind} {count}" for kind, count in manifest["redaction"].items())
    yield f"masked: {hidden or 'nothing'}"
    for cut in manifest["cut"]:
        yield f"left out: {cut['file']}, {format_size(cut['bytes'])}: the bundle would have become too large"
    yield f"digest {manifest['digest']}"
    yield f"  next  runbook analyze {path}"


def _exit_code(judged: Sequence[Analysis]) -> int:
    outcomes = {each.outcome for each in judged}
    if "diagnosed" in outcomes:
        return DIAGNOSED
    if outcomes and outcomes <= {"error"}:
        return NOBODY_ANSWERED
    return HEALTHY if outcomes <= {"healthy"} else INCONCLUSIVE


def _about(bundle: Bundle) -> dict[str, Json]:
    names = ("environment", "engine", "began", "ended", "digest")
    return {"bundle": str(bundle.path), **{name: bundle.manifest.get(name) for name in names}}


def _document(bundle: Bundle, judged: Sequence[Analysis], code: int) -> dict[str, Json]:
    return {
        "version": 1,
        **_about(bundle),
        "playbooks": [
            {
                "playbook": each.playbook,
                "outcome": each.outcome,
                "reason": each.problem or each.reason,
                "after": list(each.after),
                "symptoms": list(each.symptoms),
                "causes": list(each.causes),
            }
            for each in judged
        ],
        "exit_code": code,
    }


def _when(bundle: Bundle) -> str:
    began = bundle.manifest.get("began")
    known = isinstance(began, int | float) and 0 <= began < 1e11
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(began)) if known else "at an unknown time"


def _lines(bundle: Bundle, judged: Sequence[Analysis]) -> Iterator[str]:
    from ..screen.ink import indented, row
    from ..terminal import screen_for

    ink = screen_for(sys.stdout, os.environ).ink
    yield ink.safe(
        f"{bundle.manifest.get('environment')}, {_when(bundle)}, digest {str(bundle.manifest['digest'])[:12]}"
    )
    for each in judged:
        if each.outcome == "healthy":
            continue
        mark = "PRESENT" if each.outcome == "diagnosed" else "UNKNOWN"
        yield from row(ink, mark, each.playbook, ink.safe(f"{each.outcome}: {each.problem or each.reason}"))
        if each.after:
            yield from indented(ink, f"may follow from {', '.join(each.after)}: look there first")
        for cause in [cause for cause in each.causes if cause["verdict"] in TOLD][:SHOWN_CAUSES]:
            yield from indented(ink, ink.safe(f"{cause['verdict']} ({cause['score']}): {cause['title']}"))
            for said in cause["for"]:
                yield from indented(ink, ink.safe(f"  for: {said}"))
    clear = [each.playbook for each in judged if each.outcome == "healthy"]
    if clear:
        yield from row(ink, "ok", "clear", ", ".join(clear))
    yield "no target was asked"
