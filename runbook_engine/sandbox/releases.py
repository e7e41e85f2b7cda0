"""Deploys to a running sandbox, and taking them back. A fault deploys; a rollback is the service's own command."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import release_ledger
from .release_ledger import SERVICES, USUAL, Ledger, Release, image
from .service import request
from .state import State

if TYPE_CHECKING:
    from .world import World


def deploy(world: World, service: str, revision: str = "r2", **knobs: Any) -> None:
    """Roll a new version out: the service is restarted, and from then on these knobs are its bugs.

    A rollback to an earlier revision restarts it without them, and forward again with them.
    """
    ledger = release_ledger.load(world.state, service)
    kept = [release for release in ledger.releases if release.revision != revision]
    fresh = Release(revision, image(service, revision), datetime.now(UTC).isoformat(timespec="seconds"), knobs)
    release_ledger.save(world.state, service, Ledger(ledger.current, (*kept, fresh)))
    world.act(service, "rollback", revision=revision)
    world.log(f"{service}: {fresh.image} deployed")


def withdraw(world: World, service: str) -> None:
    """Take a deploy back whole: the usual version runs, and nobody remembers another one."""
    put_back(world.state, (service,))


def put_back(state: State, services: tuple[str, ...] = SERVICES) -> None:
    """The usual version of every service that runs another one."""
    for service in services:
        if release_ledger.load(state, service).current != USUAL:
            request(state, {"service": service, "action": "rollback", "revision": USUAL})
        release_ledger.forget(state, service)
