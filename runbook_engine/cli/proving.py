"""`prove`: every way a playbook can run, gone through without any target."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .run import complete_playbooks, load_env, load_named

if TYPE_CHECKING:
    from ..loader import LoadedPlaybook
    from ..policy import Policy
    from ..proving import Failure, Proof

Json = Any
BROKEN = 1
LONGEST_STORY = 30  # lines
LABELS = {"holds": "holds ", "broken": "BROKEN", "open": "open  "}
HELD = {"holds": True, "broken": False, "open": None}


@click.command("prove")
@click.argument("names", nargs=-1, required=True, shell_complete=complete_playbooks)
@click.option("-e", "--env", "environment", metavar="ENV", help="Its policy must hold. Default: the language's own.")
@click.option("--most", default=400, show_default=True, type=click.IntRange(1), help="Paths of one fix.")
@click.option(
    "--unusual",
    default=2,
    show_default=True,
    type=click.IntRange(0, 6),
    help="Decisions on one path that go otherwise than usual: a no, a failure, a lost answer, Ctrl-C.",
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def prove_command(names: tuple[str, ...], environment: str | None, most: int, unusual: int, output: str) -> int:
    """Go through every way NAMES can run, and show what holds on each: gates, guards, verification, undo.

    No target is touched. Facts may have any value, known or not; gates may be answered in any way; what is sent may be
    done, refused or lost; a fix may work, fail or relapse. What is broken is told as a story, with exit code 1.
    """
    from ..policy import Policy

    policy = load_env(environment).policy if environment else Policy()
    proving = Proving(tuple(_named(names)), policy, environment or "any", most, unusual)
    shown = list(_each(proving, output))
    if output == "json":
        click.echo(json.dumps([each.document for each in shown], indent=2, ensure_ascii=True, default=str))
    return BROKEN if any(each.broken for each in shown) else 0


@dataclass(frozen=True, slots=True)
class Proving:
    """What is to be proved, and within which bounds."""

    names: tuple[str, ...]
    policy: Policy
    environment: str
    most: int
    unusual: int


@dataclass(frozen=True, slots=True)
class Shown:
    """One proof, as it is printed."""

    broken: bool
    lines: tuple[str, ...]
    document: Mapping[str, Json]


def _named(names: Sequence[str]) -> Iterator[str]:
    """Playbooks by name or file, and those of a folder."""
    from ..catalog import entries
    from ..errors import UsageError

    for name in names:
        if not Path(name).is_dir():
            yield name
            continue
        found = [str(entry.path) for entry in entries([Path(name)]) if entry.kind == "runbook"]
        if not found:
            raise UsageError(f"{name} holds no playbook")
        yield from found


def _each(proving: Proving, output: str) -> Iterator[Shown]:
    """Each proof as soon as it and those before it are made, several at a time where there are several processors."""
    for name in proving.names:
        load_named(name)  # a complaint is told before anything is proved
    jobs = min(os.cpu_count() or 1, len(proving.names))
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("fork")) as pool:
        futures = [pool.submit(_prove, proving, name) for name in proving.names]
        try:
            for future in futures:
                shown = future.result()
                for line in shown.lines if output == "text" else ():
                    click.echo(line)
                yield shown
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _prove(proving: Proving, name: str) -> Shown:
    from ..proving import prove
    from ..runner import used_executors

    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once, and without a word
    loaded, began = load_named(name), time.monotonic()
    executors, most, unusual = used_executors(loaded), proving.most, proving.unusual
    proof = prove(loaded, executors, proving.policy, proving.environment, most=most, unusual=unusual)
    seconds = round(time.monotonic() - began, 1)
    lines = tuple(_lines(proof, loaded, seconds, most, unusual))
    return Shown(bool(proof.failures), lines, _document(proof, loaded, seconds))


def _lines(proof: Proof, loaded: LoadedPlaybook, seconds: float, most: int, unusual: int) -> Iterator[str]:
    from ..proving import CLAIMS, REACHED

    where = f" under the policy of {proof.environment}" if proof.environment != "any" else ""
    yield f"{proof.playbook}{where}: {proof.states} states, {proof.paths} paths, {proof.changes} changes, {seconds}s"
    for claim in (*CLAIMS, *REACHED):
        failures = [failure for failure in proof.failures if failure.claim == claim]
        yield f"  {LABELS[proof.verdict(claim)]} {claim}"
        for failure in failures:
            yield from _failure(failure, loaded)
    for action, why in proof.forbidden.items():
        yield f"  never  {action}: {why}"
    cut = f"; of {', '.join(proof.cut)} only the {most} nearest" if proof.cut else ""
    yield f"  bounds at most {unusual} decisions of a path are not the usual ones{cut}; lists of equal items; no resume"


def _failure(failure: Failure, loaded: LoadedPlaybook) -> Iterator[str]:
    from ..proving import story
    from ..safe_text import safe_text

    path, line, column = failure.place
    yield safe_text(f"         {path}:{line}:{column}: {failure.what}")
    told = list(story(failure.shown_by, loaded)) if failure.shown_by is not None else []
    for number, each in enumerate(told[:LONGEST_STORY], 1):
        yield safe_text(f"         {number:3}. {each}")
    if len(told) > LONGEST_STORY:
        yield f"              and {len(told) - LONGEST_STORY} more"


def _document(proof: Proof, loaded: LoadedPlaybook, seconds: float) -> dict[str, Json]:
    from ..proving import CLAIMS, REACHED

    return {
        "playbook": proof.playbook,
        "environment": proof.environment,
        "states": proof.states,
        "paths": proof.paths,
        "changes": proof.changes,
        "seconds": seconds,
        "claims": {claim: HELD[proof.verdict(claim)] for claim in (*CLAIMS, *REACHED)},
        "forbidden": proof.forbidden,
        "cut": proof.cut,
        "failures": [_failure_document(failure, loaded) for failure in proof.failures],
    }


def _failure_document(failure: Failure, loaded: LoadedPlaybook) -> dict[str, Json]:
    from ..proving import story

    path, line, column = failure.place
    told: Sequence[str] = list(story(failure.shown_by, loaded)) if failure.shown_by is not None else ()
    place = {"path": path, "line": line, "column": column}
    return {"claim": failure.claim, "open": failure.open, "what": failure.what, **place, "story": list(told)}
