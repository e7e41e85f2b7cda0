"""Which version of LinkFlow each service runs and which it ran before: a small file beside the knobs.

A release is a name, an image and the knobs that are its bugs. It starts nothing itself: the supervisor restarts the
service around `switch`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from ..errors import TargetError
from .knobs import Knobs, turn
from .state import State, write_private

RELEASES_FILE = "releases.json"
SERVICES = ("api", "worker", "scheduler")
USUAL = "r1"
BEFORE = {"r0": timedelta(days=21), USUAL: timedelta(days=3)}
"""What ran when, before the sandbox was started."""


@dataclass(frozen=True, slots=True)
class Release:
    """One version of one service. `deployed_at` is when it was deployed first; a rollback does not change it."""

    revision: str
    image: str
    deployed_at: str
    knobs: dict[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        return f"sha256:{hashlib.sha256(self.image.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Ledger:
    """The releases of one service, oldest first, and which of them runs."""

    current: str
    releases: tuple[Release, ...]

    def find(self, revision: str) -> Release:
        for release in self.releases:
            if release.revision == revision:
                return release
        known = ", ".join(release.revision for release in self.releases)
        raise TargetError("not_found", f"no revision {revision!r}. There are {known}", "no")


def switch(state: State, service: str, revision: str) -> str:
    """Called between stop and start: the old version's bugs go, the new one's come. Returns the image."""
    ledger = load(state, service)
    wanted = ledger.find(revision)
    usual = asdict(Knobs())
    turn(state.folder, **{name: usual[name] for name in ledger.find(ledger.current).knobs})
    turn(state.folder, **wanted.knobs)
    save(state, service, Ledger(revision, ledger.releases))
    return wanted.image


def history(state: State, service: str) -> dict[str, Any]:
    """What the `history` command of a service prints."""
    ledger = load(state, service)
    return {
        "revisions": [
            {
                "revision": release.revision,
                "image": release.image,
                "digest": release.digest,
                "current": release.revision == ledger.current,
                "deployed_at": release.deployed_at,
            }
            for release in ledger.releases
        ]
    }


def current_image(state: State, service: str) -> str | None:
    """None: nobody deploys this one."""
    if service not in SERVICES:
        return None
    ledger = load(state, service)
    return ledger.find(ledger.current).image


def image(service: str, revision: str) -> str:
    return f"linkflow/{service}:{revision}"


def load(state: State, service: str) -> Ledger:
    if service not in SERVICES:
        raise TargetError("usage", f"{service} has no releases. {', '.join(SERVICES)} have", "no")
    known = _read(state).get(service)
    if known is None:
        return _usual(state, service)
    return Ledger(known["current"], tuple(Release(**release) for release in known["releases"]))


def save(state: State, service: str, ledger: Ledger) -> None:
    _write(state, _read(state) | {service: asdict(ledger)})


def forget(state: State, service: str) -> None:
    """Back to the history that the sandbox was started with."""
    _write(state, {name: known for name, known in _read(state).items() if name != service})


def _write(state: State, document: dict[str, Any]) -> None:
    write_private(state.folder / RELEASES_FILE, json.dumps(document))


def _read(state: State) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((state.folder / RELEASES_FILE).read_text())
    except FileNotFoundError:
        return {}
    return document


def _usual(state: State, service: str) -> Ledger:
    began = datetime.fromisoformat(state.started_at)
    return Ledger(
        USUAL,
        tuple(
            Release(revision, image(service, revision), (began - age).isoformat(timespec="seconds"))
            for revision, age in BEFORE.items()
        ),
    )
