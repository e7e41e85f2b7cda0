"""Asks a platform for the status of one service. It only reads."""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence

from ..errors import TargetError
from ..executor import Json
from . import mappings, status
from .kubernetes import items, selector_of, status_of_kubernetes
from .mappings import Mapped
from .running import Runner, failed

STATS_NEED = 4.0
"""`docker stats` measures for two seconds; with less time left, cpu and rss stay none."""


def status_of(runner: Runner, service: Mapped, limit: float, figures: bool = True) -> dict[str, Json]:
    """One status, whatever runs the service. Without `figures` only what counts processes is asked."""
    match service.kind:
        case "command":
            return _of_command(runner, service, limit)
        case "compose":
            return _of_compose(runner, service, limit, figures)
        case "kubernetes":
            return _of_kubernetes(runner, service, limit, figures)
        case _:
            return status.status_of_systemd(runner.read(mappings.show_words(service), limit), service)


def _of_command(runner: Runner, service: Mapped, limit: float) -> dict[str, Json]:
    words = mappings.command_words(service, "status")
    finished = runner.run(words, limit)
    found = status.status_of_command(finished.exit_code, finished.stdout, words[0])
    if found is None:
        raise failed(words, finished)
    return found


def _of_compose(runner: Runner, service: Mapped, limit: float, figures: bool) -> dict[str, Json]:
    listed, details = containers_of(runner, service, limit)
    running = [str(row["ID"]) for row in listed if row.get("State") == "running" and row.get("ID")]
    return status.status_of_compose(listed, details, _stats(runner, running, limit) if figures else [])


def containers_of(
    runner: Runner, service: Mapped, limit: float
) -> tuple[list[Mapping[str, Json]], list[Mapping[str, Json]]]:
    """What compose lists of the service, and what docker knows of these."""
    listed = status.rows(runner.json(mappings.compose_ps_words(service), limit))
    ids = [str(row["ID"]) for row in listed if row.get("ID")]
    if not ids:
        return listed, []
    # A container may go between the two commands: then docker prints the others and exits with 1.
    inspected = runner.run(mappings.inspect_words(ids), limit).stdout
    return listed, status.rows(status.read_json(inspected, "docker inspect"))


def running_container(runner: Runner, service: Mapped, limit: float) -> Mapping[str, Json] | None:
    """One that runs, else one that did; what `docker compose run` started is not asked."""
    _, details = containers_of(runner, service, limit)
    details = [each for each in details if not status.is_one_off(each)]
    states = {str((each.get("State") or {}).get("Status")): each for each in reversed(details)}
    return states.get("running") or next(iter(states.values()), None)


def _stats(runner: Runner, ids: Sequence[str], limit: float) -> list[Mapping[str, Json]]:
    """Figures that are nice to have: that they cannot be had must not cost the status."""
    if not ids or limit - time.monotonic() < STATS_NEED:
        return []
    try:
        finished = runner.run(mappings.stats_words(ids), limit - 1.0)
        return status.rows(status.read_json(finished.stdout, "docker stats"))
    except TargetError as error:
        if error.code == "cancelled":
            raise
        return []


def _of_kubernetes(runner: Runner, service: Mapped, limit: float, figures: bool) -> dict[str, Json]:
    found, pods = deployment_of(runner, service, limit)
    if not figures:
        return status_of_kubernetes(found, pods)
    slices = runner.optional_json(mappings.slices_words(service), limit)
    autoscalers = runner.optional_json(mappings.autoscalers_words(service), limit)
    return status_of_kubernetes(
        found,
        pods,
        None if slices is None else items(slices),
        None if autoscalers is None else items(autoscalers),
        named=bool(service.settings.get("endpoints")),
    )


def deployment_of(runner: Runner, service: Mapped, limit: float) -> tuple[Mapping[str, Json], list[Mapping[str, Json]]]:
    """The deployment and its pods."""
    words = mappings.deployment_words(service)
    found = runner.json(words, limit)
    if not isinstance(found, dict):
        raise TargetError("protocol", f"{shlex.join(words)}: a deployment was expected")
    return found, items(runner.json(mappings.pods_words(service, selector_of(found)), limit))
