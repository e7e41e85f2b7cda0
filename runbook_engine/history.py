"""What earlier runs of an environment tell: baselines of healthy ones, and fixes that were tried before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from .events import ActionFinished, Event, StepFinished
from .expressions import compile_expression
from .journal import Journal, RunSummary
from .model import Playbook
from .replay import effective

Json = Any
HEALTHY_RUNS = 20
LOOK_BACK = 200  # runs


def baseline_names(playbook: Playbook) -> frozenset[str]:
    """Facts whose healthy value the playbook asks for, with `baseline('fact', fallback)`."""
    evidence = [item.when for cause in playbook.causes for item in (*cause.supports, *cause.against)]
    facts = [expression for probe in playbook.probes() for expression in probe.facts.values()]
    present = [text for probe in playbook.probes() for text in (probe.present, probe.recovering, probe.when)]
    expressions = [*evidence, *facts, *(cause.needs for cause in playbook.causes), *present]
    return frozenset[str]().union(*(compile_expression(text).baselines for text in expressions if text))


def baselines(journal: Journal, playbook: Playbook, environment: str) -> dict[str, float]:
    """The median of each asked fact over the last healthy runs of this playbook here."""
    wanted = baseline_names(playbook)
    if not wanted:
        return {}
    healthy = [run for run in _runs(journal, environment) if run.playbook == playbook.name and run.outcome == "healthy"]
    values: dict[str, list[float]] = {name: [] for name in wanted}
    for run in healthy[:HEALTHY_RUNS]:
        for name, value in _facts(journal, run.id).items():
            if name in values and isinstance(value, int | float) and not isinstance(value, bool):
                values[name].append(float(value))
    return {name: median(found) for name, found in values.items() if found}


def recent_actions(journal: Journal, environment: str, now: float, window: float) -> tuple[dict[str, Json], ...]:
    """Actions of earlier runs within `window` seconds, newest first, for the loop guard."""
    found = []
    for run in _runs(journal, environment):
        age = now - run.started_at
        if age > window:
            continue
        for end in reversed(_events(journal, run.id)):
            if isinstance(end, ActionFinished):
                found.append(_tried(run, end, age))
    return tuple(found)


def _tried(run: RunSummary, end: ActionFinished, age: float) -> dict[str, Json]:
    """`held`: it was proved to help, and to last as long as it was watched."""
    held = bool(end.verified) and end.held is not False
    return {
        "run": run.id,
        "playbook": run.playbook,
        "action": end.id,
        "age": round(age, 1),
        "target": end.target,
        "status": end.status,
        "held": held,
    }


def _events(journal: Journal, run: str) -> list[Event]:
    """What counts of a run: an end that a resume declared void is none."""
    return effective((record.kind, record.data) for record in journal.records(run))


def _runs(journal: Journal, environment: str) -> Iterable[RunSummary]:
    return [run for run in journal.runs(limit=LOOK_BACK) if run.environment == environment]


def _facts(journal: Journal, run: str) -> Mapping[str, Json]:
    facts: dict[str, Json] = {}
    for event in _events(journal, run):
        if isinstance(event, StepFinished) and not event.again:
            facts.update(event.facts)
    return facts
